"""Quantisers of the demo codecs: latents [batch, d, frames] -> codes, the first codebook's share, a training loss."""

import math

import torch
from torch import nn


def nearest_rows(rows, codebook):
    """For each of `rows` [n, d], the index [n] of the nearest row of `codebook` [size, d]."""
    norm = codebook.square().sum(1)
    return torch.cat([(norm - 2 * part @ codebook.T).argmin(1) for part in rows.split(8192)])


def k_means(rows, size, steps=8):
    """`size` centres [size, d] of `rows` [n, d]; a centre without rows moves to a random row."""
    centres = rows[torch.randperm(len(rows))[:size]].clone()
    for _ in range(steps):
        index = nearest_rows(rows, centres)
        count = torch.bincount(index, minlength=size)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, index, rows)
        centres = torch.where(count > 0, sums / count.clamp(min=1), rows[torch.randint(len(rows), (size,))])
    return centres


class Codebook(nn.Module):
    """`size` vectors that follow the mean of the rows they stand for (exponential moving average, decay 0.98)."""

    def __init__(self, size, d):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, d))
        self.register_buffer("count", torch.ones(size), persistent=False)
        self.register_buffer("total", torch.zeros(size, d), persistent=False)

    def restart(self, which, vectors, count):
        self.vectors[which] = vectors
        self.total[which] = vectors * count
        self.count[which] = count

    def forward(self, rows):
        index = nearest_rows(rows, self.vectors)
        chosen = self.vectors[index]
        if self.training:
            self.follow(rows, index)
        return chosen

    def follow(self, rows, index):
        count = torch.bincount(index, minlength=len(self.vectors)).float()
        self.count.lerp_(count, 0.02)
        self.total.lerp_(torch.zeros_like(self.total).index_add_(0, index, rows), 0.02)
        self.vectors.copy_(self.total / self.count.clamp(min=1e-2)[:, None])
        dead = (self.count < 0.02 * len(rows) / len(self.vectors)).nonzero()[:, 0]
        self.restart(dead, rows[torch.randint(len(rows), (len(dead),))], 1.0)


class Residual(nn.Module):
    """Residual vector quantisation (SoundStream, Zeghidour et al., 2021); one book makes it a single quantiser.

    `setting` is the part of the books in use. In training, a quarter of the steps uses a random number of them, so that
    every bit rate works.
    """

    def __init__(self, d, books, size):
        super().__init__()
        self.books = nn.ModuleList(Codebook(size, d) for _ in range(books))

    def in_use(self, setting):
        return max(1, round(setting * len(self.books)))

    def bits(self, setting=1.0):
        """Bits a frame."""
        return self.in_use(setting) * math.log2(len(self.books[0].vectors))

    @torch.no_grad()
    def initialise(self, rows):
        rows = rows[torch.randperm(len(rows))[:16_000]]
        for book in self.books:
            size = len(book.vectors)
            book.restart(slice(None), k_means(rows, size), len(rows) / size * 0.05 + 0.5)
            rows = rows - book.vectors[nearest_rows(rows, book.vectors)]

    def forward(self, latents, setting=1.0):
        rows = latents.transpose(1, 2).flatten(0, 1)
        books = self.in_use(setting)
        if self.training and len(self.books) > 1 and torch.rand(()) < 0.25:
            books = int(torch.randint(1, len(self.books) + 1, ()))
        rest = rows
        chosen = []
        commitment = 0
        for book in self.books[:books]:
            chosen.append(book(rest.detach()))
            commitment = commitment + 0.25 * (rest - chosen[-1]).square().mean()
            rest = rest - chosen[-1]
        codes, first = (
            (rows + (vectors - rows).detach()).view(len(latents), -1, latents.shape[1]).transpose(1, 2)
            for vectors in (sum(chosen), chosen[0])
        )
        return codes, first, commitment


class Scalar(nn.Module):
    """Finite scalar quantisation (Mentzer et al., 2023) after division by the frame's gain, itself rounded (5 bits).

    One step size for all dimensions spends `bits` a frame where the variance is (reverse water-filling). `setting` is
    the part of the dimensions in use, the first ones; in training, a quarter of the steps draws it at random.
    """

    RANGE, GAIN_STEP, GAIN_BITS = 1.5, 0.4, 5

    def __init__(self, d, bits):
        super().__init__()
        self.budget = bits
        self.register_buffer("levels", torch.full((d,), 3.0))
        self.register_buffer("reach", torch.ones(d))
        self.register_buffer("level", torch.zeros(()))

    def in_use(self, setting):
        """Levels of each dimension [d], an odd number: one of them is zero, the only one of a dimension out of use."""
        used = self.levels > 1
        return self.levels.where(used.cumsum(0) <= max(1, round(setting * int(used.sum()))), 1)

    def bits(self, setting=1.0):
        """Bits a frame."""
        return self.in_use(setting).log2().sum().item() + self.GAIN_BITS

    def gain(self, latents):
        """Root mean square of each frame, rounded to steps of 3.5 dB: [..., 1] for [..., d]."""
        log = (latents.square().mean(-1, keepdim=True).sqrt() + 1e-5).log() - self.level
        return ((log / self.GAIN_STEP).round().clamp(-22, 9) * self.GAIN_STEP + self.level).exp()

    @torch.no_grad()
    def initialise(self, rows):
        self.level.copy_(rows.square().mean().sqrt().log())
        deviation = (rows / self.gain(rows)).std(0)
        low, high = -12.0, 12.0
        for _ in range(60):  # bisection on the logarithm of the step size
            middle = (low + high) / 2
            step = deviation[0] * 2**middle
            levels = 2 * torch.round(self.RANGE * deviation / step) + 1
            low, high = (low, middle) if levels.log2().sum() < self.budget - self.GAIN_BITS else (middle, high)
        self.levels.copy_(levels)
        self.reach.copy_((step * (levels - 1) / 2).clamp(min=1e-4 * deviation[0]))

    def forward(self, latents, setting=1.0):
        if self.training and torch.rand(()) < 0.25:
            setting = torch.rand(()).item()
        rows = latents.transpose(1, 2)
        gain = self.gain(rows.detach())
        levels = self.in_use(setting)
        half = (levels - 1) / 2
        scaled = (rows / gain / self.reach).clamp(-1, 1) * half
        codes = scaled + (scaled.round() - scaled).detach()
        codes = (codes / half.clamp(min=0.5) * self.reach * (levels > 1) * gain).transpose(1, 2)
        return codes, codes, codes.new_zeros(())


QUANTISERS = {"MVQ": Residual, "SVQ": Residual, "SQ": Scalar}
