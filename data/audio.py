"""Audio files to 16 kHz mono waveforms; the only place that touches a decoder."""

import math
import struct
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from utils.errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every waveform that a model sees
SAMPLES = 64_600  # of a clip: 4.0375 s, the crop of AASIST

# The published requirements pin librosa 0.9.1, whose default resampler is resampy's "kaiser_best"; its parameters:
KAISER_BEST = dict(lowpass_filter_width=50, rolloff=0.917347, resampling_method="sinc_interp_kaiser", beta=12.9846)
LARGEST_TABLE = 1 << 20  # filter values that torchaudio may tabulate; 44,100 Hz takes 70,560, 11,127 Hz 178 million
RATES = 1000, 384_000  # Hz; beyond them a header is damaged, and its resampling filter could fill the memory
UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what a program that streams to a pipe writes as the length of its WAV


def fit_length(wave, samples=SAMPLES):
    """The first `samples` of `wave` [n], which repeats from its start when it is shorter: out[i] = wave[i % n].

    Raises InputError for an empty waveform, which repetition cannot fill.
    """
    if len(wave) == 0:
        raise InputError("the waveform holds no sample")
    return np.resize(wave, samples) if len(wave) < samples else wave[:samples]


def polyphase(down, up):
    """A function wave [n] -> [ceil(n * up / down)] with the filter of KAISER_BEST, kept once for all outputs.

    torchaudio keeps the filter of each output of a period: for 11,127 Hz a table of 3.4 GB.
    """
    from scipy.signal import upfirdn
    from scipy.special import i0

    width, beta = KAISER_BEST["lowpass_filter_width"], KAISER_BEST["beta"]
    cutoff = min(down, up) * KAISER_BEST["rolloff"]
    reach = math.floor(width / cutoff * down * up)
    time = np.arange(reach + 1) * (cutoff / (down * up))
    half = np.sinc(time) * i0(beta * np.sqrt(1 - (time / width) ** 2)) / i0(beta) * (cutoff / down)
    ahead = np.zeros(-reach % down)  # so that the middle of the filter falls on an output
    taps = np.concatenate((ahead, half[:0:-1], half)).astype(np.float32)
    first = (reach + len(ahead)) // down

    def convert(wave):
        return upfirdn(taps, wave, up, down)[first : first + math.ceil(len(wave) * up / down)]

    return convert


def periodwise(rate, down, up):
    """A function wave [n] of `rate` Hz -> [ceil(n * up / down)], with torchaudio's numbers.

    It gives several periods of `up` outputs at once: a convolution with one or two filters is ten times as slow.
    """
    import torch  # both slow to import, and needed for other sample rates alone
    from torchaudio.transforms import Resample

    table = Resample(rate, SAMPLE_RATE, dtype=torch.float32, **KAISER_BEST)
    periods, taps = max(1, 64 // up), table.kernel.shape[-1]
    filters = torch.zeros(periods, up, taps + (periods - 1) * down)
    for period in range(periods):
        filters[period, :, period * down :][:, :taps] = table.kernel[:, 0]
    filters, stride = filters.flatten(0, 1)[:, None], periods * down

    def convert(wave):
        padded = torch.nn.functional.pad(torch.from_numpy(wave), (table.width, table.width + stride))
        found = torch.nn.functional.conv1d(padded[None, None], filters, stride=stride)[0].T.flatten()
        return found[: math.ceil(len(wave) * up / down)].numpy()

    return convert


@lru_cache(maxsize=8)
def resampler(rate):
    """A function float32 wave [n] of `rate` Hz -> 16 kHz, float32; its filters are made once."""
    common = math.gcd(rate, SAMPLE_RATE)
    down, up = rate // common, SAMPLE_RATE // common
    if down * up > LARGEST_TABLE:
        return polyphase(down, up)
    return periodwise(rate, down, up)


def resample(wave, rate):
    """float32 `wave` [n] of `rate` Hz at 16 kHz: ceil(n * 16000 / rate) samples."""
    return wave if rate == SAMPLE_RATE else resampler(rate)(wave)


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


@contextmanager
def opened(path):
    """An audio file as a soundfile.SoundFile, for reading.

    Raises InputError, naming the file, when it is missing, empty, cut short or no audio, also while it is read.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): copy or download it again")
        check_whole(path)
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                raise InputError(f"{path} holds no sample: copy or download it again")
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise InputError(f"{path} has {file.samplerate} samples a second, expected {RATES[0]} to {RATES[1]}")
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except InputError:
        raise
    # ValueError: a NUL in its name. MemoryError: a header that promises more than memory holds
    except (soundfile.LibsndfileError, OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path} cannot be decoded as audio: {error}") from None


def read_mono(file, frames):
    """The next `frames` of an opened file, float32 [frames]: the mean of its channels.

    Raises InputError when they are not all there, or hold a value that is not finite.
    """
    channels = file.read(frames, dtype="float32", always_2d=True).T
    # Channel by channel: numpy's mean over so short an axis takes 30 times as long, for the same bits.
    wave = sum(channels[1:], channels[0]) / np.float32(len(channels))
    if len(wave) < frames:
        raise InputError(
            f"{file.name} is cut short: its header promises {file.frames} frames, {file.tell()} could be read"
        )
    if not np.isfinite(wave).all():
        raise InputError(f"{file.name} holds samples that are NaN or infinite: make it again")
    return wave


def load(path, samples=None):
    """The waveform of an audio file, float32 [n] at 16 kHz: mean of the channels, then resampled.

    `samples` limits the decoding to what the first `samples` of the result need. Any format and sample rate that
    libsndfile reads will do. Raises InputError, naming the file, as opened() and read_mono() do.
    Source: librosa.load(path, sr=16000) of the released code.
    """
    with opened(path) as file:
        rate, frames = file.samplerate, file.frames
        wanted = frames if samples is None else min(frames, frames_needed(samples, rate))
        wave = read_mono(file, wanted)
    return resample(wave, rate)[:samples]


def stream(path, seconds=30):
    """The waveform of load(path) in blocks of some `seconds`, float32: what is held does not grow with the file.

    Raises InputError as load() does, perhaps after some blocks.
    """
    with opened(path) as file:
        rate = file.samplerate
        down, up = (number // math.gcd(rate, SAMPLE_RATE) for number in (rate, SAMPLE_RATE))
        # A block is resampled with what lies before and after it, both whole periods of the resampling filter.
        step, around = (down * math.ceil(frames / down) for frames in (seconds * rate, frames_needed(0, rate)))
        held, skip = np.zeros(around, np.float32), around // down * up
        left = file.frames
        while left:
            taken = min(left, step + 2 * around - len(held))
            held, left = np.concatenate((held, read_mono(file, taken))), left - taken
            if left:
                yield resample(held, rate)[skip : skip + step // down * up]
                held = held[step:]
        yield resample(held, rate)[skip:]


def windows(blocks, hop, samples=SAMPLES):
    """(start, stop, wave [samples]) of windows every `hop` samples over `blocks`, the parts of one waveform.

    The last one ends where the waveform does. A waveform that is shorter than a window repeats from its start, as in
    training; its window stops at its end.
    """
    held, start, following = np.zeros(0, np.float32), 0, 0  # `held` begins at `start`, the last window that was given
    for block in blocks:
        held = np.concatenate((held, block))
        while following - start + samples <= len(held):
            held, start = held[following - start :], following
            yield start, start + samples, held[:samples]
            following = start + hop
    end = start + len(held)
    if end < samples:
        yield 0, end, fit_length(held, samples)
    elif end > start + samples:
        yield end - samples, end, held[-samples:]
