"""libsndfile: WAV, FLAC, Ogg, AIFF and others."""

from contextlib import contextmanager
from functools import partial

import soundfile

from data.containers import ByteRange, UnknownFormat, check_whole, ogg_links
from data.joined_audio import open_joined
from data.mpeg_frames import is_mpeg

UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2^63 - 1 for a length that the header does not have
NOT_RECOGNISED = 1  # libsndfile's error code


class LibsndfileAudio:
    """A file that libsndfile has opened."""

    def __init__(self, file):
        self.file = file
        self.samplerate = file.samplerate
        self.frames = file.frames
        self.channels = file.channels
        self.compression = file.subtype.lower()

    def read(self, frames):
        return self.file.read(frames, dtype="float32", always_2d=True)


@contextmanager
def open_libsndfile(path):
    """A file of a format that libsndfile knows, except MP3, of which it may lose most."""
    head = check_whole(path)
    if is_mpeg(path, head):
        raise UnknownFormat("libsndfile does not always find the end of MPEG audio")
    links = ogg_links(path) if head[:4] == b"OggS" else []
    if len(links) > 1:
        with open(path, "rb") as file:
            openers = [partial(open_source, ByteRange(file, *link)) for link in links]
            with open_joined(path, openers) as source:
                yield source
        return
    with open_source(path) as source:
        empty_wav = source.frames == 0 and head[8:12] == b"WAVE"
        if empty_wav and int.from_bytes(head[4:8], "little") + 8 != path.stat().st_size:
            raise UnknownFormat("libsndfile does not read WAV with a length of 0")
        yield source


@contextmanager
def open_source(file):
    """A path, or a file that is open, as LibsndfileAudio. Raises UnknownFormat."""
    try:
        file = soundfile.SoundFile(file)
    except TypeError as error:  # soundfile takes .raw for samples without a header
        raise UnknownFormat(str(error)) from None
    except soundfile.LibsndfileError as error:
        if error.code == NOT_RECOGNISED:
            raise UnknownFormat("its format is not recognised") from None
        raise
    with file:
        if file.frames >= UNKNOWN_FRAMES:
            raise UnknownFormat("libsndfile does not read FLAC of unknown length")
        if file.format == "MP3" or file.subtype.startswith("MPEG"):
            raise UnknownFormat("libsndfile does not always find the end of MPEG audio")
        yield LibsndfileAudio(file)
