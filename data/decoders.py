"""Input formats. A row of DECODERS makes a format readable for every script, and lets folders be searched for it:

    DECODERS["raw16"] = Decoder((".raw16",), open_raw16)

The opener is a context manager: `with opener(path) as audio`. What it gives has the attributes `samplerate` (Hz),
`frames` (samples a channel) and `channels`, and read(frames) -> float32 [frames, channels] in [-1, 1], which gives the
next frames, and fewer only at the end of the file.
"""

import struct
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import soundfile

from utils.errors import InputError

UNKNOWN_SIZE = (0, 0xFFFFFFFF)  # what a program that streams to a pipe writes as the length of its WAV
NOT_RECOGNISED = 1  # libsndfile's error code


class UnknownFormat(ValueError):
    """What an opener raises for a file that is not of its formats: the next decoder is tried."""


class Decoder(NamedTuple):
    """A row of DECODERS."""

    suffixes: tuple  # of its files, in lower case
    open: Callable  # path -> context manager
    errors: tuple = ()  # exceptions that mean a damaged file, besides OSError, ValueError and MemoryError
    by_content: bool = False  # whether the opener recognises its formats without the suffix


# ---- libsndfile -----------------------------------------------------------------------------------------------------


class LibsndfileAudio:
    """A file that libsndfile has opened."""

    def __init__(self, file):
        self.file = file
        self.samplerate = file.samplerate
        self.frames = file.frames
        self.channels = file.channels

    def read(self, frames):
        return self.file.read(frames, dtype="float32", always_2d=True)


def check_whole(path):
    """Raise InputError when a RIFF file ends before its data chunk does: libsndfile gives no error then."""
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
def open_libsndfile(path):
    """A file of a format that libsndfile knows: WAV, FLAC, Ogg, MP3, AIFF and others."""
    check_whole(path)
    try:
        file = soundfile.SoundFile(path)
    except TypeError as error:  # soundfile takes .raw for samples without a header
        raise UnknownFormat(str(error)) from None
    except soundfile.LibsndfileError as error:
        if error.code == NOT_RECOGNISED:
            raise UnknownFormat(str(error)) from None
        raise
    with file:
        yield LibsndfileAudio(file)


# ---- the registry ---------------------------------------------------------------------------------------------------

DECODERS = {
    "libsndfile": Decoder(
        (".wav", ".flac", ".ogg", ".opus", ".mp3"),
        open_libsndfile,
        errors=(soundfile.LibsndfileError,),
        by_content=True,
    ),
}


def audio_suffixes():
    """The suffixes of audio files, in lower case: those of every decoder."""
    return tuple(dict.fromkeys(suffix for decoder in DECODERS.values() for suffix in decoder.suffixes))


def decoding_errors():
    """The exceptions that mean a damaged file. MemoryError: a header may promise more than memory holds."""
    return (OSError, ValueError, MemoryError, *(error for row in DECODERS.values() for error in row.errors))


def decoders_for(path):
    """The decoders to try, in order: first those of the suffix of `path`, then those that look at the content."""
    named = [decoder for decoder in DECODERS.values() if path.name.lower().endswith(decoder.suffixes)]
    return named + [decoder for decoder in DECODERS.values() if decoder.by_content and decoder not in named]


def open_with_first(path, stack):
    """The audio object of the first decoder that knows the format; it is closed with `stack`, an ExitStack.

    Raises the first decoder's UnknownFormat when none knows it.
    """
    refusals = []
    for decoder in decoders_for(path):
        try:
            return stack.enter_context(decoder.open(path))
        except UnknownFormat as error:
            refusals.append(error)
    raise refusals[0]
