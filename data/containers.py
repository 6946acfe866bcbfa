"""What the structure of an audio file promises: its length in bytes.

Decoders do not check these promises: most of them read a file that is cut short as a shorter file.
"""

import mmap
import os
import re
import struct
from contextlib import contextmanager

from data.ogg_pages import ogg_end
from utils.errors import InputError

CONVERT = "ffmpeg -i IN -ar 16000 OUT.wav"  # the remedy for a file that cannot be used as it is
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
EBML_HEAD = 0x1A45DFA3
SEGMENT = 0x18538067
CLUSTER = 0x1F43B675
RIFF_HEADS = (b"RIFF", b"RF64")
CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _]{3}")  # or the name of a tag, such as ID3
MOST_BEHIND = 4096  # bytes
UNKNOWN_SIZE = 1 << 63  # or more: a length of 64 bits that a program which streams does not know
TOP_BOXES = b"ftyp moov mdat free skip wide moof mfra sidx styp uuid meta pnot udta emsg prft ssix".split()
# Elements at the top, in a segment, and in a cluster
EBML_NAMES = (
    *(EBML_HEAD, SEGMENT, CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469),
    *(0xA3, 0xA0, 0xE7, 0xEC, 0xBF, 0xA7, 0xAB, 0xAF, 0x5854),
)
EBML_PARENTS = (SEGMENT, CLUSTER)
TS_PACKET = 188  # bytes
FLV_HEADER = 13  # bytes
FLV_TAGS = (b"\x08", b"\x09", b"\x12")  # sound, video, description


class UnknownFormat(ValueError):
    """What an opener raises for a file that is not of its formats: the next decoder is tried."""


class ByteRange:
    """Bytes `start` to `stop` of a file that is open for reading, as a file of their own."""

    def __init__(self, file, start, stop):
        self.file = file
        self.start = start
        self.size = stop - start
        self.position = 0

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=0):
        self.position = max(0, offset + (0, self.position, self.size)[whence])
        return self.position

    def read(self, size=-1):
        left = max(0, self.size - self.position)
        if not left:
            return b""
        self.file.seek(self.start + self.position)
        block = self.file.read(left if size < 0 else min(size, left))
        self.position += len(block)
        return block


@contextmanager
def mapped(path):
    """The bytes of a file, which are read where they are looked at."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


# ---- the length that is promised ------------------------------------------------------------------------------------


def is_unknown_size(length):
    """Whether a program that streams to a pipe writes `length`, of 32 bits, since it does not know better.

    0 and 0xFFFFFFFF: many programs; 0x7FFFF000: SoX; 0x80000000: arecord; both rounded down to whole frames.
    """
    return length in (0, 0xFFFFFFFF) or 0x7FFFE000 <= length <= 0x80000000


def check_whole(path):
    """The first 16 bytes of a file, and where its structure ends, 0 when it does not say so.

    Raises InputError when the file ends before that.
    """
    with open(path, "rb") as file:
        return check_open_file(file, os.fstat(file.fileno()).st_size, path)


def check_open_file(file, size, name):
    """check_whole() for an open file of `size` bytes, or a ByteRange; `name` is for the message."""
    file.seek(0)
    head = file.read(16)
    magic, find = next((row for row in PROMISES if row[0].match(head)), (None, None))
    start, end = find(file, head, size) if find else (0, 0)
    if end > size:
        what = "bytes of samples" if start else "bytes"
        raise InputError(f"{name} is cut short: {end - size} of its {end - start} {what} are missing")
    if start or (find is caf_end and end):
        check_behind(file, head, magic, start, end, size)
    return head, end


def check_behind(file, head, magic, start, end, size):
    """Raise ValueError when more samples than those from `start` to `end` may follow in a file of `size` bytes.

    What may follow is chunks, tags, zeros, a little of anything, and another file, which begins as `magic` says.
    """
    file.seek(end)
    behind = file.read(MOST_BEHIND + 1)
    file.seek((end + size) // 2)
    if not any(behind + file.read(MOST_BEHIND)) or magic.match(behind) or magic.match(behind[1:]):
        return
    order = ">" if head[:4] in (b"FORM", b"RIFX") else "<"
    place = end + (end - start) % 2
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"data" and length:
            raise ValueError("it has several chunks of samples, and decoders read one of them. Export it again")
        if not CHUNK_NAME.match(name):
            break
        place += 8 + length + length % 2
    if size - place > MOST_BEHIND:
        command = CONVERT.replace("-i", "-ignore_length 1 -i") if head[8:12] == b"WAVE" else CONVERT
        raise ValueError(
            f"{size - place} bytes lie behind the samples that its header promises. If they are samples too, convert"
            f" it: {command}; if not, cut them off: head -c {end} IN > OUT"
        )


# Each of the functions below takes a file that is open, its first 16 bytes and its size. It returns where the samples
# begin, or 0, and where the file ends at the earliest, or 0 when it does not say so.


def samples_end(order, samples):
    """A finder of the end of the chunk `samples`, in a file of chunks with 32-bit lengths in byte `order`."""

    def find(file, head, size):
        long_size = 0  # of 64 bits, in an RF64 file
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", chunk)
            begin = file.tell()
            if name == samples:
                if 0 < long_size < UNKNOWN_SIZE and length == 0xFFFFFFFF:
                    return begin, begin + long_size
                if is_unknown_size(length):
                    return 0, 0
                return begin, begin + length
            if name == b"ds64":
                long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            file.seek(begin + length + length % 2)
        return 0, 0

    return find


def outer_riff_end(file, head, size):
    """The end of a RIFF file, such as AVI. A long one has several RIFF chunks."""
    end = 0
    while end < size:
        file.seek(end)
        chunk = file.read(8)
        if chunk[:4] != b"RIFF" or len(chunk) < 8:
            break
        length = struct.unpack("<4xI", chunk)[0]
        if is_unknown_size(length):
            return 0, 0
        end += 8 + length
    return 0, end


def au_end(file, head, size):
    offset, length = struct.unpack(f"{'>' if head[:1] == b'.' else '<'}4xII", head[:12])
    return (0, 0) if is_unknown_size(length) else (offset, offset + length)


def w64_end(file, head, size):
    """The end of the samples of a Sony Wave64 file."""
    place = 40
    while place + 24 <= size:
        file.seek(place)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name == W64_DATA:
            return (place + 24, place + length) if 24 < length < UNKNOWN_SIZE else (0, 0)
        place += max(24, length + -length % 8)
    return 0, 0


def asf_end(file, head, size):
    """The end of the last object of an ASF file (wma, wmv)."""
    place = 0
    while place + 24 <= size:
        file.seek(place)
        name, length = struct.unpack("<16sQ", file.read(24))
        if length < 24:  # unknown
            return 0, 0
        if place and name == ASF_HEADER:  # the next of joined files
            break
        place += length
    return 0, place


def caf_end(file, head, size):
    place = 8
    while place + 12 <= size:
        file.seek(place)
        name, length = struct.unpack(">4sq", file.read(12))
        if name == b"data" and length < 0:  # samples up to the end of the file
            return 0, 0
        if length < 0 or name == b"caff" or not CHUNK_NAME.match(name):  # no chunk, or the next of joined files
            break
        place += 12 + length
    return 0, place


def sphere_end(file, head, size):
    """The end of the samples of a NIST SPHERE file that are not compressed."""
    file.seek(0)
    text = file.read(1024)
    fields = {name: value for name, value in re.findall(rb"(\w+) -\w+ ([^\n;]+)", text)}
    try:
        counts = [int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
        offset = int(text[8:16])
    except (KeyError, ValueError):
        return 0, 0
    if b"," in fields.get(b"sample_coding", b""):  # such as pcm,embedded-shorten-v2.00
        return 0, 0
    return offset, offset + counts[0] * counts[1] * counts[2]


def program_stream_end(file, head, size):
    """The end of the last packet of an MPEG program stream (.mpg)."""
    place = 0
    while place + 14 <= size:
        file.seek(place)
        start = file.read(14)
        if start[:3] != b"\0\0\1":
            return 0, 0
        if start[3] == 0xB9:  # the end
            return 0, place + 4
        if start[3] == 0xBA:  # the head of a pack, of MPEG-2 or MPEG-1
            place += 14 + (start[13] & 7) if start[4] >> 6 == 1 else 12
        else:
            place += 6 + int.from_bytes(start[4:6], "big")
    return 0, place


def transport_stream_end(file, head, size):
    """The end of the last packet of an MPEG transport stream (.ts), or of a camera, which puts a time before each."""
    for before in (0, 4):
        packet = before + TS_PACKET
        file.seek(before)
        if file.read(3 * packet)[::packet] == b"GGG":
            return 0, size + -size % packet
    return 0, 0


def boxes_of(file, size):
    """(start, length, name) of the boxes of an MP4 file one after the other; a length below 8 is not known."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]
        yield place, length, name
        if length < 8:  # 0: up to the end of the file
            return
        place += length


def boxes_end(file, head, size):
    """The end of the last box of an MP4, MOV, M4A or 3GP file."""
    end = 0
    names = set()
    for start, length, name in boxes_of(file, size):
        names.add(name)
        if name not in TOP_BOXES or length < 8:
            end = 0
            break
        end = start + length
    if end <= size and b"mdat" in names and not names & {b"moov", b"moof"}:
        raise ValueError("it has no index (moov), since its recording was not finished. Repair it, such as by untrunc")
    return 0, end


def ebml_number(file, place, keep_marker):
    """(value, next place) of a number of variable length; value None when it is unknown or no number."""
    file.seek(place)
    content = file.read(8)
    first = content[0] if content else 0
    width = 9 - first.bit_length()
    if not first or width > len(content):
        return None, place
    value = int.from_bytes(content[:width], "big")
    if not keep_marker:
        value &= (1 << 7 * width) - 1
        if value == (1 << 7 * width) - 1:
            return None, place + width
    return value, place + width


def matroska_end(file, head, size):
    """The end of the last element of a Matroska or WebM file. A live recording has elements of unknown length."""
    end = place = 0
    while place < size:
        name, after = ebml_number(file, place, keep_marker=True)
        if name is None or (place and name == EBML_HEAD):  # the latter: of the next of joined files
            return 0, end
        length, after_size = ebml_number(file, after, keep_marker=False)
        if after_size == after:  # the file ends within the number
            return 0, size + 1
        if name not in EBML_NAMES:
            raise ValueError(f"its structure is damaged at byte {place}. Copy or download it again")
        if length is None:
            if name not in EBML_PARENTS:
                return 0, end
            place = after_size
            continue
        end = place = after_size + length
        if name == SEGMENT:
            return 0, end
    return 0, end


def flv_end(file, head, size):
    """The end of the last tag of a Flash video; behind each tag is its length."""
    place = FLV_HEADER
    while place < size:
        file.seek(place)
        tag = file.read(4)
        if tag[:1] not in FLV_TAGS:
            break
        place += 15 + int.from_bytes(tag[1:], "big")
    return 0, place


PROMISES = [
    (re.compile(pattern, re.DOTALL), find)
    for pattern, find in (
        (rb"(RIFF|RF64|BW64)....WAVE", samples_end("<", b"data")),
        (rb"RIFX....WAVE", samples_end(">", b"data")),
        (rb"RIFF....(?!WAVE)", outer_riff_end),
        (rb"FORM....(AIFF|AIFC)", samples_end(">", b"SSND")),
        (rb"(\.snd|dns\.)........", au_end),
        (re.escape(W64_RIFF), w64_end),
        (re.escape(ASF_HEADER), asf_end),
        (rb"caff", caf_end),
        (rb"NIST_1A", sphere_end),
        (rb"....(ftyp|moov|mdat|wide|free|skip|styp)", boxes_end),
        (rb"\x1aE\xdf\xa3", matroska_end),
        (rb"FLV\x01", flv_end),
        (rb"OggS", ogg_end),
        (rb"\0\0\x01\xba", program_stream_end),
        (rb"G|....G", transport_stream_end),
    )
]
