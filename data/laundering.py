"""What happens to speech on its way: coding, channels, noise, rooms, levels, another neural codec.

A treatment is a function (wave [n] float32 at 16 kHz, numpy Generator) -> wave, of about the same length, at 16 kHz.
LAUNDERING holds those that a file may have gone through, AUDITS those that take a shortcut away.
"""

import io
from functools import lru_cache, partial

import numpy as np
import soundfile

from data.audio import SAMPLE_RATE, SAMPLES, fit_length, load_wave, resample_wave
from data.dataset import Clips
from data.measures import QUIET, first_loud, root_mean_square

LEVEL_DB = -26  # of speech, as ITU-T P.56 material is levelled
LONGEST = 60 * SAMPLE_RATE  # what is treated of a file; a model sees its first seconds
LEAST = 2048  # samples that a neural codec is given, repeated where there are fewer
BLOCK = 4096  # samples: libsndfile's Vorbis writer overflows its stack on long ones
EDGE_SECONDS = 0.5  # of a clip's beginning, what `silence alone` keeps at most


def to_rate(wave, rate):
    from scipy.signal import resample_poly

    common = np.gcd(SAMPLE_RATE, rate)
    return resample_poly(wave, rate // common, SAMPLE_RATE // common).astype(np.float32)


def coded(wave, rng, format, subtype, rate=SAMPLE_RATE, level=None):
    """`wave` written and read by libsndfile at `rate` Hz; `level` is its compression, from 0 to 1 (smallest file)."""
    file, count = io.BytesIO(), len(wave)
    wave = peaks_below(wave if rate == SAMPLE_RATE else to_rate(wave, rate))
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format=format, compression_level=level) as out:
        for start in range(0, len(wave), BLOCK):
            out.write(wave[start : start + BLOCK])
    file.seek(0)
    copy, rate = soundfile.read(file, dtype="float32")
    return np.resize(resample_wave(copy, rate), count)


def peaks_below(wave, peak=0.99):
    """`wave` with no sample beyond `peak`, which a codec would cut off."""
    return wave * np.float32(min(1, peak / max(np.abs(wave).max(), 1e-9)))


def resampled(wave, rng, rate):
    """At `rate` Hz and back: of a lower one, nothing above its half is left."""
    return resample_wave(to_rate(wave, rate), rate)[: len(wave)]


def with_noise(wave, rng, snr):
    """White noise at `snr` dB below the wave."""
    noise = rng.standard_normal(len(wave))
    return (wave + noise * root_mean_square(wave) * 10 ** (-snr / 20)).astype(np.float32)


def in_room(wave, rng, seconds=0.4):
    """In a room of decaying noise: 60 dB in `seconds`, direct sound 6 dB above the rest."""
    from scipy.signal import fftconvolve

    length = int(SAMPLE_RATE * seconds)
    room = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    room *= 0.5 / np.linalg.norm(room)
    room[0] = 1
    return fftconvolve(wave, room)[: len(wave)].astype(np.float32)


def louder(wave, rng, gain):
    """`gain` dB; samples beyond full scale are cut off."""
    return np.clip(wave * np.float32(10 ** (gain / 20)), -1, 1)


@lru_cache(maxsize=1)
def demo_codec(name):
    from demo import pool

    return pool.load(name)


def recoded(wave, rng, name):
    """A pass through the neural codec `name` of the demo corpus, at the level of its training."""
    import torch

    from demo.codec import levelled

    codec, count = demo_codec(name), len(wave)
    level = root_mean_square(wave)
    whole = fit_length(wave, max(count, LEAST))
    whole = torch.from_numpy(np.pad(whole, (0, -len(whole) % codec.hop)))[None]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        copy = codec.speak(codec.tokens(levelled(whole)[0]))[0].numpy()
    copy = np.resize(copy, count)
    return (copy * (level / max(root_mean_square(copy), 1e-9))).astype(np.float32)


# ---- what the audit takes away ---------------------------------------------------------------------------------------


def trimmed(wave, rng):
    """Without what lies before the first and after the last sample within 30 dB of the peak."""
    start, end = first_loud(wave), len(wave) - first_loud(wave[::-1])
    return wave[start:end]


def silence_alone(wave, rng):
    """The part before speech begins, at most half a second; the quietest 50 ms where there is none."""
    start = min(first_loud(wave), int(EDGE_SECONDS * SAMPLE_RATE))
    length = SAMPLE_RATE // 20
    if start >= length or len(wave) <= length:
        return wave[: max(start, 1)]
    power = np.convolve(np.square(wave, dtype=np.float64), np.ones(length), "valid")
    quietest = int(power.argmin())
    return wave[quietest : quietest + length]


def at_level(wave, rng):
    """At LEVEL_DB of full scale."""
    level = root_mean_square(wave)
    return wave if level**2 < QUIET else (wave * (10 ** (LEVEL_DB / 20) / level)).astype(np.float32)


def fixed_duration(wave, rng, seconds=1.5):
    """Its first 1.5 s, repeated when shorter."""
    return fit_length(wave, int(seconds * SAMPLE_RATE))


def without_offset(wave, rng):
    return wave - wave.mean(dtype=np.float64).astype(np.float32)


def unchanged(wave, rng):
    return wave


UNTREATED = "none"
AUDITS = {
    UNTREATED: unchanged,
    "silence trimmed": trimmed,
    "silence alone": silence_alone,
    "level normalised": at_level,
    "below 4 kHz": partial(resampled, rate=8000),
    "fixed duration": fixed_duration,
    "no DC offset": without_offset,
}
LAUNDERING = {
    UNTREATED: unchanged,
    "mp3": partial(coded, format="MP3", subtype="MPEG_LAYER_III"),
    "mp3-small": partial(coded, format="MP3", subtype="MPEG_LAYER_III", level=0.99),
    "opus": partial(coded, format="OGG", subtype="OPUS"),
    "opus-small": partial(coded, format="OGG", subtype="OPUS", level=0.99),
    "vorbis": partial(coded, format="OGG", subtype="VORBIS"),
    "gsm": partial(coded, format="WAV", subtype="GSM610", rate=8000),
    "mu-law": partial(coded, format="WAV", subtype="ULAW", rate=8000),
    "8kHz": partial(resampled, rate=8000),
    "11kHz": partial(resampled, rate=11_025),
    "44kHz": partial(resampled, rate=44_100),
    **{f"noise-{snr}dB": partial(with_noise, snr=snr) for snr in (30, 20, 10, 0)},
    "room": in_room,
    "quieter-20dB": partial(louder, gain=-20),
    "louder-12dB": partial(louder, gain=12),
    **{f"codec-{name}": partial(recoded, name=name) for name in ("larch", "cedar", "willow")},  # one known in the demo
}


class Treated(Clips):
    """Clips whose whole waveform is treated before the crop; what is drawn depends on `seed` and the position alone."""

    def __init__(self, clips, treatment, seed, samples=SAMPLES):
        super().__init__(clips, samples)
        self.treatment, self.seed = treatment, seed

    def __getitem__(self, position):
        import torch

        clip, rng = self.clips[position], np.random.default_rng([self.seed, position])
        wave = self.treatment(load_wave(clip.path, LONGEST), rng)
        wave = np.ascontiguousarray(fit_length(wave, self.samples), np.float32)
        return position, torch.from_numpy(wave), clip.label
