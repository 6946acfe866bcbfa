"""RawBoost: channel effects and noise that training adds to a waveform (Tak et al., ICASSP 2022, arXiv 2111.04433).

`rng` is a numpy Generator, or a RandomState with the draws of the released code. Lengths in samples, frequencies in Hz,
gains in dB; the parameters are those of CodecFake+.
"""

import numpy as np
import torch

from data.audio import SAMPLE_RATE, fit_length, load_wave
from data.dataset import Clips

BANDS = 5  # notches in a filter
CENTRE = (20, 8000)
WIDTH = (100, 1000)
TAPS = (10, 100)
GAIN = (0, 0)
ORDER = 5  # of the polynomial of `convolutive`
BIAS = (5, 20)  # by which the gains of its powers above the first are lower
DENSITY = 10  # largest share of samples that `impulsive` hits, in per cent
STRENGTH = 2  # of its hits, in units of the sample
SNR = (10, 40)  # of `stationary`


def uniform(rng, low, high):
    """One number between `low` and `high`, which may be the smaller one."""
    return low + (high - low) * rng.random()


def normalise(wave, always=False):
    """`wave` over its peak, if that exceeds 1 or `always`."""
    peak = np.abs(wave).max()
    return wave / peak if always or peak > 1 else wave


def band_stop(low, high, taps):
    """Impulse response [taps] of a Hamming-windowed filter that stops `low` to `high`, with gain 1 at 0 Hz.

    Source: scipy.signal.firwin(taps, [low, high], window="hamming", fs=16000).
    """
    low, high = 2 * low / SAMPLE_RATE, 2 * high / SAMPLE_RATE
    time = np.arange(taps) - (taps - 1) / 2
    response = low * np.sinc(low * time) + np.sinc(time) - high * np.sinc(high * time)
    response *= np.hamming(taps)
    return response / response.sum()


def notch_filter(rng, lowest, highest):
    """Impulse response of five band-stop filters in a row, of a random gain between `lowest` and `highest`."""
    response = np.ones(1)
    for _ in range(BANDS):
        centre, width = uniform(rng, *CENTRE), uniform(rng, *WIDTH)
        taps = int(uniform(rng, *TAPS)) | 1  # odd
        low, high = centre - width / 2, centre + width / 2
        low, high = low if low > 0 else 0.001, min(high, SAMPLE_RATE / 2 - 0.001)
        response = np.convolve(band_stop(low, high, taps), response)
    gain = 10 ** (uniform(rng, lowest, highest) / 20)
    return response * gain / np.abs(np.fft.rfft(response, 1024)[:512]).max()


def filtered(waves, responses):
    """The sum of `waves` [k, n], each through one of k filters and shifted back by half its length: float64 [n]."""
    delay = max(len(response) + 1 for response in responses) // 2
    size = 1 << (waves.shape[1] + 3 * delay).bit_length()
    spectrum = sum(
        np.fft.rfft(wave, size) * np.fft.rfft(np.pad(response, (delay - (len(response) + 1) // 2, 0)), size)
        for wave, response in zip(waves, responses, strict=True)
    )
    return np.fft.irfft(spectrum, size)[delay : delay + waves.shape[1]]


def convolutive(wave, rng):
    """Linear and non-linear convolutive noise: sum_k h_k * wave^k, k = 1 ... 5, without its mean (algorithm 1)."""
    gains = [(GAIN[0] - bias * BIAS[0], GAIN[1] - bias * BIAS[1]) for bias in [0] + [1] * (ORDER - 1)]
    responses = [notch_filter(rng, *gain) for gain in gains]
    powers = np.stack([wave**power for power in range(1, ORDER + 1)])
    out = filtered(powers, responses)
    return normalise(out - out.mean())


def impulsive(wave, rng):
    """Impulsive signal-dependent noise: a random share of the samples, scaled at random (algorithm 2)."""
    count = int(len(wave) * uniform(rng, 0, DENSITY) / 100)
    hit = rng.permutation(len(wave))[:count]
    factor = (2 * rng.random(count) - 1) * (2 * rng.random(count) - 1)
    out = wave.copy()
    out[hit] *= 1 + STRENGTH * factor
    return normalise(out)


def stationary(wave, rng):
    """Stationary signal-independent noise: coloured, at a random signal-to-noise ratio (algorithm 3)."""
    noise = rng.standard_normal(len(wave))
    noise = normalise(filtered(noise[None], [notch_filter(rng, *GAIN)]), always=True)
    level = np.linalg.norm(wave) / np.linalg.norm(noise) / 10 ** (uniform(rng, *SNR) / 20)
    return wave + level * noise


def parallel(wave, rng):
    """Algorithms 1 and 2 side by side, added (algorithm 8)."""
    return normalise(convolutive(wave, rng) + impulsive(wave, rng))


# Algorithm number -> what is done, one after the other
ALGORITHMS = (
    *((), (convolutive,), (impulsive,), (stationary,)),
    *((convolutive, impulsive, stationary), (convolutive, impulsive), (convolutive, stationary)),
    *((impulsive, stationary), (parallel,)),
)


def rawboost(wave, algorithm, rng):
    """`wave` [n] after RawBoost `algorithm` 0 ... 8: [n], float32 or float64."""
    for effect in ALGORITHMS[algorithm]:
        wave = effect(wave, rng)
    return wave


class BoostedClips(Clips):
    """(position, waveform [samples], label) of each clip, the whole file after RawBoost, then cut or repeated.

    What is drawn depends on (seed, epoch, position) alone.
    """

    def __init__(self, clips, samples, algorithm, seed):
        super().__init__(clips, samples)
        self.algorithm, self.seed = algorithm, seed

    def __getitem__(self, position):
        clip = self.clips[position]
        rng = np.random.default_rng((self.seed, self.epoch, position))
        wave = rawboost(load_wave(clip.path), self.algorithm, rng).astype(np.float32)
        return position, torch.from_numpy(fit_length(wave, self.samples)), clip.label
