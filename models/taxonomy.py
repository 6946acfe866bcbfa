"""W2V2-AASIST in nine forms: XLS-R, one encoder, and one graph read-out for each task of the taxonomy.

Source: Chen et al., arXiv 2505.12994. Attributes are named as in the released weights. XLS-R is trained along.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from data.audio import SAMPLES
from data.taxonomy import CLASSES
from models.aasist import GraphBranch
from models.w2v_aasist import HiddenStateEncoder


class Branch(NamedTuple):
    """The read-out of a task."""

    attribute: str  # in the released weights
    weights: tuple  # of the classes in the cross entropy, in the order of the logits


# In the released weights, the logits of bin are [spoof, bona fide]; those of the other tasks begin with REAL.
BRANCHES = {
    "bin": Branch("binary_branch", (0.1, 0.9)),
    "aux": Branch("multiclass_branch_as", (0.1, 0.3, 0.3, 0.3)),
    "dec": Branch("multiclass_branch_ds", (0.1, 0.45, 0.45)),
    "vq": Branch("multiclass_branch_qs", (0.1, 0.3, 0.3, 0.3)),
}
BONA_FIDE = 1  # its place among the logits of bin

FORMS = {
    "S_BIN": ("bin",),
    "S_VQ": ("vq",),
    "S_AUX": ("aux",),
    "S_DEC": ("dec",),
    "D_VQ": ("bin", "vq"),
    "D_AUX": ("bin", "aux"),
    "D_DEC": ("bin", "dec"),
    "M1": ("bin", "aux", "dec", "vq"),
    "M2": ("aux", "dec", "vq"),
}


class W2v2Aasist(HiddenStateEncoder):
    """Wave [batch, samples] -> features [batch, 160 * tasks], {task: logits [batch, classes]}.

    `front_end` maps a wave to hidden states [batch, frames, front_end.hidden_size]; `form` is a name of FORMS.
    """

    samples = SAMPLES

    def __init__(self, front_end, form):
        super().__init__(front_end.hidden_size)
        self.ssl_model = front_end
        self.tasks = FORMS[form]
        for task in self.tasks:
            setattr(self, BRANCHES[task].attribute, GraphBranch(len(CLASSES[task])))

    def forward(self, wave):
        return self.back_end(self.ssl_model(wave))

    def back_end(self, hidden):
        """The outputs of forward() from hidden states [batch, frames, hidden_size]."""
        encoded = self.encode(hidden)
        features, logits = zip(*(getattr(self, BRANCHES[task].attribute)(*encoded) for task in self.tasks), strict=True)
        return torch.cat(features, dim=1), dict(zip(self.tasks, logits, strict=True))

    def scores(self, logits):
        """{task: rows of its published score file [n, columns]} from {task: logits}: see probabilities()."""
        return probabilities(logits)


class TaxonomyLoss(nn.Module):
    """Class-weighted cross entropies, one a task of `form`, added by softmaxed weights.

    The weights start equal; `learnable` ones are trained along with the model.
    """

    def __init__(self, form, learnable=False):
        super().__init__()
        self.tasks = FORMS[form]
        equal = torch.full((len(self.tasks),), 1 / len(self.tasks))
        if learnable and len(self.tasks) > 1:
            self.raw_weights = nn.Parameter(equal)
        else:
            self.register_buffer("raw_weights", equal)

    def targets(self, labels):
        """`labels`, a Labels of class numbers [batch] of the taxonomy, as places among the logits."""
        return labels._replace(bin=BONA_FIDE ^ labels.bin)  # bona fide speech is class 0 of the taxonomy

    def parts(self, outputs, labels):
        """The cross entropies [tasks] of a model's `outputs` for `labels`, a Labels of class numbers [batch]."""
        _, logits = outputs
        targets, losses = self.targets(labels), []
        for task in self.tasks:
            weights = logits[task].new_tensor(BRANCHES[task].weights)
            losses.append(cross_entropy(logits[task], getattr(targets, task), weights))
        return torch.stack(losses)

    def forward(self, outputs, labels):
        parts = self.parts(outputs, labels)
        return self.raw_weights.to(parts.device).softmax(dim=0) @ parts

    development = forward  # loss


def probabilities(logits):
    """{task: probabilities} of {task: logits [n, classes]}; of bin, that of bona fide speech [n, 1].

    Without a read-out of bin (form M2) it is 1 - the geometric mean over the tasks of the probability of spoof.
    """
    scores = {task: rows.softmax(dim=1) for task, rows in logits.items()}
    if "bin" in scores:
        scores["bin"] = scores["bin"][:, [BONA_FIDE]]
    elif len(scores) > 1:
        spoof = torch.stack([1 - rows[:, 0] for rows in scores.values()])
        scores["bin"] = 1 - spoof.log().mean(dim=0).exp()[:, None]
    return scores
