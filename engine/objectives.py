"""Objectives: what training minimises, and what it reports on the development set.

An objective has two parts. `loss(outputs, labels)` is an nn.Module: it gives the loss of a batch from the outputs of
the model and the labels of its clips, and its own parameters, if any, are trained with the model.
`metrics(outputs, labels)` gives {"dev_loss": ..., "dev_NAME": ...} from the outputs for the whole development set, on
the CPU, and the labels of its clips, a list. The epoch with the lowest dev_loss is the best one, see --best_by.

`scores` of both classes is {NAME: function of true classes [n] and predicted classes [n]}.
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from data.taxonomy import Labels


def one_against_rest(logits, labels):
    """Mean binary cross entropy of each class against the rest; logits [n, classes], labels [n]."""
    return binary_cross_entropy_with_logits(logits, one_hot(labels, logits.shape[1]).to(logits.dtype))


LOSSES = {"ce": cross_entropy, "bce": one_against_rest}  # by --base_loss


class ClassLoss(nn.Module):
    """The loss that --base_loss names, of (features [n, d], logits [n, classes]) and classes [n]."""

    def __init__(self, base_loss):
        super().__init__()
        self.formula = LOSSES[base_loss]

    def forward(self, outputs, labels):
        _, logits = outputs
        return self.formula(logits, labels)


class ClassObjective:
    """The objective of the first system: each clip has one class."""

    def __init__(self, base_loss, scores):
        self.loss = ClassLoss(base_loss)
        self.scores = scores

    def metrics(self, outputs, labels):
        """The loss is the mean over clips; the released code takes that over batches, where a small one counts more."""
        _, logits = outputs
        predicted = logits.argmax(dim=1).numpy()
        metrics = {"dev_loss": self.loss(outputs, torch.tensor(labels)).item()}
        return metrics | {f"dev_{name}": score(labels, predicted) for name, score in self.scores.items()}


class TaskObjective:
    """The objective of the second system: each clip has a class in every task of the taxonomy.

    `loss` is the loss module of a model's row, such as models.taxonomy.TaxonomyLoss.
    """

    def __init__(self, loss, scores):
        self.loss = loss
        self.scores = scores

    def metrics(self, outputs, labels):
        labels = Labels(*map(torch.tensor, zip(*labels, strict=True)))
        targets = self.loss.targets(labels)
        _, logits = outputs
        metrics = {"dev_loss": self.loss.development(outputs, labels).item()}
        for task in self.loss.tasks:
            predicted = logits[task].argmax(dim=1)
            for name, score in self.scores.items():
                metrics[f"dev_{name}_{task}"] = score(getattr(targets, task), predicted)
        return metrics
