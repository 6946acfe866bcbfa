"""Input formats. A row of DECODERS makes a format readable for every script, and lets folders be searched for it:

    DECODERS["raw16"] = Decoder((".raw16",), open_raw16)

The opener is a context manager: `with opener(path) as audio`. What it gives has the attributes `samplerate` (Hz),
`frames` (samples a channel; None when only the end of the file shows it) and `channels`, and read(frames) -> float32
[frames, channels] in [-1, 1], which gives the next frames, and fewer only at the end of the file. Where `frames` is
None, read() raises InputError for a file that is cut short. It may have `compression` and `note`, see OpenedAudio.
"""

from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

import soundfile

from data.containers import UnknownFormat
from data.libsndfile_audio import open_libsndfile
from data.pyav_audio import open_pyav
from utils.errors import InputError

BESIDE = "._"  # begins the names of files in which macOS keeps what another file system cannot hold


class Decoder(NamedTuple):
    """A row of DECODERS."""

    suffixes: tuple  # of its files, in lower case
    open: Callable  # path -> context manager
    errors: tuple = ()  # exceptions that mean a damaged file, besides OSError, ValueError and MemoryError
    by_content: bool = False  # whether the opener recognises its formats without the suffix


# fmt: off
LIBSNDFILE_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".opus", ".oga", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".rf64", ".w64", ".sph",
)
PYAV_SUFFIXES = (
    ".mp3", ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".aac", ".webm", ".weba", ".mkv", ".mka", ".3gp", ".3g2", ".amr",
    ".wma", ".wmv", ".asf", ".avi", ".flv", ".mpg", ".mpeg", ".mp2", ".wv", ".ape", ".spx", ".ogv",
    ".mts", ".m2ts", ".vob", ".qta",
)
# fmt: on

DECODERS = {
    "libsndfile": Decoder(LIBSNDFILE_SUFFIXES, open_libsndfile, errors=(soundfile.LibsndfileError,), by_content=True),
    "pyav": Decoder(PYAV_SUFFIXES, open_pyav, by_content=True),
}


def audio_suffixes():
    """The suffixes of audio files, in lower case: those of every decoder."""
    return tuple(dict.fromkeys(suffix for decoder in DECODERS.values() for suffix in decoder.suffixes))


def only_audio(paths):
    """Those of `paths`, pathlib paths or text, that have a suffix of audio files, in their order.

    macOS puts a file ._a.wav, without sound, beside a.wav: it is left out.
    """
    suffixes = audio_suffixes()
    named = [path for path in paths if str(path).lower().endswith(suffixes)]
    return [path for path in named if not PurePath(path).name.startswith(BESIDE)]


def decoding_errors():
    """The exceptions that mean a damaged file. MemoryError: a header may promise more than memory holds."""
    return (OSError, ValueError, MemoryError, *(error for row in DECODERS.values() for error in row.errors))


def decoders_for(path):
    """The decoders to try, in order: those that go by the suffix of `path`, then those that look at the content."""
    named = [row for row in DECODERS.values() if not row.by_content and path.name.lower().endswith(row.suffixes)]
    return named + [row for row in DECODERS.values() if row.by_content]


def open_in_turn(path, stack):
    """Generate the audio objects of the decoders that open `path`; they are closed with `stack`, an ExitStack.

    Raises InputError of a decoder that knows what is wrong. Raises, when no decoder is left, the error of the first one
    that knows the format, or the first UnknownFormat.
    """
    errors = []
    for decoder in decoders_for(path):
        try:
            source = stack.enter_context(decoder.open(path))
        except InputError:
            raise
        except decoding_errors() as error:
            errors.append(error)
        else:
            yield source
    known = [error for error in errors if not isinstance(error, UnknownFormat)]
    for error in known or errors:
        raise error
