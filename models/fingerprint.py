"""The spectral fingerprint of a codec's decoder, and a small network that reads it.

A decoder raises a frame rate of 12.5 to 86 Hz to the sample rate. What its filters leave of the copies of the spectrum,
and its constant bias, are narrow lines at fixed frequencies that no speech has. They depend on the architecture and
hardly on the speech. Sources: Pons et al., ICASSP 2021 (arXiv 2010.14356); Afchar et al., ISMIR 2025 (arXiv
2506.19108), who prove it for music. The whitening before the long-term spectrum is ours: see docs/fingerprint.md.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import max_pool1d, pad

BINS = 1024  # of a view
FINGERPRINT_FEATURES = 128  # of a clip
CPU_CLIPS = 2  # clips that a CPU processes at a time: their spectrograms stay in its cache
NOISE = 0.1  # standard deviation that training adds to views, in units of theirs
POWER_FLOOR = 1e-14  # what whitening adds to a power, for a wave of unit power


class View(NamedTuple):
    """How a long-term spectrum is taken."""

    frame: int  # samples of a frame of whitening
    smooth: int  # bins over which its power is smoothed
    size: int  # samples of a frame of the spectrum
    hull: int  # bins of the moving minimum and mean that make the lower hull
    mean_of_log: bool  # mean over frames of the logarithm, or logarithm of the mean


VIEWS = (
    View(frame=128, smooth=5, size=2048, hull=15, mean_of_log=True),
    View(frame=64, smooth=3, size=2048, hull=15, mean_of_log=False),
    View(frame=128, smooth=5, size=4096, hull=31, mean_of_log=True),
)


def mirrored(x, width):
    """`x` [..., n] with width // 2 values before and after it, which mirror its ends, the last value included."""
    half = width // 2
    return torch.cat((x[..., :half].flip(-1), x, x[..., -half:].flip(-1)), dim=-1)


def moving_mean(x, width):
    """Mean of `x` [..., n] over `width` neighbours, an odd number: [..., n]."""
    mirror = mirrored(x, width)
    return sum(mirror[..., shift : shift + x.shape[-1]] for shift in range(width)) / width


def moving_minimum(x, width):
    """Minimum of `x` [..., n] over `width` neighbours, an odd number: [..., n]."""
    return -max_pool1d(-mirrored(x, width).flatten(0, -2)[:, None], width, stride=1).view(x.shape)


def frames_of(wave, size):
    """Frames [batch, frames, size] of `wave` [batch, samples], each a quarter of its size after the one before."""
    step = size // 4
    if not torch.compiler.is_compiling():
        return wave.unfold(1, size, step)
    # ONNX has no unfold: its place would be taken by tables of indices, 10 MB of them.
    quarters = wave[:, : wave.shape[1] // step * step].unflatten(1, (-1, step))
    return torch.cat([quarters[:, i : quarters.shape[1] - 3 + i] for i in range(4)], dim=2)


def spectra(wave, size, window):
    """Spectra [batch, frames, size / 2 + 1] of `wave` [batch, samples], four frames to `size` samples."""
    return torch.fft.rfft(frames_of(wave, size) * window)


def power_of(spectrum):
    """Squared magnitude of complex values. abs() takes a root first, which is eight times as slow on a CPU."""
    return (spectrum * spectrum.conj()).real


def overlap_add(frames):
    """Sum [batch, samples] of frames [batch, frames, size], each a quarter of its size after the one before."""
    quarters = frames.unflatten(2, (4, -1))  # [batch, frames, 4, size / 4]
    return sum(pad(quarters[:, :, i], (0, 0, i, 3 - i)) for i in range(4)).flatten(1)


def whiten(wave, size, smooth):
    """`wave` [batch, samples] with a flat spectrum in every frame of `size` samples: [batch, samples].

    Each value of the spectrogram is divided by the root of its power, smoothed over `smooth` bins. So each 4 to 8 ms
    weighs the same, speech or pause, formant or valley; what stays the same throughout the clip is left.
    """
    window = torch.hann_window(size, dtype=wave.dtype, device=wave.device)
    spectrum = spectra(pad(wave, (size, 2 * size)), size, window)
    flat = spectrum * (moving_mean(power_of(spectrum), smooth) + POWER_FLOOR).rsqrt()
    return overlap_add(torch.fft.irfft(flat) * window)[:, size : size + wave.shape[1]]


def long_term_spectrum(white, view):
    """Level [batch, size / 2 + 1] of a whitened wave [batch, samples] of at least `view.size` samples, in nepers."""
    window = torch.hann_window(view.size, periodic=False, dtype=white.dtype, device=white.device)
    power = power_of(spectra(white, view.size, window))
    return (power + 1e-9).log().mean(1) if view.mean_of_log else (power.mean(1) + 1e-9).log()


def above_hull(level, width):
    """`level` [batch, bins] above its lower hull, the moving mean of its moving minimum."""
    return level - moving_mean(moving_minimum(level, width), width)


def standardised(x):
    """`x` [..., n] less its mean, over its standard deviation."""
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True).clamp(min=1e-6)


def fingerprint_views(wave):
    """Fingerprints [batch, views, BINS] of `wave` [batch, samples] at 16 kHz. They do not depend on its level.

    A wave shorter than the longest frame is followed by silence.
    """
    if wave.device.type != "cpu" or torch.compiler.is_compiling():
        return views_together(wave)
    return torch.cat([views_together(part) for part in wave.split(CPU_CLIPS)])


def views_together(wave):
    """fingerprint_views() of a few clips, all at once."""
    wave = wave / wave.square().mean(1, keepdim=True).sqrt().clamp(min=1e-8)
    wave = pad(wave, (0, max(0, max(view.size for view in VIEWS) - wave.shape[1])))
    white = {(view.frame, view.smooth): None for view in VIEWS}
    white = {key: whiten(wave, *key) for key in white}
    views = []
    for view in VIEWS:
        lines = above_hull(long_term_spectrum(white[view.frame, view.smooth], view), view.hull)[:, :-1]
        views.append(standardised(lines.unflatten(1, (BINS, -1)).mean(2)))
    return torch.stack(views, dim=1)


def mean_fingerprint(views):
    """The fingerprint [1, views, BINS] of a whole recording, of those of its windows [windows, views, BINS].

    Long-term spectra in logarithms add up; what differs from window to window, the speech, becomes weaker.
    """
    return standardised(views.mean(0, keepdim=True))


class Fingerprint(nn.Module):
    """Convolutions over the spectral fingerprint: wave [batch, samples] -> features [batch, 128], logits."""

    def __init__(self, num_classes):
        super().__init__()

        def layer(channels_in, channels_out, kernel):
            convolution = nn.Conv1d(channels_in, channels_out, kernel, stride=2, padding=kernel // 2)
            return convolution, nn.BatchNorm1d(channels_out), nn.ReLU()

        self.lines = nn.Sequential(*layer(len(VIEWS), 16, 9), *layer(16, 32, 7), *layer(32, 32, 5))
        self.embedding = nn.Sequential(nn.Dropout(0.3), nn.Linear(32 * BINS // 8, FINGERPRINT_FEATURES), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(FINGERPRINT_FEATURES, num_classes)

    def forward(self, signal):
        """Features and logits of waves [batch, samples], or of their fingerprints [batch, views, BINS]."""
        return self.read(signal if signal.dim() == 3 else self.views(signal))

    def views(self, wave):
        """Fingerprints [batch, views, BINS] of `wave` [batch, samples], float32."""
        with torch.autocast(wave.device.type, enabled=False), torch.no_grad():  # the range of power needs float32
            return fingerprint_views(wave.float())

    def read(self, views):
        """Features [batch, 128] and logits [batch, classes] of fingerprints [batch, views, BINS]."""
        if self.training:
            views = views + NOISE * torch.randn_like(views)
        features = self.embedding(self.lines(views).flatten(1))
        return features, self.head(self.dropout(features))
