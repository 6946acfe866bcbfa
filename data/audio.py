"""Audio files of any format (data/decoders.py), sample rate and number of channels to waveforms of 16 kHz, mono."""

import errno
import math
import os
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.containers import CONVERT, UnknownFormat
from data.decoders import decoding_errors, open_in_turn
from utils.errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every waveform that a model sees
SAMPLES = 64_600  # of a clip: 4.0375 s, the crop of AASIST

# The published requirements pin librosa 0.9.1, whose default resampler is resampy's "kaiser_best"; its parameters:
KAISER_BEST = dict(lowpass_filter_width=50, rolloff=0.917347, resampling_method="sinc_interp_kaiser", beta=12.9846)
LARGEST_TABLE = 1 << 20  # filter values that torchaudio may tabulate; 44,100 Hz takes 70,560, 11,127 Hz 178 million
BLOCK = 1 << 20  # frames that are read at once of a file of unknown length
UNREADABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)  # errors that say nothing of the content of a file
REMEDY = f"If it is audio, convert it: {CONVERT}"
RATE_LIMITS = (1000, 384_000)  # Hz; beyond them a header is damaged, and its resampling filter could fill the memory


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
    from scipy.signal import upfirdn  # slow to import, and rarely needed
    from scipy.special import i0

    width = KAISER_BEST["lowpass_filter_width"]
    beta = KAISER_BEST["beta"]
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
    import torch  # both are slow to import, and needed only for other sample rates
    from torchaudio.transforms import Resample

    table = Resample(rate, SAMPLE_RATE, dtype=torch.float32, **KAISER_BEST)
    periods = max(1, 64 // up)
    taps = table.kernel.shape[-1]
    filters = torch.zeros(periods, up, taps + (periods - 1) * down)
    for period in range(periods):
        filters[period, :, period * down :][:, :taps] = table.kernel[:, 0]
    filters = filters.flatten(0, 1)[:, None]
    stride = periods * down

    def convert(wave):
        padded = torch.nn.functional.pad(torch.from_numpy(wave), (table.width, table.width + stride))
        outputs = torch.nn.functional.conv1d(padded[None, None], filters, stride=stride)[0].T.flatten()
        return outputs[: math.ceil(len(wave) * up / down)].numpy()

    return convert


@lru_cache(maxsize=8)
def resampler(rate):
    """A function float32 wave [n] of `rate` Hz -> 16 kHz, float32; its filters are made once."""
    up, down = Fraction(SAMPLE_RATE, rate).as_integer_ratio()
    if down * up > LARGEST_TABLE:
        return polyphase(down, up)
    return periodwise(rate, down, up)


def resample_wave(wave, rate):
    """float32 `wave` [n] of `rate` Hz at 16 kHz: ceil(n * 16000 / rate) samples."""
    return wave if rate == SAMPLE_RATE else resampler(rate)(wave)


def frames_needed(samples, rate):
    """How many frames at `rate` Hz decide the first `samples` at 16 kHz: the crop and half a resampling filter."""
    if rate == SAMPLE_RATE:
        return samples
    reach = 2 * math.ceil(KAISER_BEST["lowpass_filter_width"] * max(1, rate / SAMPLE_RATE)) + 2
    return math.ceil(samples * rate / SAMPLE_RATE) + reach


class OpenedAudio:
    """An audio file that a decoder has opened: `name`, `samplerate` (Hz), `frames`, `channels` and `position`.

    `compression` names the coding of its samples in lower case, such as pcm_16 or opus; it is empty where the
    decoder does not say it. `frames` is None when only the end of the file shows how many there are. When a decoder
    fails, the next one that knows the file goes on in its place. `sources` generates what the decoders give.
    """

    def __init__(self, path, sources):
        self.name = str(path)
        self.sources = sources
        self.source = next(sources)
        self.samplerate = self.source.samplerate
        self.frames = self.source.frames
        self.channels = self.source.channels
        self.compression = getattr(self.source, "compression", "")
        self.position = 0  # frames that were read so far
        self.channel = None  # the one that is wanted, from 0; None for the mean of all
        self.listener = None  # called with each block that is read, so that nobody has to read the file again

    @property
    def note(self):
        """What of the file is not read, in words, such as another sound track; it is whole when all was read."""
        return getattr(self.source, "note", "")

    def read(self, frames):
        """The next `frames`, float32 [frames, channels]; fewer at the end of the file."""
        try:
            block = self.source.read(frames)
        except InputError:
            raise
        except decoding_errors() as error:
            self._change_decoder(error)
            return self.read(frames)
        self.position += len(block)
        if self.listener:
            self.listener(block)
        return block

    def _change_decoder(self, error):
        """Let the next decoder go on at the same position. Raises `error` when there is none that can."""
        try:
            self.source = next(self.sources, None)
            if self.source is None or not self._skip(self.position):
                raise error
        except InputError:
            raise
        except decoding_errors():
            raise error from None

    def _skip(self, frames):
        """Whether the source has that many frames, and the same rate and channels; it then stands behind them."""
        while frames and (block := self.source.read(min(frames, BLOCK))).size:
            frames -= len(block)
        return not frames and (self.source.samplerate, self.source.channels) == (self.samplerate, self.channels)


@contextmanager
def opened(path, channel=None):
    """An audio file as an OpenedAudio; read_mono() gives its `channel`, from 0, or the mean of all of them.

    Raises InputError, naming the file, when it is missing, empty, cut short or no audio, also while it is read.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): copy or download it again")
        if not os.access(path, os.R_OK):  # the decoders do not say so
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with ExitStack() as stack:
            file = OpenedAudio(path, open_in_turn(path, stack))
            if file.frames == 0:
                raise InputError(f"{path} holds no sample: copy or download it again")
            low, high = RATE_LIMITS
            if not low <= file.samplerate <= high:
                raise InputError(f"{path} has {file.samplerate} samples a second, expected {low} to {high}")
            if channel is not None and channel >= file.channels:
                raise InputError(f"{path} has no channel {channel + 1}: it has {file.channels} in all")
            file.channel = channel
            yield file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except InputError:
        raise
    except UnknownFormat as error:
        raise InputError(f"{path} cannot be decoded as audio: {error}. {REMEDY}") from None
    except decoding_errors() as error:
        if isinstance(error, OSError) and error.errno in UNREADABLE:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        raise InputError(f"{path} cannot be decoded as audio: {error}") from None


def read_mono(file, frames):
    """The next `frames` of an opened file, float32 [frames]: the mean of its channels, or the one that is wanted.

    There are fewer at the end of a file that does not promise a length.

    Raises InputError when frames that the file promises are not there, or when a value is not finite.
    """
    channels = file.read(frames).T
    if file.channel is not None:
        wave = np.ascontiguousarray(channels[file.channel])
    else:
        # Channel by channel: numpy's mean over so short an axis takes 30 times as long, for the same bits.
        wave = sum(channels[1:], channels[0]) / np.float32(len(channels))
    if len(wave) < frames and file.frames is not None:
        raise InputError(
            f"{file.name} is cut short: its header promises {file.frames} frames, {file.position} could be read"
        )
    if not np.isfinite(wave).all():
        raise InputError(f"{file.name} holds samples that are NaN or infinite: make it again")
    return wave


def mono_blocks(file, size, limit=math.inf):
    """Generate the waveform of an opened file, the mean of its channels, in blocks of `size` frames, up to `limit`.

    Only the last one is shorter. Raises InputError as read_mono() does.
    """
    left = min(limit, math.inf if file.frames is None else file.frames)
    while left:
        wanted = min(left, size)
        blocks = [read_mono(file, wanted)]
        read = len(blocks[0])
        left = left - wanted if read == wanted else 0
        if read:
            yield blocks.pop()  # so that nothing keeps it in memory


def load_wave(path, samples=None):
    """The waveform of an audio file, float32 [n] at 16 kHz: mean of the channels, then resampled.

    `samples` limits the decoding to what the first `samples` of the result need. Raises InputError, naming the file, as
    opened() and read_mono() do.
    Source: librosa.load(path, sr=16000) of the released code.
    """
    with opened(path) as file:
        rate = file.samplerate
        wanted = math.inf if samples is None else frames_needed(samples, rate)
        if file.frames is not None:
            wave = read_mono(file, min(file.frames, wanted))
        else:
            wave = np.concatenate(list(mono_blocks(file, min(wanted, BLOCK), wanted)))
    return resample_wave(wave, rate)[:samples]


def stream_wave(path, seconds=30, channel=None):
    """The waveform of load_wave(path) in blocks of some `seconds`, float32: what is held does not grow with the file.

    `channel`, from 0, takes one channel in place of the mean.

    Raises InputError as load_wave() does, perhaps after some blocks.
    """
    with opened(path, channel) as file:
        yield from wave_blocks(file, seconds)


def wave_blocks(file, seconds=30):
    """stream_wave() of an opened file."""
    rate = file.samplerate
    up, down = Fraction(SAMPLE_RATE, rate).as_integer_ratio()
    # A block is resampled with what lies before and after it, both whole periods of the resampling filter.
    step = down * math.ceil(seconds * rate / down)
    around = down * math.ceil(frames_needed(0, rate) / down)
    held = np.zeros(around, np.float32)
    skip = around // down * up
    for block in mono_blocks(file, step):
        held = np.concatenate((held, block))
        del block
        while len(held) >= step + 2 * around + 1:
            yield resample_wave(held[: step + 2 * around], rate)[skip : skip + step // down * up]
            held = held[step:]
    yield resample_wave(held, rate)[skip:]


def windows(blocks, hop, samples=SAMPLES):
    """(start, stop, wave [samples]) of windows every `hop` samples over `blocks`, the parts of one waveform.

    The last one ends where the waveform does. A waveform that is shorter than a window repeats from its start, as in
    training; its window stops at its end.
    """
    held = np.zeros(0, np.float32)  # begins at `start`, where the last window that was given does
    start = following = 0
    for block in blocks:
        held = np.concatenate((held, block))
        while following - start + samples <= len(held):
            held = held[following - start :]
            start = following
            yield start, start + samples, held[:samples]
            following = start + hop
    end = start + len(held)
    if end < samples:
        yield 0, end, fit_length(held, samples)
    elif end > start + samples:
        yield end - samples, end, held[-samples:]
