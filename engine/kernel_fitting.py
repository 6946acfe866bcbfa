"""Fit the kernel machine of models/fingerprint_kernel.py: ridge regression on similarities, solved at once."""

import torch

from models.fingerprint_kernel import CENTRES, DIMENSIONS, similarity

RIDGE = 0.1
CLIPS_OF_DIMENSION = 4  # at least so many training clips for each dimension of the projection
COPY_WEIGHT = 0.03  # of all copies together, beside 1 of the clips; more weight costs real speech that is called real
REAL_WEIGHT = 0.5  # share of real speech in all weights


def balance_real(weights, real):
    """`weights` [n] of clips, with a sum of 1, of which REAL_WEIGHT is that of the clips that are `real` (bool [n])."""
    if not real.any() or real.all():
        return weights / weights.sum()
    share = torch.where(real, REAL_WEIGHT / weights[real].sum(), (1 - REAL_WEIGHT) / weights[~real].sum())
    return weights * share


def fit_kernel(reader, copies, targets, weights):
    """Fit a KernelReader to fingerprints [copies, n, views, bins] of classes `targets` [n].

    `weights` [n] of the clips, float64, have a sum of 1. The targets of the regression are 1 for the class and -1 for
    the others. Clips are compared with CENTRES of them (Nystroem's method). All that is random comes from torch's
    generator.
    """
    clean = copies[0].float().flatten(1)
    reader.mean = clean.mean(dim=0)
    size = min(DIMENSIONS, len(clean) // CLIPS_OF_DIMENSION)
    _, _, reader.projection[:, :size] = torch.pca_lowrank(clean - reader.mean, q=size, niter=3, center=False)
    projected = reader.project(copies[0].float())
    reader.width = 2 * projected.square().sum(dim=1).mean().reshape(1)
    chosen = torch.multinomial(weights, min(CENTRES, len(targets)))
    centres = projected[chosen]
    reader.centres[: len(chosen)] = centres
    answers = 2 * torch.nn.functional.one_hot(targets, reader.weight.shape[1]).double() - 1
    scale = len(targets) / (1 + COPY_WEIGHT * (len(copies) > 1))
    gram = RIDGE * similarity(centres, centres, reader.width).double() + 1e-6 * torch.eye(len(chosen))
    mean = (answers * weights[:, None]).sum(dim=0)
    right = torch.zeros(len(chosen), answers.shape[1], dtype=torch.float64)
    for number, copy in enumerate(copies):  # one by one: this bounds the memory
        similar = similarity(reader.project(copy.float()), centres, reader.width).double()
        share = scale * weights * (COPY_WEIGHT / (len(copies) - 1) if number else 1)
        gram += similar.T @ (share[:, None] * similar)
        right += similar.T @ (share[:, None] * (answers - mean))
    reader.weight[: len(chosen)] = torch.linalg.solve(gram, right).float()
    reader.bias = mean.float()
