"""Detectors that see features and logits."""

import torch
from torch.nn.functional import normalize

from ood_detectors.base import Detector, energy
from ood_detectors.distances import Knn, principal_axes
from ood_detectors.search import check_neighbours, largest_products
from utils.errors import InputError


class Nsd(Detector):
    """Xie et al., 2024 (REFD), novel similarity detection:  s = E mean_i (E_i u . u_i).

    A mean of dot products is the dot product with the mean, so the published n x m similarities (44 GB at full
    size) are never formed.
    """

    def fit_rows(self, train):
        self.centre = (normalize(train.features) * energy(train.logits)[:, None]).mean(dim=0)

    def score_rows(self, test):
        return energy(test.logits) * (normalize(test.features) @ self.centre)


class NnGuide(Detector):
    """Park et al., ICCV 2023:  s = E times the mean of the k largest E_i u . u_i.

    k = 7 and all of the training set, as published for ST-Codecfake. Exact search in float32.
    """

    rows = Knn.rows

    def __init__(self, k=7):
        self.k = k

    def fit_rows(self, train):
        self.bank = (normalize(train.features) * energy(train.logits)[:, None]).float()
        check_neighbours(self.k, self.bank)

    def score_rows(self, test):
        return energy(test.logits) * largest_products(normalize(test.features), self.bank, self.k).mean(dim=1)


class Relation(Detector):
    """Kim et al., NeurIPS 2023, neural relation graph:  s = sum of those r_i > `threshold`.

    r_i = max(u . u_i, 0) (p . p_i). Every pair of clips is visited: in float32, and in blocks that fit into the cache
    of a processor.
    """

    rows = 512
    block = 1024

    def __init__(self, threshold=0.03):
        self.threshold = threshold

    def fit_rows(self, train):
        self.features = normalize(train.features).float()
        self.softmax = train.logits.softmax(dim=1).float()

    def score_rows(self, test):
        features = normalize(test.features).float()
        softmax = test.logits.softmax(dim=1).float()
        score = torch.zeros(len(features), dtype=torch.float64)
        for bank, theirs in zip(self.features.split(self.block), self.softmax.split(self.block), strict=True):
            relation = (features @ bank.T).mul_(softmax @ theirs.T)
            score += torch.threshold_(relation, self.threshold, 0).sum(dim=1)
        return score


def last_layer(train):
    """Weight [classes, d] and bias [classes] of the layer that makes logits of features, float64.

    They are `train.head` where it was saved. Else they are solved by least squares: logits are affine in the features,
    so the fit is exact. Along directions in which no training feature varies, the weight is 0 (the solution of least
    norm).
    """
    if train.head is not None:
        return tuple(part.double() for part in train.head)
    mean = train.features.mean(dim=0)
    logits_mean = train.logits.mean(dim=0)
    x = train.features - mean
    variances, axes = principal_axes(x.T @ x / len(x), train.features)
    coordinates = x @ axes  # uncorrelated, so each is solved by itself
    weight = (train.logits - logits_mean).T @ coordinates / (variances * len(x)) @ axes.T
    return weight, logits_mean - weight @ mean


class Vim(Detector):
    """Wang et al., CVPR 2022, virtual-logit matching:  s = E - alpha |R'(z - o)|.

    R holds the directions of the training features beyond the `dim` of largest variance about o; alpha scales the
    residual to the mean largest logit. o is the training mean as in the published code or, with `origin="head"`,
    the paper's - W^+ b, where all logits are 0. The published dim is 500 whatever the features, which leaves nothing
    of 160; here it is half of their rank unless given. Raises InputError when no direction is left.
    """

    def __init__(self, dim=None, origin="mean"):
        self.dim = dim
        self.origin = origin

    def fit_rows(self, train):
        if self.origin == "head":
            weight, bias = last_layer(train)
            self.centre = -torch.linalg.pinv(weight) @ bias
        else:
            self.centre = train.features.mean(dim=0)
        x = train.features - self.centre
        _, axes = principal_axes(x.T @ x / len(x), train.features)
        rank = axes.shape[1]
        dim = rank // 2 if self.dim is None else self.dim
        if not 0 < dim < rank:
            raise InputError(f"ViM needs 0 < dim < {rank}, the rank of the training features; dim is {dim}")
        self.residual = axes[:, dim:]
        self.alpha = train.logits.amax(dim=1).mean() / (x @ self.residual).norm(dim=1).mean()

    def score_rows(self, test):
        return energy(test.logits) - self.alpha * ((test.features - self.centre) @ self.residual).norm(dim=1)


class Fdbd(Detector):
    """Liu and Qin, ICML 2024, fast decision boundary distance, relative to that from the training mean m.

    s = mean over c != y of (f_y - f_c) / (|w_y - w_c| |z - m|), with the rows w of the last layer's weight.
    """

    def fit_rows(self, train):
        weight, _ = last_layer(train)
        self.mean = train.features.mean(dim=0)
        gaps = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist").clamp_min(1e-12)
        self.gaps = gaps.fill_diagonal_(1)  # divides f_y - f_y = 0

    def score_rows(self, test):
        top, predicted = test.logits.max(dim=1, keepdim=True)
        boundary = ((top - test.logits) / self.gaps[predicted[:, 0]]).sum(dim=1) / (test.logits.shape[1] - 1)
        return boundary / (test.features - self.mean).norm(dim=1).clamp_min(1e-12)


class Neco(Detector):
    """Ben Ammar et al., ICLR 2024, neural collapse:  s = f_y |V'x| / |x|, with x the standardised features.

    V holds the `dim` principal directions of the training set, as many as classes unless given.
    """

    def __init__(self, dim=None):
        self.dim = dim

    def fit_rows(self, train):
        self.mean = train.features.mean(dim=0)
        std = train.features.std(dim=0, correction=0)
        # A constant feature, even with rounding noise, is no direction to stand out in.
        self.std = std.where(std > 1e-6 * self.mean.abs(), torch.inf)
        x = (train.features - self.mean) / self.std
        _, axes = principal_axes(x.T @ x / len(x), x)
        self.axes = axes[:, : self.dim or train.logits.shape[1]]

    def score_rows(self, test):
        x = (test.features - self.mean) / self.std
        return test.logits.amax(dim=1) * (x @ self.axes).norm(dim=1) / x.norm(dim=1).clamp_min(1e-12)


class She(Detector):
    """Zhang et al., ICLR 2023, simplified Hopfield energy:  s = z . m_y.

    m_c is the mean feature of the training clips of class c that are predicted c; that of all clips where none is.
    """

    def fit_rows(self, train):
        predicted = train.logits.argmax(dim=1)
        classes = range(train.logits.shape[1])
        correct = [train.features[(predicted == c) & (train.labels == c)] for c in classes]
        self.patterns = torch.stack([(x if len(x) else train.features).mean(dim=0) for x in correct])

    def score_rows(self, test):
        return (test.features * self.patterns[test.logits.argmax(dim=1)]).sum(dim=1)
