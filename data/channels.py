"""A random channel: what may happen to a recording between the codec and the person who asks.

It draws from the treatments of data/laundering.py, with their strength at random. Noise and rooms are made, or are
recordings that the user has.
"""

from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve
from tqdm import tqdm

from data.audio import SAMPLE_RATE, load_wave, opened
from data.decoders import audio_suffixes, only_audio
from data.laundering import LONGEST_INPUT, coded_by_libsndfile, in_room, louder, resampled, with_noise
from data.measures import SILENT_POWER, root_mean_square
from utils.errors import InputError, MissingInput
from utils.hardware import is_first_process
from utils.reading import files_below

CUT = 0.5  # probability that only a part of the wave is kept
CUT_SECONDS = 1.0, 3.5
TWO_TREATMENTS = 0.25  # probability of a second treatment
WIDE_RATES = 22_050, 24_000, 32_000, 44_100, 48_000  # Hz; their band holds that of 16 kHz
NARROW_RATES = 8000, 11_025, 12_000
NOISE_DB = 5, 35  # signal-to-noise ratio of augmentation
GAIN_DB = -20, 12
ROOM_SECONDS = 0.1, 0.5  # in which a made room decays by 60 dB
LONGEST_ROOM = 2 * SAMPLE_RATE  # samples that are used of a recorded impulse response


def compressed(wave, rng, format, subtype):
    """`wave` after a codec of libsndfile at a random bit rate."""
    return coded_by_libsndfile(wave, rng, format, subtype, level=rng.uniform(0, 0.95))


# What is drawn from; an entry that stands twice is drawn twice as often.
CODINGS = (
    *[lambda wave, rng: compressed(wave, rng, "MP3", "MPEG_LAYER_III")] * 2,
    *[lambda wave, rng: compressed(wave, rng, "OGG", "OPUS")] * 2,
    lambda wave, rng: compressed(wave, rng, "OGG", "VORBIS"),
    lambda wave, rng: resampled(wave, rng, int(rng.choice(WIDE_RATES))),
    lambda wave, rng: resampled(wave, rng, int(rng.choice(NARROW_RATES))),
)
CHANNELS = (
    *CODINGS,
    *[lambda wave, rng: with_noise(wave, rng, snr=rng.uniform(15, 40))] * 2,
    lambda wave, rng: in_room(wave, rng, seconds=rng.uniform(*ROOM_SECONDS)),
)
OTHER_CHANNELS = (
    lambda wave, rng: coded_by_libsndfile(wave, rng, "WAV", str(rng.choice(("ULAW", "GSM610"))), rate=8000),
    lambda wave, rng: louder(wave, rng, gain=rng.uniform(*GAIN_DB)),
)


def through_one_or_two(channels, wave, rng):
    """`wave` [n] float32 after one or two of `channels`, drawn at random: float32 of about the same length."""
    for number in rng.choice(len(channels), size=1 + (rng.random() < TWO_TREATMENTS), replace=False):
        wave = channels[number](wave, rng)
    return np.ascontiguousarray(wave, np.float32)


def through_random_channel(wave, rng):
    """`wave` [n] at 16 kHz, float32, after one or two random treatments, often cut to some seconds before."""
    if rng.random() < CUT:
        length = int(rng.uniform(*CUT_SECONDS) * SAMPLE_RATE)
        start = rng.integers(max(1, len(wave) - length))
        wave = wave[start : start + length]
    return through_one_or_two(CHANNELS, wave, rng)


class RandomChannel(NamedTuple):
    """(wave [n] float32 at 16 kHz, rng) -> `wave` after one or two random treatments, all of it.

    `noises` and `rooms` are paths of recorded noise and of impulse responses; without them, they are made.
    """

    noises: tuple = ()
    rooms: tuple = ()

    def __call__(self, wave, rng):
        return through_one_or_two((*CODINGS, *OTHER_CHANNELS, self.noisy, self.noisy, self.in_room), wave, rng)

    def noisy(self, wave, rng):
        snr = rng.uniform(*NOISE_DB)
        if not self.noises:
            return with_noise(wave, rng, snr)
        noise = load_wave(self.noises[rng.integers(len(self.noises))], LONGEST_INPUT)
        noise = np.resize(np.roll(noise, -rng.integers(len(noise))), len(wave))
        gain = 10 ** (-snr / 20) * root_mean_square(wave) / max(root_mean_square(noise), SILENT_POWER**0.5)
        return wave + noise * np.float32(gain)

    def in_room(self, wave, rng):
        if not self.rooms:
            return in_room(wave, rng, seconds=rng.uniform(*ROOM_SECONDS))
        return fftconvolve(wave, read_room(self.rooms[rng.integers(len(self.rooms))]))[: len(wave)]


def read_room(path):
    """An impulse response from its direct sound on, which gets the amplitude 1. Raises InputError for silence."""
    room = load_wave(path)
    start = int(np.abs(room).argmax())
    if not room[start]:
        raise InputError(f"{path} is silent, so it is no impulse response: take it out of --room_folder")
    return room[start : start + LONGEST_ROOM] / room[start]


def audio_files(folder):
    """The paths of the audio files in `folder` and its subfolders, in order, a tuple; () where it is None.

    Raises MissingInput when there is no such folder, InputError when it holds no audio file, or cannot be read.
    """
    if folder is None:
        return ()
    if not folder.is_dir():
        raise MissingInput(f"{folder} is not a folder: give a folder of audio files")
    paths = tuple(only_audio(files_below(folder)))
    if not paths:
        raise InputError(f"{folder} holds no audio file ({', '.join(audio_suffixes())})")
    return paths


def read_header(path):
    """Raise InputError where the audio file `path` cannot be opened, or holds no sample."""
    with opened(path):
        pass


def check_files(paths, flag, read=read_header):
    """Raise InputError, which names the `flag`, for the first of `paths` that `read` refuses.

    Training draws these files at random, so it may come to a broken one after hours. Most break at the header.
    """
    for path in tqdm(paths, desc=flag, unit="file", delay=5, leave=False, disable=not is_first_process()):
        try:
            read(path)
        except InputError as error:
            raise InputError(f"{flag}: {error}") from None
