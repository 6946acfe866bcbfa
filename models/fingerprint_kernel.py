"""The fingerprint read twice: by convolutions, and by a kernel machine that compares it with those of training clips.

The kernel machine keeps real speech and codecs apart better, the convolutions name codecs better after MP3 or in noise.
docs/fingerprint.md has the comparison.
"""

import torch
from torch import nn

from models.fingerprint import BINS, VIEWS, Fingerprint

DIMENSIONS = 256  # of the projected fingerprint
CENTRES = 1000  # training clips that a fingerprint is compared with
SHARPNESS = 5  # makes logits of the outputs of the kernel machine, which are in about [-1, 1]


class KernelReader(nn.Module):
    """A radial kernel machine over fingerprints: [batch, views, BINS] -> [batch, classes], about 1 for the class.

    y = weight . exp(-|p - centres|^2 / width) + bias, with p = (fingerprint - mean) . projection. All of it is found by
    engine/kernel_fitting.py. Rows that a small corpus leaves over are zero.
    """

    def __init__(self, num_classes):
        super().__init__()
        values = len(VIEWS) * BINS
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("projection", torch.zeros(values, DIMENSIONS))
        self.register_buffer("centres", torch.zeros(CENTRES, DIMENSIONS))
        self.register_buffer("width", torch.ones(1))
        self.register_buffer("weight", torch.zeros(CENTRES, num_classes))
        self.register_buffer("bias", torch.zeros(num_classes))

    def project(self, views):
        """p [batch, DIMENSIONS]."""
        return (views.flatten(1) - self.mean) @ self.projection

    def answer(self, projected):
        """y [batch, classes] of p [batch, DIMENSIONS]."""
        return similarity(projected, self.centres, self.width) @ self.weight + self.bias

    def forward(self, views):
        return self.answer(self.project(views))


def similarity(x, centres, width):
    """exp(-|x - c|^2 / width) [n, m] of x [n, d] and centres [m, d]."""
    return torch.exp(-torch.cdist(x, centres, compute_mode="use_mm_for_euclid_dist").square() / width)


class KernelFingerprint(Fingerprint):
    """Convolutions and a kernel machine over the spectral fingerprint: wave [batch, samples] -> features, logits.

    The features [batch, DIMENSIONS] are the projected fingerprint, in which unknown codecs stay apart from one another.
    The logits are the logarithm of the mean of both readers' probabilities.
    """

    head_makes_logits = False
    embedding_size = DIMENSIONS

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.kernel = KernelReader(num_classes)

    def read(self, views):
        _, logits = super().read(views)
        with torch.autocast(views.device.type, enabled=False):
            projected = self.kernel.project(views.float())
            of_kernel = SHARPNESS * self.kernel.answer(projected)
            mean = (logits.float().softmax(dim=1) + of_kernel.softmax(dim=1)) / 2
        return projected.to(logits.dtype), mean.log().to(logits.dtype)
