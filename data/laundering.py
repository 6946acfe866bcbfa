"""Treatments of speech: coding, channels, noise, rooms and levels (LAUNDERING), and the removal of shortcuts (AUDITS).

A treatment is a function (wave [n] float32 at 16 kHz, numpy Generator) -> wave at 16 kHz, of about the same length. A
row of one of the two tables gives it a name for --treatment. demo/recoding.py adds passes through neural codecs.
"""

import io
from functools import partial

import numpy as np
import soundfile
import torch
from scipy.signal import fftconvolve, resample_poly

from data.audio import SAMPLE_RATE, SAMPLES, fit_length, load_wave, resample_wave
from data.dataset import Clips
from data.measures import SILENT_POWER, SPEECH_LEVEL_DB, first_loud, root_mean_square

LONGEST_INPUT = 60 * SAMPLE_RATE  # samples that are read of a file; most models see only its first seconds
WRITE_BLOCK = 4096  # samples; the Vorbis writer of libsndfile overflows its stack on longer blocks
EDGE_SECONDS = 0.5  # longest part that the treatment `silence alone` keeps


def to_rate(wave, rate):
    """`wave` [n] at 16 kHz as [n * rate / 16000] float32 at `rate` Hz."""
    return resample_poly(wave, rate, SAMPLE_RATE).astype(np.float32)


def coded_by_libsndfile(wave, rng, format, subtype, rate=SAMPLE_RATE, level=None):
    """`wave` after libsndfile has written and read it at `rate` Hz.

    `level` is the compression, from 0 to 1 (the smallest file); None leaves the choice to libsndfile.
    """
    file = io.BytesIO()
    count = len(wave)
    wave = peaks_below(wave if rate == SAMPLE_RATE else to_rate(wave, rate))
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format=format, compression_level=level) as out:
        for start in range(0, len(wave), WRITE_BLOCK):
            out.write(wave[start : start + WRITE_BLOCK])
    file.seek(0)
    copy, rate = soundfile.read(file, dtype="float32")
    return np.resize(resample_wave(copy, rate), count)


def peaks_below(wave, peak=0.99):
    """`wave` scaled down so that no sample is beyond `peak`: a codec would clip it."""
    return wave * np.float32(min(1, peak / max(np.abs(wave).max(), 1e-9)))


def resampled(wave, rng, rate):
    """`wave` resampled to `rate` Hz and back. Below 16 kHz this removes all frequencies above rate / 2."""
    return resample_wave(to_rate(wave, rate), rate)[: len(wave)]


def with_noise(wave, rng, snr):
    """`wave` plus white noise that is `snr` dB weaker."""
    noise = rng.standard_normal(len(wave))
    return (wave + noise * root_mean_square(wave) * 10 ** (-snr / 20)).astype(np.float32)


def in_room(wave, rng, seconds=0.4):
    """`wave` in a room whose response is noise, 6 dB below the direct sound, that decays by 60 dB in `seconds`."""
    length = int(SAMPLE_RATE * seconds)
    room = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    room *= 0.5 / np.linalg.norm(room)
    room[0] = 1
    return fftconvolve(wave, room)[: len(wave)].astype(np.float32)


def louder(wave, rng, gain):
    """`wave` amplified by `gain` dB; samples beyond full scale are clipped."""
    return np.clip(wave * np.float32(10 ** (gain / 20)), -1, 1)


# ---- shortcuts that the audit removes -------------------------------------------------------------------------------


def trimmed(wave, rng):
    """`wave` from the first to the last sample that is within 30 dB of the peak."""
    start = first_loud(wave)
    end = len(wave) - first_loud(wave[::-1])
    return wave[start:end]


def only_silence(wave, rng):
    """The part before speech begins, at most half a second. Without such a part: the quietest 50 ms."""
    start = min(first_loud(wave), int(EDGE_SECONDS * SAMPLE_RATE))
    length = SAMPLE_RATE // 20
    if start >= length or len(wave) <= length:
        return wave[: max(start, 1)]
    power = np.convolve(np.square(wave, dtype=np.float64), np.ones(length), "valid")
    quietest = int(power.argmin())
    return wave[quietest : quietest + length]


def at_level(wave, rng):
    """`wave` at SPEECH_LEVEL_DB; digital silence stays as it is."""
    level = root_mean_square(wave)
    return wave if level**2 < SILENT_POWER else (wave * (10 ** (SPEECH_LEVEL_DB / 20) / level)).astype(np.float32)


def fixed_duration(wave, rng, seconds=1.5):
    """The first `seconds` of `wave`; a shorter one is repeated."""
    return fit_length(wave, int(seconds * SAMPLE_RATE))


def without_offset(wave, rng):
    """`wave` less its mean."""
    return wave - wave.mean(dtype=np.float64).astype(np.float32)


def unchanged(wave, rng):
    return wave


UNTREATED = "none"
AUDITS = {
    UNTREATED: unchanged,
    "silence trimmed": trimmed,
    "silence alone": only_silence,
    "level normalised": at_level,
    "below 4 kHz": partial(resampled, rate=8000),
    "fixed duration": fixed_duration,
    "no DC offset": without_offset,
}
LAUNDERING = {
    UNTREATED: unchanged,
    "mp3": partial(coded_by_libsndfile, format="MP3", subtype="MPEG_LAYER_III"),
    "mp3-small": partial(coded_by_libsndfile, format="MP3", subtype="MPEG_LAYER_III", level=0.99),
    "opus": partial(coded_by_libsndfile, format="OGG", subtype="OPUS"),
    "opus-small": partial(coded_by_libsndfile, format="OGG", subtype="OPUS", level=0.99),
    "vorbis": partial(coded_by_libsndfile, format="OGG", subtype="VORBIS"),
    "gsm": partial(coded_by_libsndfile, format="WAV", subtype="GSM610", rate=8000),
    "mu-law": partial(coded_by_libsndfile, format="WAV", subtype="ULAW", rate=8000),
    "8kHz": partial(resampled, rate=8000),
    "11kHz": partial(resampled, rate=11_025),
    "44kHz": partial(resampled, rate=44_100),
    **{f"noise-{snr}dB": partial(with_noise, snr=snr) for snr in (30, 20, 10, 0)},
    "room": in_room,
    "quieter-20dB": partial(louder, gain=-20),
    "louder-12dB": partial(louder, gain=12),
}


class Treated(Clips):
    """Clips whose whole waveform is treated before the crop.

    The random numbers of a clip depend only on `seed` and on its position. `treatment` may be None where no clip is
    read.
    """

    def __init__(self, clips, treatment, seed, samples=SAMPLES):
        super().__init__(clips, samples)
        self.treatment = treatment
        self.seed = seed

    def __getitem__(self, position):
        clip = self.clips[position]
        rng = np.random.default_rng([self.seed, position])
        wave = self.treatment(load_wave(clip.path, LONGEST_INPUT), rng)
        wave = np.ascontiguousarray(fit_length(wave, self.samples), np.float32)
        return position, torch.from_numpy(wave), clip.label
