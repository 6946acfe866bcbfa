"""Speech for the demo corpus: sentences spoken by espeak-ng, in a simulated room, before a simulated microphone.

Everything here happens before a codec, so that the real and the coded versions of an utterance share it. The library
comes from the package `espeakng-loader` (GPL-3, which only the demo needs); it is driven through ctypes, so nothing
of it is linked into this project.
"""

import _ctypes
import ctypes
import os
from collections import namedtuple
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve, resample_poly

from data.audio import SAMPLE_RATE, fit_length, load_wave
from data.decoders import audio_suffixes, only_audio
from utils.errors import InputError
from utils.reading import files_below

# Who speaks, what, and how noisy the recording is: signal-to-noise ratio in dB, uniform between two bounds.
# No two sources share a voice. Voices that espeak-ng speaks differently every time (f2, f3, f5,
# victor, sandro; espeakng-loader 0.2.4) are left out.
SpeechSource = namedtuple("SpeechSource", "voices languages snr")
SOURCES = {
    "train": SpeechSource(
        "f1 ed max m1 m3 m5 m7 klatt klatt2 Alex Andrea Denis Diogo Hugo Lee Marco Reed aunty belinda david",
        "en-us en-us en-us en-gb-x-rp de fr es it pl nl",
        (20, 40),
    ),
    "eval": SpeechSource(
        "f4 m4 m8 linda steph paul rob zac edward pablo", "en-us en-us en-gb-x-rp de fr es it pl", (20, 40)
    ),
    "other": SpeechSource(
        "benjamin m2 Jacky Mike anika ian john miguel shelby norbert", "pt-br sv tr fi id ro", (15, 35)
    ),
    "studio": SpeechSource("Gene Henrique iven michel quincy", "en-gb-x-rp en-gb-scotland", (35, 50)),
    "street": SpeechSource("Annie adam grandma pedro robert", "en-us es hu el", (8, 20)),
}
SOURCES["dev"] = SOURCES["train"]

WORDS = [
    "the old teacher|my younger sister|a friendly doctor|the quiet neighbour|our new manager|the tall farmer",
    "bought|carried|described|forgot|repaired|watched|painted|measured|borrowed|found",
    "a wooden chair|seven green bottles|the broken clock|fresh orange juice|an ancient map|the heavy suitcase",
    "near the river|before the storm|at the central station|on a cold Thursday|behind the market|under the bridge",
]


def sentence(rng, language):
    """One sentence: of a small grammar in English, of numbers in the other languages, which espeak-ng words itself."""
    if language.startswith("en"):
        words = [str(rng.choice(slot.split("|"))) for slot in WORDS]
        return " ".join(words) + f", and paid {rng.integers(2, 99)} dollars."
    return ", ".join(str(rng.integers(1, 10 ** rng.integers(1, 4))) for _ in range(rng.integers(4, 7))) + "."


class Espeak:
    """The espeak-ng library, freshly loaded: `with Espeak() as espeak`.

    It keeps state from one utterance to the next (flutter, breath). No call resets this state; only unloading does.
    Raises InputError when its package is not installed.
    """

    RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
    SYNCHRONOUS, NO_EXIT, UTF8 = 2, 0x8000, 1

    def __enter__(self):
        try:
            import espeakng_loader
        except ImportError:
            raise InputError(
                "the package espeakng-loader, which speaks the demo corpus, is not installed: "
                "pip install -r requirements-demo.txt, or pass your own recordings with --speech_dir"
            ) from None
        ctypes.CDLL(None).srand(1)  # of the C library, which espeak-ng draws its noise from
        c_int = ctypes.c_int
        text = ctypes.c_char_p
        self.library = library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        library.espeak_Initialize.argtypes = [c_int, c_int, text, c_int]
        library.espeak_SetVoiceByName.argtypes = [text]
        library.espeak_SetParameter.argtypes = [c_int] * 3
        library.espeak_Synth.argtypes = [text, ctypes.c_size_t, *[ctypes.c_uint] * 4, ctypes.c_void_p, ctypes.c_void_p]
        data = os.fsencode(espeakng_loader.get_data_path())
        self.rate = library.espeak_Initialize(self.SYNCHRONOUS, 0, data, self.NO_EXIT)
        if self.rate <= 0:
            raise InputError(f"espeak-ng does not start (code {self.rate}): reinstall the package espeakng-loader")
        self.chunks = []
        kind = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(ctypes.c_short), c_int, ctypes.c_void_p)
        self.callback = kind(self._receive)  # kept alive: the library holds only its address
        library.espeak_SetSynthCallback(self.callback)
        return self

    def __exit__(self, *_):
        self.library.espeak_Terminate()
        _ctypes.dlclose(self.library._handle)

    def _receive(self, samples, count, _):
        if samples and count > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text, voice, rate, pitch, pitch_range):
        """`text` spoken by `voice` (LANGUAGE+VARIANT): float64 [samples] at 16 kHz."""
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise InputError(f"espeak-ng has no voice {voice}: reinstall the package espeakng-loader")
        for parameter, value in ((self.RATE, rate), (self.PITCH, pitch), (self.RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, int(value), 0)
        self.chunks.clear()
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, self.UTF8, None, None)
        self.library.espeak_Synchronize()
        return resample_poly(np.concatenate(self.chunks) / 32768, SAMPLE_RATE, self.rate)


def record_in_room(wave, rng, snr):
    """`wave` [samples] as a headset records it in a room: float64 [samples], -26.5 to -25.5 dBFS.

    A room, an equaliser, a random frequency response, automatic gain, and coloured noise at a ratio in `snr` dB. The
    equaliser and the gain take away most of speech's fall of power over frequency and its pauses, as conference
    headsets do: a classifier on a linear power spectrogram would otherwise see little beyond the loudest vowels.
    """
    wave = automatic_gain(equalised(reverberant(wave, rng), rng))
    colour = np.arange(1.0, len(wave) // 2 + 2) ** -rng.uniform(0, 0.3)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(wave))) * colour, len(wave))
    wave = wave / rms(wave) + noise / rms(noise) * 10 ** (-rng.uniform(*snr) / 20)
    wave = wave / rms(wave) * 10 ** (rng.uniform(-26.5, -25.5) / 20)
    return wave * min(1, 0.8 / np.abs(wave).max())


def reverberant(wave, rng):
    """`wave` [samples] in a room whose response decays by 60 dB in 0.08 to 0.35 s."""
    length = int(SAMPLE_RATE * rng.uniform(0.08, 0.35))
    room = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    room *= rng.uniform(0.06, 0.36) / np.linalg.norm(room)
    room[0] = 1
    return fftconvolve(wave, room)[: len(wave)]


def equalised(wave, rng):
    """`wave` [samples] with a flatter long-term spectrum (by 60 % in dB) and a random smooth response of a few dB."""
    spectrum, power = spectrum_and_trend(wave)
    frequency = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    knots = np.log([50, 200, 500, 1000, 2000, 4000, 6000, 8000])
    gain = np.cumsum(rng.normal(0, 1.5, len(knots)))  # dB
    response = 10 ** (np.interp(np.log(frequency + 1), knots, gain - gain.mean()) / 20)
    highpass = 1 / (1 + (60 / (frequency + 1)) ** 4)
    return np.fft.irfft(spectrum * power**-0.3 * response * highpass, len(wave))


def spectrum_and_trend(wave):
    """(spectrum of `wave` [samples], its power smoothed over 500 Hz): the power is 1 at its peak and at least 1e-5."""
    spectrum = np.fft.rfft(wave)
    power = fftconvolve(np.abs(spectrum) ** 2, np.hanning(500 * len(wave) // SAMPLE_RATE), "same").clip(0)
    return spectrum, power / max(power.max(), 1e-30) + 1e-5


def automatic_gain(wave):
    """`wave` [samples] with its level over 0.2 s brought closer to constant (by 80 % in dB, down to -30 dB)."""
    wave = wave / rms(wave)
    window = np.hanning(SAMPLE_RATE // 5)
    level = np.sqrt(fftconvolve(wave**2, window / window.sum(), "same").clip(0)) + 0.03
    return wave * level**-0.8


def rms(wave):
    """Root of the mean square of `wave` [samples]."""
    return np.sqrt(np.mean(np.square(wave)))


class Synthesised:
    """Endless utterances of espeak-ng."""

    def check(self):
        """Raise InputError when espeak-ng cannot be loaded."""
        with Espeak():
            pass

    def utterance(self, source, seed, samples):
        """float64 [samples] at 16 kHz from `source`, a name of SOURCES. The same arguments give the same samples."""
        rng = np.random.default_rng(seed)
        voices, languages, snr = SOURCES[source]
        language = str(rng.choice(languages.split()))
        voice = f"{language}+{rng.choice(voices.split())}"
        prosody = rng.integers((140, 20, 30), (210, 80, 80))
        texts = [sentence(rng, language) for _ in range(16)]
        spoken = np.zeros(0)
        with Espeak() as espeak:
            while len(spoken) < samples:
                spoken = np.append(spoken, espeak.say(texts.pop(0), voice, *prosody))
        return record_in_room(spoken[:samples], rng, snr)


# The part of a user's recordings that each source draws from: no two sources share a recording or a speaker.
SHARES = {"train": (0, 0.5), "dev": (0.5, 0.65), "eval": (0.65, 0.85)}
OTHER_SHARE = (0.85, 1)  # for every other source
LEAST_GROUPS = 20


class Recordings:
    """Utterances cut from a user's own recordings, without any change: the same interface as Synthesised.

    The recordings of one subfolder count as one speaker, and a speaker is in one part of the corpus only; with fewer
    than 20 subfolders every file counts as a speaker. Raises InputError for a folder with too few files, or with one
    that cannot be decoded.
    """

    def __init__(self, folder):
        if not Path(folder).is_dir():
            raise InputError(f"{folder} is not a folder: give --speech_dir a folder of recordings")
        files = only_audio(files_below(folder))
        if len(files) < LEAST_GROUPS:
            suffixes = ", ".join(audio_suffixes())
            raise InputError(f"{folder} holds {len(files)} audio files ({suffixes}), expected at least 20")
        groups = {}
        for path in files:
            groups.setdefault(path.parent, []).append(path)
        self.groups = list(groups.values()) if len(groups) >= LEAST_GROUPS else [[path] for path in files]
        self.groups = [self.groups[i] for i in np.random.default_rng(0).permutation(len(self.groups))]

    def check(self):
        """Raise InputError for the first recording that is not readable speech."""
        for group in self.groups:
            for path in group:
                if rms(load_wave(path)) < 1e-4:
                    raise InputError(f"{path} is silent (below -80 dBFS): take it out of --speech_dir")

    def utterance(self, source, seed, samples):
        """float64 [samples] at 16 kHz; a shorter recording repeats."""
        rng = np.random.default_rng(seed)
        first, last = (round(share * len(self.groups)) for share in SHARES.get(source, OTHER_SHARE))
        group = self.groups[rng.integers(first, last)]
        wave = load_wave(group[rng.integers(len(group))])
        start = rng.integers(max(1, len(wave) - samples))
        wave = fit_length(wave[start:], samples).astype(float)
        wave = wave + 1e-5 * rng.standard_normal(samples)  # a cut of digital silence has no level
        return wave * min(1, 0.8 / np.abs(wave).max())
