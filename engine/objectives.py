"""Objectives: what training minimises, and what it reports on the development set.

An objective has two parts. `loss(outputs, labels)` is an nn.Module: it gives the loss of a batch from the outputs of
the model and the labels of its clips, and its own parameters, if any, are trained with the model.
`metrics(outputs, labels)` gives {"dev_loss": ..., "dev_NAME": ...} from the outputs for the whole development set, on
the CPU, and the labels of its clips, a list. The epoch with the lowest dev_loss is the best one, see --best_by.

`scores` of both classes is {NAME: function of true classes [n] and predicted classes [n]}.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from data.taxonomy import Labels
from engine.losses import LOSSES


class ClassLoss(nn.Module):
    """The loss that --base_loss names, of (features [n, d], logits [n, classes]) and classes [n].

    `config` has the flags of config.Loss.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, outputs, labels):
        features, logits = outputs
        return LOSSES[self.config.base_loss](features, logits.float(), labels, self.config)

    def development(self, outputs, labels):
        """What the losses have in common, so that runs can be compared: cross entropy, without margin or smoothing.

        That of bce is its own.
        """
        if self.config.base_loss == "bce":
            return LOSSES["bce"](*outputs, labels, replace(self.config, label_smoothing=0.0))
        return cross_entropy(outputs[1], labels)


class ClassObjective:
    """The objective of the first system: each clip has one class."""

    def __init__(self, config, scores):
        self.loss = ClassLoss(config)
        self.scores = scores

    def metrics(self, outputs, labels):
        """The loss is the mean over clips; the released code takes that over batches, where a small one counts more."""
        _, logits = outputs
        predicted = logits.argmax(dim=1).numpy()
        metrics = {"dev_loss": self.loss.development(outputs, torch.tensor(labels)).item()}
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
