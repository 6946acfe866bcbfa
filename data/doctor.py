"""What is wrong with one audio file or archive, for check_data.py."""

import gzip
import hashlib
import struct
import tarfile
import zipfile
import zlib
from bz2 import BZ2File
from contextlib import suppress
from lzma import LZMAError, LZMAFile
from typing import NamedTuple

import numpy as np

from data.audio import SAMPLE_RATE, SAMPLES, opened, read_mono
from data.measures import QUIET
from utils.errors import InputError

BLOCK_SECONDS = 30
FULL_SCALE = 32_766 / 32_768  # a 16-bit sample that is cut off reaches one of the two outermost values
CLIPPED_SHARE = 0.001  # of the samples, above which a file counts as clipped

# Kinds of findings, and whether the exit status counts them: the others are normal in some corpora, and only told.
KINDS = {
    "unusable": (True, "a corpus or label file that is not there or cannot be read"),
    "label": (True, "label lines that are broken, doubled or of unknown class"),
    "missing": (True, "files that a label line names and the folder lacks"),
    "surplus": (True, "files in a folder of the corpus that nothing names"),
    "count": (True, "parts with another number of files than published"),
    "undecodable": (True, "audio that is empty, cut short, not finite or no audio at all"),
    "silent": (True, "audio that never rises above -100 dB of full scale"),
    "clipped": (True, "audio with more than 0.1 % of its samples at full scale"),
    "duplicate": (True, "audio with the same samples as a file of another split"),
    "copy": (False, "audio with the same samples as another file of its split"),
    "speaker": (False, "speakers, told by file names, that occur in two splits"),
    "utterance": (True, "utterances, told by file names, that occur in two splits"),
    "archive": (True, "archives that are cut short, or lack a part"),
    "short": (False, f"audio shorter than the crop of {SAMPLES / SAMPLE_RATE:.2f} s, which repeats"),
    "rate": (False, f"audio of another sample rate than {SAMPLE_RATE} Hz, which is resampled"),
    "channels": (False, "audio of more than one channel, of which the mean is taken"),
}


class File(NamedTuple):
    """A row of files.csv. The first four say when it holds; what was not measured is empty."""

    path: str
    size: int
    changed: int  # ns
    depth: str  # headers | samples
    rate: int = 0
    channels: int = 0
    frames: int = 0
    silent: int = 0
    clipped: int = 0
    digest: str = ""  # of the samples and their rate
    error: str = ""


def state(path):
    """(size, time of change in ns) of a file, (-1, 0) when it cannot be reached."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def examine(path, headers_alone):
    """The File of an audio file or archive, whose `error` says why it cannot be used."""
    file = File(str(path), *state(path), "headers" if headers_alone else "samples")
    if path.suffix.lower() in ARCHIVES:
        return file._replace(error=archive_error(path, headers_alone))
    try:
        with opened(path) as audio:
            file = file._replace(rate=audio.samplerate, channels=audio.channels, frames=audio.frames)
            return file if headers_alone else file._replace(**listen(audio))
    except InputError as error:
        return file._replace(error=str(error).removeprefix(f"{path} "))


def listen(audio):
    """{"silent", "clipped", "digest"} of an opened file, decoded to its end in blocks."""
    digest, power, cut = hashlib.sha256(str(audio.samplerate).encode()), 0.0, 0
    left = audio.frames
    while left:
        wave = read_mono(audio, min(left, BLOCK_SECONDS * audio.samplerate))
        left -= len(wave)
        digest.update(wave.tobytes())
        power = max(power, float(np.abs(wave).max()) ** 2)
        cut += int((np.abs(wave) >= FULL_SCALE).sum())
    clipped = int(cut > CLIPPED_SHARE * audio.frames)
    return {"silent": int(power < QUIET), "clipped": clipped, "digest": digest.hexdigest()}


def findings(file):
    """[(kind, detail)] of what a File tells."""
    if file.error:
        return [("undecodable", file.error)]
    rules = (
        ("silent", file.silent, "no sample above -100 dB"),
        ("clipped", file.clipped, "more than 0.1 % of the samples at full scale"),
        ("short", file.frames < SAMPLES / SAMPLE_RATE * file.rate, f"{file.frames / max(file.rate, 1):.2f} s"),
        ("rate", file.rate != SAMPLE_RATE, f"{file.rate} Hz"),
        ("channels", file.channels != 1, f"{file.channels} channels"),
    )
    return [(kind, detail) for kind, holds, detail in rules if holds]


# ---- archives -------------------------------------------------------------------------------------------------------


def read_through(file):
    while file.read(1 << 20):
        pass


def check_zip(path, headers_alone):
    """Raise InputError when the directory at the end of a zip is not there, or one of its parts (.z01, ...)."""
    if not zipfile.is_zipfile(path):
        raise InputError("its end, which holds the directory of a zip, is missing")
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    last = struct.unpack_from("<H", tail, tail.rindex(b"PK\x05\x06") + 4)[0]  # number of the last part, from 0
    lacking = [name for n in range(1, last + 1) if not (name := path.with_suffix(f".z{n:02}")).exists()]
    if last < 0xFFFF and lacking:
        raise InputError(f"it has {last + 1} parts, of which {lacking[0].name} is missing")
    if last == 0 and not headers_alone:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise InputError(f"{broken} in it is damaged")


def check_compressed(opener):
    """A check that reads a compressed file through to its end; --fast leaves it out."""

    def check(path, headers_alone):
        if not headers_alone:
            with opener(path) as file:
                read_through(file)

    return check


def check_tar(path, headers_alone):
    with tarfile.open(path) as archive:
        last = None
        for last in archive:  # noqa: B007, the last member counts
            pass
    if last is not None and path.stat().st_size < last.offset_data + last.size:
        raise InputError(f"{last.name}, the last file in it, is cut short")


ARCHIVES = {
    ".zip": check_zip,
    ".tar": check_tar,
    **dict.fromkeys((".gz", ".tgz"), check_compressed(gzip.open)),
    **dict.fromkeys((".bz2",), check_compressed(BZ2File)),
    **dict.fromkeys((".xz",), check_compressed(LZMAFile)),
}


def archive_error(path, headers_alone):
    """Why an archive cannot be whole, or "". With `headers_alone` compressed streams are not read through."""
    try:
        ARCHIVES[path.suffix.lower()](path, headers_alone)
    except InputError as error:
        return str(error)
    except (OSError, EOFError, zlib.error, LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        return f"it is damaged or cut short: {error}"
    return ""


def archives(root):
    """The archives in a folder and in the folders directly in it, in name order."""
    folders = [root]
    with suppress(OSError):
        folders += sorted(path for path in root.iterdir() if path.is_dir())
    found = []
    for folder in folders:
        with suppress(OSError):
            found += sorted(path for path in folder.iterdir() if path.suffix.lower() in ARCHIVES and path.is_file())
    return found
