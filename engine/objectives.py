"""Objectives: what training minimises, and what it reports on the development set.

An objective has two parts. `loss(outputs, labels)` is an nn.Module: it gives the loss of a batch from the outputs of
the model and the labels of its clips, and its own parameters, if any, are trained with the model.
`metrics(outputs, labels)` gives {"dev_loss": ..., "dev_NAME": ...} from the outputs for the whole development set, on
the CPU, and the labels of its clips, a list. `guess(outputs, labels)` gives the dev_loss of a model that has learned
nothing, and the text `remedies` what to try then. The epoch with the lowest dev_loss is the best one, see --best_by.

`scores` of both classes is {NAME: function of true classes [n] and predicted classes [n]}.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from data.outliers import OUTLIER
from data.taxonomy import Labels
from engine.losses import LOSSES, uniform_cross_entropy
from engine.outputs import map_tensors
from models import MODELS

# What to try when a model has not learned: where its network takes a flag, and always
OWN_REMEDIES = {"mel": "--mel log", "level": "--level normalise", "head": "another --ssl_layer"}
REMEDIES = (
    "--augment channel, a lower or higher --lr, more epochs, or fewer classes; for some thousand clips or fewer,"
    " --model fingerprint or evaluate_held_out.py"
)


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


class OutlierExposure(nn.Module):
    """`loss`, of the clips that are no outliers, plus `weight` times the cross entropy of outliers to equal shares.

    The labels of outliers are OUTLIER. With several tasks, the second part is the mean over all but bin, because an
    outlier may be bona fide. Source: arXiv 1812.04606, section 3.
    """

    def __init__(self, loss, weight):
        super().__init__()
        self.loss = loss
        self.weight = weight

    def forward(self, outputs, labels):
        known = (labels[0] if isinstance(labels, tuple) else labels) != OUTLIER
        chosen = Labels(*(part[known] for part in labels)) if isinstance(labels, tuple) else labels[known]
        loss = self.loss(map_tensors(lambda part: part[known], outputs), chosen)
        if known.all():
            return loss
        logits = outputs[1] if isinstance(outputs[1], dict) else {"class": outputs[1]}
        parts = [uniform_cross_entropy(rows[~known].float()) for task, rows in logits.items() if task != "bin"]
        return loss + self.weight * torch.stack(parts).mean()


class ClassObjective:
    """The objective of the first system: each clip has one class."""

    def __init__(self, config, scores):
        self.loss = ClassLoss(config)
        own = [remedy for flag, remedy in OWN_REMEDIES.items() if flag in MODELS[config.model].flags]
        self.remedies = ", ".join([*own, REMEDIES])
        self.scores = scores

    def metrics(self, outputs, labels):
        """The loss is the mean over clips; the released code takes that over batches, where a small one counts more."""
        _, logits = outputs
        predicted = logits.argmax(dim=1).numpy()
        metrics = {"dev_loss": self.loss.development(outputs, torch.tensor(labels)).item()}
        return metrics | {f"dev_{name}": score(labels, predicted) for name, score in self.scores.items()}

    def guess(self, outputs, labels):
        """The dev_loss of a model that gives every clip the class shares of the development set: the best guess."""
        shares = one_hot(torch.tensor(labels), outputs[1].shape[1]).double().mean(dim=0).clamp(1e-9, 1 - 1e-9)
        logits = shares.logit() if self.loss.config.base_loss == "bce" else shares.log()
        return self.metrics((None, logits.expand(len(labels), -1)), labels)["dev_loss"]


class TaskObjective:
    """The objective of the second system: each clip has a class in every task of the taxonomy.

    `loss` is the loss module of a model's row, such as models.taxonomy.TaxonomyLoss.
    """

    remedies = "a higher --lr, more epochs, --augment none, or a --model_type of fewer tasks"

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

    def guess(self, outputs, labels):
        """The dev_loss of a model that gives every clip the class shares of the development set, in each task."""
        targets = self.loss.targets(Labels(*map(torch.tensor, zip(*labels, strict=True))))
        logits = {}
        for task in self.loss.tasks:
            shares = one_hot(getattr(targets, task), outputs[1][task].shape[1]).float().mean(dim=0)
            logits[task] = shares.clamp(min=1e-9).log().expand(len(labels), -1)
        return self.metrics((None, logits), labels)["dev_loss"]
