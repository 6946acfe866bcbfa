"""libsndfile: WAV, FLAC, Ogg, AIFF and others."""

from contextlib import contextmanager
from functools import partial

import soundfile

from data.containers import ByteRange, UnknownFormat, check_open_file, check_whole, mapped
from data.flac_end import check_flac_end
from data.joined_audio import open_joined
from data.joined_files import parts_of
from data.mpeg_frames import is_mpeg
from data.ogg_pages import has_wrong_positions

UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2^63 - 1 for a length that the header does not have
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "HTK", "FLAC", "OGG")
NOT_RECOGNISED = (1, 7)  # libsndfile's error codes; 7 is for a file called .mp3
# libsndfile does not always find the end of MPEG audio, so it is left to PyAV. This is read when PyAV fails, too.
MPEG_REASON = "it begins as MPEG audio does, but holds too little of it"


class LibsndfileAudio:
    """A file that libsndfile has opened. `at_end` is called, if given, when all of it was read."""

    def __init__(self, file, at_end=None):
        self.file = file
        self.at_end = at_end
        self.left = file.frames
        self.samplerate = file.samplerate
        # A recording of a web radio begins at a late position, and libsndfile counts from 0. ogg_end() sees its losses.
        self.frames = None if file.frames and file.subtype == "VORBIS" else file.frames
        self.channels = file.channels
        self.compression = file.subtype.lower()

    def read(self, frames):
        block = self.file.read(frames, dtype="float32", always_2d=True)
        self.left -= len(block)
        if self.at_end and not self.left:
            self.at_end()
        return block


@contextmanager
def open_libsndfile(path):
    """A file of a format that libsndfile knows, except MP3, of which it may lose most."""
    head, end = check_whole(path)
    if is_mpeg(path, head):
        raise UnknownFormat(MPEG_REASON)
    if head.startswith(b"OggS"):
        with mapped(path) as content:
            if has_wrong_positions(content):
                raise UnknownFormat("libsndfile does not read Ogg whose positions are wrong")
    parts = parts_of(path, head, end)
    if parts != [(0, path.stat().st_size)]:
        with open(path, "rb") as file:
            openers = [partial(open_part, path, file, *part) for part in parts]
            with openers[0]() if len(parts) == 1 else open_joined(path, openers) as source:
                yield source
        return
    with open_source(path) as source:
        empty_wav = source.frames == 0 and head[8:12] == b"WAVE"
        if empty_wav and int.from_bytes(head[4:8], "little") + 8 != path.stat().st_size:
            raise UnknownFormat("libsndfile does not read WAV with a length of 0")
        yield source


def open_part(path, file, start, stop):
    """The bytes `start` to `stop` of the open `file` as LibsndfileAudio. Raises InputError when they are cut short."""
    part = ByteRange(file, start, stop)
    if start and part.read(4) != b"OggS":  # of the links of Ogg, check_whole() has seen all pages
        check_open_file(part, stop - start, path)
    part.seek(0)
    return open_source(part)


@contextmanager
def open_source(file):
    """A path, or a file that is open, as LibsndfileAudio. Raises UnknownFormat."""
    path = file
    try:
        file = soundfile.SoundFile(file)
    except TypeError as error:  # soundfile takes .raw for samples without a header
        raise UnknownFormat(str(error)) from None
    except soundfile.LibsndfileError as error:
        if error.code in NOT_RECOGNISED:
            raise UnknownFormat("its format is not recognised") from None
        raise ValueError(f"{error.error_string.rstrip('. ')}. Copy or download it again, or export it again") from None
    with file:
        if file.format not in FORMATS:
            raise UnknownFormat(f"{file.format} files are not read")
        if file.frames >= UNKNOWN_FRAMES:
            raise UnknownFormat("libsndfile does not read FLAC of unknown length")
        if file.format == "MP3" or file.subtype.startswith("MPEG"):
            raise UnknownFormat(MPEG_REASON)
        if file.subtype == "OPUS":
            file.seek(0)  # else the first block of a web radio's recording is from another place
        yield LibsndfileAudio(file, partial(check_flac_end, path, file.frames) if file.format == "FLAC" else None)
