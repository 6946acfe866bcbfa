"""Where the parts of a file begin that was made of several by writing one after the other (`cat a.wav b.wav`).

Decoders end with the first part, without a word. FLAC files are checked when they were read: data/flac_end.py.
"""

import re
import struct

from data.containers import RIFF_HEADS, ByteRange, boxes_of, check_open_file, is_unknown_size, mapped
from data.ogg_pages import OGG_FIRST, ogg_pages

AMR_HEAD = re.compile(rb"#!AMR(-WB)?\n")
# The first bytes of files with a known end
CHAINED = (b".snd", b"dns.", b"NIST", b"RIFX", b"riff", b"caff", b"\x1aE\xdf\xa3", b"0&\xb2u", b"FLV\1")


def parts_of(path, head, end):
    """[(start, stop)] of the parts of a file; most files have one. `head` and `end` are what check_whole() gives.

    Raises InputError when a part whose end is known is cut short.
    """
    size = path.stat().st_size
    find = next((find for fits, find in PARTS if fits(head)), None)
    if head[:4] in CHAINED and end not in (0, size):
        with mapped(path) as content:
            return list(chained_parts(path, content))
    if find is None or (find is wav_starts and end == size):
        return [(0, size)]
    with mapped(path) as content:
        starts = find(content) or [0]
        return list(zip(starts, [*starts[1:], len(content)], strict=True))


def chained_parts(path, content):
    """Generate (start, stop) of the joined files that follow each other, each where the one before it ends."""
    start = 0
    while start is not None:
        part = ByteRange(content, start, len(content))
        _, end = check_open_file(part, part.size, path)
        stop = start + (end or part.size)
        yield start, stop
        start = next((place for place in (stop, stop + 1) if content[place : place + 4] == content[:4]), None)


def ogg_starts(content):
    """Where the links of a chained Ogg file begin. Several streams may share a link."""
    starts = []
    was_first = False
    for start, _, flags in ogg_pages(content):
        first = bool(flags & OGG_FIRST)
        if first and not was_first:
            starts.append(start)
        was_first = first
    return starts


def is_wav(content, place=0):
    return content[place : place + 4] in RIFF_HEADS and content[place + 8 : place + 12] == b"WAVE"


def wav_starts(content):
    """Where the joined WAV files begin: each at the end that the one before it promises."""
    starts = [0]
    while True:
        ends = [end for end in wav_ends(content, starts[-1]) if is_wav(content, end)]
        if not ends:
            return starts
        starts.append(min(ends))


def wav_ends(content, start):
    """Where the WAV file at `start` may end: after its chunk, after its samples, or at the next head of a WAV file.

    The last one is looked for only where the length is not known, as in the output of a program that streams.
    """
    (length,) = struct.unpack_from("<I", content, start + 4)
    long_sizes = None  # of an RF64 file: of all, of the samples
    ends = []
    place = start + 12
    while place + 24 <= len(content):
        chunk, size = struct.unpack_from("<4sI", content, place)
        if chunk == b"ds64":
            long_sizes = struct.unpack_from("<QQ", content, place + 8)
        if chunk == b"data":
            ends.append(place + 8 + (long_sizes[1] if long_sizes else size))
            break
        place += 8 + size + size % 2
    ends.append(start + 8 + (long_sizes[0] if long_sizes else length))
    if is_unknown_size(length) and not long_sizes:
        ends.append(content.find(b"WAVEfmt ", start + 12) - 8)
    return {end + odd for end in ends for odd in (0, end % 2) if end > start}


def is_aiff(content, place=0):
    return content[place : place + 4] == b"FORM" and content[place + 8 : place + 12] in (b"AIFF", b"AIFC")


def aiff_starts(content):
    """Where the joined AIFF files begin: each at the end that the one before it promises."""
    starts = [0]
    while True:
        (length,) = struct.unpack_from(">I", content, starts[-1] + 4)
        end = starts[-1] + 8 + length
        start = next((place for place in (end, end + 1) if is_aiff(content, place)), None)
        if start is None:
            return starts
        starts.append(start)


def amr_starts(content):
    """Where the joined AMR files begin."""
    return [mark.start() for mark in AMR_HEAD.finditer(content)]


def box_starts(content):
    """Where the joined MP4 or M4A files begin: each has a box `ftyp`, and sound before the next one."""
    starts = []
    sound = False
    for place, _, name in boxes_of(content, len(content)):
        if name == b"ftyp" and (sound or not starts):
            starts.append(place)
            sound = False
        sound = sound or name in (b"moov", b"moof")
    return starts


PARTS = [  # (whether the first bytes are of this format, where its parts begin)
    (lambda head: head[:4] == b"OggS", ogg_starts),
    (is_wav, wav_starts),
    (is_aiff, aiff_starts),
    (AMR_HEAD.match, amr_starts),
    (lambda head: head[4:8] == b"ftyp", box_starts),
]
