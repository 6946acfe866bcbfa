"""Detectors that see only the features, and the training labels."""

import torch
from torch.nn.functional import normalize

from ood_detectors.base import Detector
from ood_detectors.search import QUERIES, check_neighbours, largest_products
from utils.errors import InputError

# A direction with less than one of these shares, of the largest variance or of the features' mean square, is rounding
# noise of float32: mel-LCNN's 256 features span 80 directions. Whitening must not amplify the others.
NOISE_OF_VARIANCE = 1e-10
NOISE_OF_SQUARE = 1e-13


def principal_axes(covariance, features):
    """Variances [rank], falling, and directions [d, rank] of the covariance [d, d] of `features`, less rounding noise.

    Raises InputError when nothing is left: the features do not vary.
    """
    variances, directions = torch.linalg.eigh(covariance)
    kept = variances > max(NOISE_OF_VARIANCE * variances[-1], NOISE_OF_SQUARE * features.square().mean())
    if not kept.any():
        raise InputError("all training features are equal: check the model and trace the training set again")
    return variances[kept].flip(0), directions[:, kept].flip(1)


class Gaussians:
    """A Gaussian for each class, all of one covariance, fitted to x [n, d] and labels [n].

    The covariance is pooled over the clips or, with `balanced`, the mean of the class covariances.
    """

    def __init__(self, x, labels, balanced=False):
        _, labels, counts = labels.unique(return_inverse=True, return_counts=True)
        members = torch.zeros(len(counts), x.shape[1], dtype=x.dtype, device=x.device)
        centres = members.index_add(0, labels, x) / counts[:, None]
        weights = 1 / (len(counts) * counts[labels]) if balanced else torch.full_like(x[:, 0], 1 / len(x))
        within = (x - centres[labels]) * weights.sqrt()[:, None]
        variances, directions = principal_axes(within.T @ within, x)
        self.origin = x.mean(dim=0)  # near the data: whitened coordinates stay small and exact
        self.whiten = directions / variances.sqrt()
        self.centres = (centres - self.origin) @ self.whiten

    def distances(self, x):
        """Squared Mahalanobis distances [n, classes] of x [n, d] to the centres."""
        whitened = (x - self.origin) @ self.whiten
        return torch.cdist(whitened, self.centres, compute_mode="donot_use_mm_for_euclid_dist").square()


class Mahalanobis(Detector):
    """Lee et al., NeurIPS 2018, as published for ST-Codecfake:  s = exp(- min_c d_c^2 / 4096).

    d_c^2 = (u - m_c)' S^-1 (u - m_c), with the class means m_c and the mean S of the class covariances of u. The
    released code also shifts and scales u, which cancels in d_c wherever S has full rank. Where it has not, directions
    without variance are left out here; the released pseudo-inverse amplifies their rounding noise.
    """

    def fit_rows(self, train):
        self.gaussians = Gaussians(normalize(train.features), train.labels, balanced=True)

    def score_rows(self, test):
        return (-self.gaussians.distances(normalize(test.features)).amin(dim=1) / 4096).exp()


class Ssd(Mahalanobis):
    """Sehwag et al., ICLR 2021, with one cluster:  `mahalanobis` without classes."""

    def fit_rows(self, train):
        self.gaussians = Gaussians(normalize(train.features), torch.zeros_like(train.labels))


class MahalanobisPlus(Detector):
    """Mueller and Hein, ICML 2025, Mahalanobis++:  s = - min_c d_c^2 of u, with the covariance pooled over all clips.

    Unlike `mahalanobis` it weighs classes by their clips and does not saturate far from the data.
    """

    def fit_rows(self, train):
        self.gaussians = Gaussians(normalize(train.features), train.labels)

    def score_rows(self, test):
        return -self.gaussians.distances(normalize(test.features)).amin(dim=1)


class Rmds(Detector):
    """Ren et al., 2021, relative Mahalanobis distance:  s = - min_c (d_c^2 - d_0^2) of z.

    d_0 is the distance to one Gaussian fitted to all classes.
    """

    def fit_rows(self, train):
        self.classes = Gaussians(train.features, train.labels)
        self.background = Gaussians(train.features, torch.zeros_like(train.labels))

    def score_rows(self, test):
        return (self.background.distances(test.features) - self.classes.distances(test.features)).amax(dim=1)


class Knn(Detector):
    """Sun et al., ICML 2022:  s = k-th largest cosine u . u_i. It ranks as - |u - u_(k)| does.

    k = 7 as published for ST-Codecfake. Exact search, float32 as the features are.
    """

    rows = 32 * QUERIES  # work for up to 32 threads

    def __init__(self, k=7):
        self.k = k

    def fit_rows(self, train):
        self.bank = normalize(train.features).float()
        check_neighbours(self.k, self.bank)

    def score_rows(self, test):
        return largest_products(normalize(test.features), self.bank, self.k)[:, -1]
