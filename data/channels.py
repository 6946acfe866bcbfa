"""A random channel: what may happen to a recording between the codec and the person who asks.

It draws from the treatments of data/laundering.py, with their strength at random.
"""

import numpy as np

from data.audio import SAMPLE_RATE
from data.laundering import coded_by_libsndfile, in_room, resampled, with_noise

CUT = 0.5  # probability that only a part of the wave is kept
CUT_SECONDS = 1.0, 3.5
TWO_TREATMENTS = 0.25  # probability of a second treatment
WIDE_RATES = 22_050, 24_000, 32_000, 44_100, 48_000  # Hz; their band holds that of 16 kHz
NARROW_RATES = 8000, 11_025, 12_000


def compressed(wave, rng, format, subtype):
    """`wave` after a codec of libsndfile at a random bit rate."""
    return coded_by_libsndfile(wave, rng, format, subtype, level=rng.uniform(0, 0.95))


# What is drawn from; an entry that stands twice is drawn twice as often.
CHANNELS = (
    *[lambda wave, rng: compressed(wave, rng, "MP3", "MPEG_LAYER_III")] * 2,
    *[lambda wave, rng: compressed(wave, rng, "OGG", "OPUS")] * 2,
    lambda wave, rng: compressed(wave, rng, "OGG", "VORBIS"),
    lambda wave, rng: resampled(wave, rng, int(rng.choice(WIDE_RATES))),
    lambda wave, rng: resampled(wave, rng, int(rng.choice(NARROW_RATES))),
    *[lambda wave, rng: with_noise(wave, rng, snr=rng.uniform(15, 40))] * 2,
    lambda wave, rng: in_room(wave, rng, seconds=rng.uniform(0.1, 0.5)),
)


def through_random_channel(wave, rng):
    """`wave` [n] at 16 kHz, float32, after one or two random treatments, often cut to some seconds before."""
    if rng.random() < CUT:
        length = int(rng.uniform(*CUT_SECONDS) * SAMPLE_RATE)
        start = rng.integers(max(1, len(wave) - length))
        wave = wave[start : start + length]
    for number in rng.choice(len(CHANNELS), size=1 + (rng.random() < TWO_TREATMENTS), replace=False):
        wave = CHANNELS[number](wave, rng)
    return np.ascontiguousarray(wave, np.float32)
