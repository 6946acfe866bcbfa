"""W2V2-AASIST in nine forms: XLS-R, one encoder, and one graph read-out for each task of the taxonomy.

Source: Chen et al., arXiv 2505.12994. Attributes are named as in the released weights. XLS-R is trained as well.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from data.audio import SAMPLES
from data.taxonomy import TAXONOMY_CLASSES
from models.aasist import GraphBranch
from models.front_ends import build_front_end, front_end_from_state
from models.w2v_aasist import HiddenStateEncoder
from models.weights import part_of
from utils.errors import InputError


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


def classes_of(tasks):
    """{task: names of its classes in the order of the logits} of `tasks`."""
    classes = {task: TAXONOMY_CLASSES[task] for task in tasks}
    return {task: names[::-1] if task == "bin" else names for task, names in classes.items()}


class W2v2Aasist(HiddenStateEncoder):
    """Wave [batch, samples] -> features [batch, 160 * tasks], {task: logits [batch, classes]}.

    `front_end` maps a wave to hidden states [batch, frames, front_end.hidden_size]; `form` is a name of FORMS.
    """

    samples = SAMPLES

    def __init__(self, front_end, form):
        super().__init__(front_end.hidden_size)
        self.ssl_model = front_end
        self.tasks = FORMS[form]
        self.classes = classes_of(self.tasks)
        for task in self.tasks:
            self.add_module(BRANCHES[task].attribute, GraphBranch(len(TAXONOMY_CLASSES[task])))

    def forward(self, wave):
        return self.read_out(self.ssl_model(wave))

    def read_out(self, hidden):
        """The outputs of forward() from hidden states [batch, frames, hidden_size]."""
        image, attention = self.encode(hidden)
        branches = [self.get_submodule(BRANCHES[task].attribute) for task in self.tasks]
        features, logits = zip(*(branch(image, attention) for branch in branches), strict=True)
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
        targets = self.targets(labels)
        losses = []
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


class W2v2AasistBuilder:
    """The builder of W2V2-AASIST, see models.TaxonomyModel. Its kind is the form, a name of FORMS."""

    samples = SAMPLES

    @staticmethod
    def build(config):
        front_end = build_front_end(config.SSL_path, layer=None, norm="none", frozen=False)
        return W2v2Aasist(front_end, config.model_type)

    @staticmethod
    def loss(config):
        return TaxonomyLoss(config.model_type, config.learnable_weights)

    @staticmethod
    def classes(run):
        return classes_of(FORMS[run["model_type"]])

    @staticmethod
    def recognise(state):
        parts = {name.partition(".")[0] for name in state}
        tasks = {task for task, branch in BRANCHES.items() if branch.attribute in parts}
        return next((form for form, its_tasks in FORMS.items() if set(its_tasks) == tasks), None)

    @staticmethod
    def restore(state, form, config, path):
        if config.model_type not in (None, form):
            raise InputError(
                f"{path} holds a model of --model_type {form}, not {config.model_type}: pass --model_type {form}"
            )
        tensors = part_of(state, "ssl_model.model.")
        front_end = front_end_from_state(tensors, path, layer=None, norm="none", frozen=False)
        return W2v2Aasist(front_end, form), form
