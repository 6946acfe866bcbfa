"""What is wrong with one audio file or archive, for check_data.py."""

import gzip
import hashlib
import os
import struct
import tarfile
import zipfile
import zlib
from bz2 import BZ2File
from lzma import LZMAError, LZMAFile
from typing import NamedTuple

import numpy as np

from data.audio import SAMPLE_RATE, SAMPLES, mono_blocks, opened
from data.measures import SILENT_POWER
from utils.errors import InputError
from utils.reading import files_below

BLOCK_SECONDS = 30
FULL_SCALE = 32_766 / 32_768  # a 16-bit sample that is cut off reaches one of the two outermost values
CLIPPED_SHARE = 0.001  # of the samples, above which a file counts as clipped


class FileRecord(NamedTuple):
    """What was measured of one file: a row of files.csv. It holds while the first four values stay the same."""

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


def file_state(path):
    """(size in bytes, time of change in ns) of a file, (-1, 0) when it cannot be reached.

    The time is that of the inode, which no copy sets: a file that replaces another has a new one. Windows has none.
    """
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


def examine_file(path, headers_only):
    """The FileRecord of an audio file or archive; its `error` says why the file cannot be used."""
    record = FileRecord(str(path), *file_state(path), "headers" if headers_only else "samples")
    if path.suffix.lower() in ARCHIVE_CHECKS:
        return record._replace(error=archive_error(path, headers_only))
    try:
        with opened(path) as audio:
            record = record._replace(rate=audio.samplerate, channels=audio.channels, frames=audio.frames or 0)
            if headers_only and audio.frames is not None:
                return record
            measured = measure_samples(audio)
            record = record._replace(frames=audio.position)
            return record if headers_only else record._replace(**measured)
    except InputError as error:
        return record._replace(error=str(error).removeprefix(f"{path} "))


def measure_samples(audio):
    """{"silent", "clipped", "digest"} of an opened file, which is decoded to its end in blocks."""
    digest = hashlib.sha256(str(audio.samplerate).encode())
    peak = 0.0
    cut_off = 0
    for wave in mono_blocks(audio, BLOCK_SECONDS * audio.samplerate):
        digest.update(wave.tobytes())
        levels = np.abs(wave)
        peak = max(peak, float(levels.max()))
        cut_off += int((levels >= FULL_SCALE).sum())
    return {
        "silent": int(peak**2 < SILENT_POWER),
        "clipped": int(cut_off > CLIPPED_SHARE * audio.position),
        "digest": digest.hexdigest(),
    }


def file_findings(record):
    """[(kind, detail)]: what is wrong with the file of a FileRecord, or should be known about it."""
    if record.error:
        return [("undecodable", record.error)]
    seconds = record.frames / max(record.rate, 1)
    rules = (
        ("silent", record.silent, "no sample above -100 dB"),
        ("clipped", record.clipped, "more than 0.1 % of the samples at full scale"),
        ("short", record.frames < SAMPLES / SAMPLE_RATE * record.rate, f"{seconds:.2f} s"),
        ("rate", record.rate != SAMPLE_RATE, f"{record.rate} Hz"),
        ("channels", record.channels != 1, f"{record.channels} channels"),
    )
    return [(kind, detail) for kind, holds, detail in rules if holds]


# ---- archives -------------------------------------------------------------------------------------------------------


def read_to_end(file):
    """Read an opened file in blocks of 1 MiB."""
    while file.read(1 << 20):
        pass


def check_zip_parts(path, headers_only):
    """Raise InputError when the directory at the end of a zip is missing, or one of its parts (.z01, ...)."""
    if not zipfile.is_zipfile(path):
        raise InputError("its end, which holds the directory of a zip, is missing")
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    last = struct.unpack_from("<H", tail, tail.rindex(b"PK\x05\x06") + 4)[0]  # number of the last part, from 0
    missing = [name for n in range(1, last + 1) if not (name := path.with_suffix(f".z{n:02}")).exists()]
    if last < 0xFFFF and missing:
        raise InputError(f"it has {last + 1} parts, of which {missing[0].name} is missing")
    if last == 0 and not headers_only:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise InputError(f"{broken} in it is damaged")


def check_compressed(opener):
    """A check that decompresses a file to its end; with headers_only it does nothing."""

    def check(path, headers_only):
        if not headers_only:
            with opener(path) as file:
                read_to_end(file)

    return check


def check_tar(path, headers_only):
    """Raise InputError when the last file in a tar is cut short, tarfile.TarError when its directory is damaged."""
    with tarfile.open(path) as archive:
        last = None
        for last in archive:  # noqa: B007, the last member counts
            pass
    if last is not None and path.stat().st_size < last.offset_data + last.size:
        raise InputError(f"{last.name}, the last file in it, is cut short")


ARCHIVE_CHECKS = {
    ".zip": check_zip_parts,
    ".tar": check_tar,
    **dict.fromkeys((".gz", ".tgz"), check_compressed(gzip.open)),
    **dict.fromkeys((".bz2",), check_compressed(BZ2File)),
    **dict.fromkeys((".xz",), check_compressed(LZMAFile)),
}


def archive_error(path, headers_only):
    """Why an archive cannot be whole, or "". With `headers_only` compressed archives are not decompressed."""
    try:
        ARCHIVE_CHECKS[path.suffix.lower()](path, headers_only)
    except InputError as error:
        return str(error)
    except (OSError, EOFError, zlib.error, LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        return f"it is damaged or cut short: {error}"
    return ""


def find_archives(root, unreadable):
    """The archives in a folder and in the folders directly in it, in order; unreadable(path) is told of the others."""
    paths = files_below(root, unreadable, levels=2)
    return [path for path in paths if path.suffix.lower() in ARCHIVE_CHECKS and os.path.isfile(path)]
