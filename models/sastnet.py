"""SASTNet: semantic and acoustic views of speech, fused for one task of the taxonomy.

Source: Chen et al., arXiv 2506.07294. Attributes are named as in the released weights.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from data.taxonomy import TAXONOMY_CLASSES
from models.aasist import GraphBranch
from models.audiomae import (
    GRID,
    PATCHES,
    AudioMae,
    MaeSize,
    kept_patches,
    reconstruction_errors,
    reconstruction_loss,
)
from models.fusion import CrossModalTransformer
from models.w2v_aasist import HIDDEN_BANDS, HiddenStateEncoder
from models.whisper import WHISPER_SMALL

SAST_SAMPLES = 82_200  # of a clip: 5.1375 s, which XLS-R turns into the 256 frames of the image


class SastTask(NamedTuple):
    """What --task names."""

    task: str  # of the taxonomy; the logits are in the order of its classes
    weights: tuple  # of the classes in the cross entropy


SAST_TASKS = {
    "Bin": SastTask("bin", (0.5, 0.5)),
    "VQ": SastTask("vq", (0.1, 0.3, 0.3, 0.3)),
    "AUX": SastTask("aux", (0.1, 0.3, 0.3, 0.3)),
    "DEC": SastTask("dec", (0.2, 0.4, 0.4)),
}


class SastSize(NamedTuple):
    """Dimensions: of the autoencoder, and of Whisper (arguments of WhisperConfig), which must be equally wide."""

    mae: MaeSize
    whisper: dict


SIZES = {
    "full": SastSize(MaeSize(), WHISPER_SMALL),
    "small": SastSize(
        MaeSize(64, 2, 4, 32, 1, 4),
        {"d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 128},
    ),
}


class SastNet(HiddenStateEncoder):
    """Wave [batch, 82200] -> features [batch, 160], {task: logits [batch, classes]}.

    In training it hides a part of the image and also gives the errors [batch, classes] of its reconstruction.
    `front_end` maps a wave to hidden states [batch, 256, front_end.hidden_size], `semantics` to [batch, 128, dim].
    The released code predicts on patches in a random order, which `shuffled` restores.
    """

    samples = SAST_SAMPLES

    def __init__(self, front_end, semantics, task, mae_size, mask_ratio=0.4, shuffled=False):
        super().__init__(mae_size.dim)
        self.task = SAST_TASKS[task].task
        self.classes = {self.task: TAXONOMY_CLASSES[self.task]}
        classes = len(TAXONOMY_CLASSES[self.task])
        self.SSL_model = front_end
        self.SSL_proj = nn.Linear(front_end.hidden_size, HIDDEN_BANDS)
        self.MAE = AudioMae(classes, mae_size)
        self.whisper = semantics
        self.at_transformer, self.ta_transformer, self.at_ta_transformer = (
            CrossModalTransformer(mae_size.dim) for _ in range(3)
        )
        self.multiclass_branch = GraphBranch(classes)
        self.mask_ratio = mask_ratio
        self.shuffled = shuffled

    def visible_patches(self, clips, device):
        """The patches [clips, kept] that the encoder sees: a part of them in training, all in prediction."""
        if self.training:
            noise = [torch.rand(clips, side, device=device) for side in GRID]
            return kept_patches(*noise, self.mask_ratio)
        if self.shuffled:
            return torch.rand(clips, PATCHES, device=device).argsort(dim=1)
        return torch.arange(PATCHES, device=device).expand(clips, -1)

    def forward(self, wave):
        return self.look(wave, self.visible_patches(len(wave), wave.device))

    def look(self, wave, kept):
        """The outputs of forward() with the patches `kept` [batch, kept] visible, in that order."""
        image = self.SSL_proj(self.SSL_model(wave))  # [batch, 256, 128]: time, feature
        acoustic, predicted = self.MAE(image, kept)
        semantic = self.whisper(wave)
        of_acoustic = self.at_transformer(acoustic, semantic)
        of_semantic = self.ta_transformer(semantic, acoustic)
        features, logits = self.multiclass_branch(*self.encode(self.at_ta_transformer(of_acoustic, of_semantic)))
        outputs = features, {self.task: logits}
        if not self.training:
            return outputs
        # The image learns as well: as released, the gradient also flows through the target of the reconstruction.
        return *outputs, reconstruction_errors(image, predicted, kept)

    def scores(self, logits):
        """{task: rows of its published score file [n, classes]} from {task: logits}: the logits themselves."""
        return logits


class SastLoss(nn.Module):
    """Reconstruction and classification losses, weighted automatically (Kendall et al., CVPR 2018).

    sum_i L_i / (2 p_i^2) + log(1 + p_i^2), with a trained p of each loss.
    """

    def __init__(self, task):
        super().__init__()
        self.task, self.class_weights = SAST_TASKS[task]
        self.tasks = (self.task,)
        self.params = nn.Parameter(torch.ones(2))

    def targets(self, labels):
        """`labels`, a Labels of class numbers [batch] of the taxonomy, which are also the places among the logits."""
        return labels

    def parts(self, outputs, labels):
        """The two losses [2] of what the model gives in training."""
        _, _, errors = outputs
        return torch.stack((reconstruction_loss(errors, getattr(labels, self.task)), self.development(outputs, labels)))

    def development(self, outputs, labels):
        """Only the class-weighted cross entropy: on development data nothing is hidden, so nothing is reconstructed."""
        logits = outputs[1][self.task]
        return cross_entropy(logits, getattr(labels, self.task), logits.new_tensor(self.class_weights))

    def forward(self, outputs, labels):
        return self.combine(self.parts(outputs, labels))

    def combine(self, losses):
        squares = self.params.square()
        return (losses / (2 * squares) + (1 + squares).log()).sum()
