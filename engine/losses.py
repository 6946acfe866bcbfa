"""Losses of the first system, by --base_loss: a row each, (features [n, d], logits [n, classes], labels [n], config).

`config` has the flags of config.Loss. All are means over the n clips; logits are float32.
"""

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize, one_hot

from utils.errors import InputError
from utils.flags import is_default

LARGEST_COSINE = 1 - 1e-6  # the slope of the angle is infinite at 1


def softmax_loss(features, logits, labels, config):
    """Cross entropy, with the smoothed labels of Szegedy et al. (arXiv 1512.00567, section 7)."""
    return cross_entropy(logits, labels, label_smoothing=config.label_smoothing)


def one_against_rest(features, logits, labels, config):
    """Mean binary cross entropy of each class against the rest; label smoothing moves both targets towards 1/2."""
    targets = one_hot(labels, logits.shape[1]).to(logits.dtype)
    targets = targets * (1 - config.label_smoothing) + config.label_smoothing / 2
    return binary_cross_entropy_with_logits(logits, targets)


def additive_angular_margin(features, logits, labels, config):
    """ArcFace (arXiv 1801.07698, equation 3): cross entropy where the angle to the true class grows by --aam_margin.

    The logits are --aam_scale times cosines. An angle that would exceed 180 degrees loses margin * sin(margin) of its
    cosine instead, as in the authors' code, so that the loss still falls with the angle.
    """
    cosines = logits / config.aam_scale
    true = cosines.gather(1, labels[:, None]).clamp(-LARGEST_COSINE, LARGEST_COSINE)
    margin = config.aam_margin
    with_margin = true * math.cos(margin) - (1 - true.square()).sqrt() * math.sin(margin)
    beyond = true - margin * math.sin(margin)
    with_margin = torch.where(true > math.cos(math.pi - margin), with_margin, beyond)
    cosines = cosines.scatter(1, labels[:, None], with_margin)
    return cross_entropy(config.aam_scale * cosines, labels, label_smoothing=config.label_smoothing)


def supervised_contrastive(features, labels, temperature):
    """Supervised contrastive loss (arXiv 2004.11362, equation 2, L_out) of features [n, d] and labels [n].

    Mean over the clips that have another clip of their class beside them; 0 where none has.
    """
    unit = normalize(features.float())
    alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(alone, torch.finfo(torch.float32).min)
    log_share = (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(alone, 0)
    positive = (labels[:, None] == labels) & ~alone
    counts = positive.sum(dim=1)
    of_clips = -(log_share * positive).sum(dim=1) / counts.clamp(min=1)
    return of_clips.sum() / (counts > 0).sum().clamp(min=1)


def contrastive_and_softmax(features, logits, labels, config):
    """softmax_loss() plus --supcon_weight times supervised_contrastive() of the features before the last layer."""
    contrastive = supervised_contrastive(features, labels, config.supcon_temperature)
    return softmax_loss(features, logits, labels, config) + config.supcon_weight * contrastive


def uniform_cross_entropy(logits):
    """Cross entropy of logits [n, classes] to equal shares of all classes: outlier exposure (arXiv 1812.04606)."""
    return -logits.log_softmax(dim=1).mean(dim=1).mean()


LOSSES = {
    "ce": softmax_loss,
    "bce": one_against_rest,
    "aam": additive_angular_margin,
    "supcon+ce": contrastive_and_softmax,
}
# Flags of one loss alone
OWN_FLAGS = {"aam": ("aam_margin", "aam_scale"), "supcon+ce": ("supcon_temperature", "supcon_weight")}


def check_loss(config):
    """Raise InputError for a flag of another loss than --base_loss, and for outliers beside bce."""
    for loss, flags in OWN_FLAGS.items():
        given = [flag for flag in flags if not is_default(config, flag)]
        if given and loss != config.base_loss:
            raise InputError(f"--{given[0]} is only for --base_loss {loss}, not for {config.base_loss}: leave it out")
    if config.outliers and config.base_loss == "bce":
        raise InputError("--outliers needs shares of classes that add up to 1: give another --base_loss than bce")
