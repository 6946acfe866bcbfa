"""Mel-LCNN: a light CNN on mel spectrograms. Attributes are named as in the released weights.

Source: Xie et al. (arXiv 2501.06514) after Wu et al., "A light CNN for deep face representation" (arXiv 1511.02683).
"""

import torch
from torch import nn

from data.audio import SAMPLE_RATE
from models.cpu_layers import BatchNorm2d, Conv2d, MaxPool

# in, out, kernel, what follows the max-feature-map, which halves `out`
LAYERS = (
    (1, 64, 5, "pool"),
    (32, 64, 1, "norm"),
    (32, 96, 3, "pool norm"),
    (48, 96, 1, "norm"),
    (48, 128, 3, "pool"),
    (64, 128, 1, "norm"),
    (64, 64, 3, "norm"),
    (32, 64, 1, "norm"),
    (32, 64, 3, "pool"),
)
FEATURES = 256


class MaxFeatureMap(nn.Module):
    """The larger of two channels, i and i + c: [batch, 2 c, ...] -> [batch, c, ...]; the network's only activation."""

    def forward(self, x):
        return torch.maximum(*x.chunk(2, dim=1))


class PooledMaxFeatureMap(nn.Module):
    """MaxFeatureMap and MaxPool2d(2) in one: [batch, 2 c, f, t] -> [batch, c, f / 2, t / 2].

    Maxima may be taken in any order: over places first, a quarter of the values is left for the channels.
    """

    def __init__(self):
        super().__init__()
        self.pool = MaxPool(2, 2)

    def forward(self, x):
        return torch.maximum(*self.pool(x).chunk(2, dim=1))


def layer(channels_in, channels_out, kernel, after):
    """One of LAYERS. The released places in the sequence stay: they are part of the weights' names."""
    parts = [Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)]
    parts += [PooledMaxFeatureMap(), nn.Identity()] if "pool" in after else [MaxFeatureMap()]
    parts += [BatchNorm2d(channels_out // 2, affine=False)] if "norm" in after else []
    return nn.Sequential(*parts)


class MelLcnn(nn.Module):
    """LCNN on 80 mel bands of linear power: wave [batch, 64600] -> features [batch, 256], logits [batch, classes].

    As released, the convolutions see the linear power mel spectrogram [batch, 1, 80, 505], without logarithm or
    normalisation: the scores depend on the level of a recording. The number of samples is fixed by the layer after the
    convolutions.
    """

    def __init__(self, num_classes):
        from torchaudio.transforms import MelSpectrogram  # slow to import

        super().__init__()
        self.mel = MelSpectrogram(SAMPLE_RATE, n_fft=512, hop_length=128, n_mels=80)
        for number, row in enumerate(LAYERS, 1):
            self.add_module(f"conv{number}", layer(*row))
        # The last map is [32, 80 / 16, 505 / 16], rounded down.
        self.out = nn.Sequential(nn.Dropout(0.7), nn.Linear(32 * 5 * 31, 160), MaxFeatureMap(), nn.Linear(80, FEATURES))
        self.fc_mu = nn.Linear(FEATURES, num_classes)

    @property
    def head(self):
        """The layer that turns features into logits."""
        return self.fc_mu

    def forward(self, wave):
        with torch.autocast(wave.device.type, enabled=False):  # power spans more than half precision holds
            x = self.mel(wave)[:, None]
        for number in range(1, len(LAYERS) + 1):
            x = self.get_submodule(f"conv{number}")(x)
        features = self.out(x.flatten(1))
        return features, self.fc_mu(features)
