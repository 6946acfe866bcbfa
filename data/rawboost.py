"""RawBoost: channel effects and noise that training adds to a waveform (Tak et al., ICASSP 2022, arXiv 2111.04433).

`rng` is a numpy Generator, or a RandomState with the draws of the released code. Lengths in samples, frequencies in Hz,
gains in dB; the parameters are those of CodecFake+.
"""

import numpy as np

from data.audio import SAMPLE_RATE

NOTCHES = 5  # in a filter
NOTCH_CENTRE = (20, 8000)
NOTCH_WIDTH = (100, 1000)
NOTCH_TAPS = (10, 100)
NOTCH_GAIN = (0, 0)
HIGHEST_POWER = 5  # of the polynomial of `convolutive`
POWER_BIAS = (5, 20)  # by which the gains of its powers above the first are lower
IMPULSE_DENSITY = 10  # largest share of samples that `impulsive` hits, in per cent
IMPULSE_STRENGTH = 2  # of its hits, in units of the sample
NOISE_RATIO = (10, 40)  # signal-to-noise ratio of `stationary`


def uniform(rng, low, high):
    """One number between `low` and `high`, which may be the smaller one."""
    return low + (high - low) * rng.random()


def normalise(wave, always=False):
    """`wave` divided by its peak, if the peak exceeds 1 or `always` is set."""
    peak = np.abs(wave).max()
    return wave / peak if always or peak > 1 else wave


def band_stop(low, high, taps):
    """Impulse response [taps] of a Hamming-windowed filter that stops `low` to `high`, with gain 1 at 0 Hz.

    Source: scipy.signal.firwin(taps, [low, high], window="hamming", fs=16000).
    """
    low = 2 * low / SAMPLE_RATE
    high = 2 * high / SAMPLE_RATE
    time = np.arange(taps) - (taps - 1) / 2
    response = low * np.sinc(low * time) + np.sinc(time) - high * np.sinc(high * time)
    response *= np.hamming(taps)
    return response / response.sum()


def notch_filter(rng, lowest, highest):
    """Impulse response of five band-stop filters in a row, of a random gain between `lowest` and `highest`."""
    response = np.ones(1)
    for _ in range(NOTCHES):
        centre = uniform(rng, *NOTCH_CENTRE)
        width = uniform(rng, *NOTCH_WIDTH)
        taps = int(uniform(rng, *NOTCH_TAPS)) | 1  # odd
        low = centre - width / 2
        low = low if low > 0 else 0.001
        high = min(centre + width / 2, SAMPLE_RATE / 2 - 0.001)
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
    gains = [
        (NOTCH_GAIN[0] - bias * POWER_BIAS[0], NOTCH_GAIN[1] - bias * POWER_BIAS[1])
        for bias in [0] + [1] * (HIGHEST_POWER - 1)
    ]
    responses = [notch_filter(rng, *gain) for gain in gains]
    powers = np.stack([wave**power for power in range(1, HIGHEST_POWER + 1)])
    out = filtered(powers, responses)
    return normalise(out - out.mean())


def impulsive(wave, rng):
    """Impulsive signal-dependent noise: a random share of the samples, scaled at random (algorithm 2)."""
    count = int(len(wave) * uniform(rng, 0, IMPULSE_DENSITY) / 100)
    hit = rng.permutation(len(wave))[:count]
    factor = (2 * rng.random(count) - 1) * (2 * rng.random(count) - 1)
    out = wave.copy()
    out[hit] *= 1 + IMPULSE_STRENGTH * factor
    return normalise(out)


def stationary(wave, rng):
    """Stationary signal-independent noise: coloured, at a random signal-to-noise ratio (algorithm 3)."""
    noise = rng.standard_normal(len(wave))
    noise = normalise(filtered(noise[None], [notch_filter(rng, *NOTCH_GAIN)]), always=True)
    level = np.linalg.norm(wave) / np.linalg.norm(noise) / 10 ** (uniform(rng, *NOISE_RATIO) / 20)
    return wave + level * noise


def parallel(wave, rng):
    """Algorithms 1 and 2 side by side, added (algorithm 8)."""
    return normalise(convolutive(wave, rng) + impulsive(wave, rng))


# Algorithm number -> the effects that are applied, one after the other
ALGORITHMS = (
    (),
    (convolutive,),
    (impulsive,),
    (stationary,),
    (convolutive, impulsive, stationary),
    (convolutive, impulsive),
    (convolutive, stationary),
    (impulsive, stationary),
    (parallel,),
)


def rawboost(algorithm, wave, rng):
    """`wave` [n] after RawBoost `algorithm` 0 ... 8: [n], float32 or float64. Algorithm 0 changes nothing."""
    for effect in ALGORITHMS[algorithm]:
        wave = effect(wave, rng)
    return wave
