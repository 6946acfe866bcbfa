"""Audio files to 16 kHz mono waveforms; the only place that touches a decoder."""

import math
import struct
from pathlib import Path

import numpy as np
import soundfile

from errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every waveform that a model sees
SAMPLES = 64_600  # of a clip: 4.0375 s, the crop of AASIST

# The published requirements pin librosa 0.9.1, whose default resampler is resampy's "kaiser_best"; its parameters:
KAISER_BEST = dict(lowpass_filter_width=50, rolloff=0.917347, resampling_method="sinc_interp_kaiser", beta=12.9846)
UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what a program that streams to a pipe writes as the length of its WAV


def fit_length(wave, samples=SAMPLES):
    """The first `samples` of `wave` [n], which repeats from its start when it is shorter: out[i] = wave[i % n].

    Raises InputError for an empty waveform, which repetition cannot fill.
    """
    if len(wave) == 0:
        raise InputError("the waveform holds no sample")
    return np.resize(wave, samples) if len(wave) < samples else wave[:samples]


def resample(wave, rate):
    """float32 `wave` [n] of `rate` Hz at 16 kHz: ceil(n * 16000 / rate) samples."""
    if rate == SAMPLE_RATE:
        return wave
    import torch  # both slow to import, and needed for other sample rates alone
    from torchaudio.functional import resample as convert

    return convert(torch.from_numpy(wave), rate, SAMPLE_RATE, **KAISER_BEST).numpy()


def frames_needed(samples, rate):
    """How many frames at `rate` Hz decide the first `samples` at 16 kHz: the crop and half a resampling filter."""
    if rate == SAMPLE_RATE:
        return samples
    reach = 2 * math.ceil(KAISER_BEST["lowpass_filter_width"] * max(1, rate / SAMPLE_RATE)) + 2
    return math.ceil(samples * rate / SAMPLE_RATE) + reach


def check_whole(path):
    """Raise InputError when a RIFF file ends before its data chunk does; decoders keep silent about it."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        size = path.stat().st_size
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                missing = file.tell() + length - size
                if length not in UNKNOWN_SIZE and missing > 0:
                    raise InputError(f"{path} is cut short: {missing} of its {length} bytes of samples are missing")
                return
            file.seek(length + length % 2, 1)


def load(path, samples=None):
    """The waveform of an audio file, float32 [n] at 16 kHz: mean of the channels, then resampled.

    `samples` limits the decoding to what the first `samples` of the result need. Any format and sample rate that
    libsndfile reads will do. Raises InputError, naming the file, when it is missing, empty, cut short, no audio, or
    holds a value that is not finite. Source: librosa.load(path, sr=16000) of the released code.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): copy or download it again")
        check_whole(path)
        with soundfile.SoundFile(path) as file:
            rate, frames = file.samplerate, file.frames
            wanted = frames if samples is None else min(frames, frames_needed(samples, rate))
            wave = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path} cannot be decoded as audio: {error}") from None
    if len(wave) == 0:
        raise InputError(f"{path} holds no sample: copy or download it again")
    if len(wave) < wanted:
        raise InputError(f"{path} is cut short: its header promises {frames} frames, {len(wave)} could be read")
    if not np.isfinite(wave).all():
        raise InputError(f"{path} holds samples that are NaN or infinite: make it again")
    return resample(wave, rate)[:samples]
