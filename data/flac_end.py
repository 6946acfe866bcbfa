"""Whether a FLAC file holds more than the samples that its header promises, at which a decoder ends.

To look takes a tenth of the time that decoding takes, so it is done only when all of them were read.
"""

from data.containers import CONVERT, mapped
from utils.errors import InputError

HEADS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # the mark, and the head of the first block, of 34 bytes
LONGEST_HEADER = 16  # bytes, of a frame
SYNCS = (b"\xff\xf8", b"\xff\xf9")  # of frames of a fixed, and of a variable, number of samples


def check_flac_end(path, frames):
    """Raise InputError where a FLAC file of `frames` samples a channel, by its header, holds more.

    That is several files one after the other, or a header with a wrong number.
    """
    with mapped(path) as content:
        starts = file_starts(content)
        begin = last_frame(content) if len(starts) == 1 else 0
    if len(starts) > 1:
        raise InputError(
            f"{path} is {len(starts)} FLAC files, one after the other, and a decoder reads only the first: split it at"
            f" byte{'s' * (len(starts) > 2)} {', '.join(map(str, starts[1:]))}"
        )
    if begin >= frames:
        raise InputError(f"{path} holds more than the {frames} samples that its header promises. Convert it: {CONVERT}")


def file_starts(content):
    """Where the joined FLAC files begin."""
    starts = []
    place = -1
    while (place := content.find(b"fLaC", place + 1)) >= 0:
        if content[place : place + 8] in HEADS:
            starts.append(place)
    return starts


def last_frame(content):
    """The sample at which the last frame begins, by its header; 0 where none is found.

    Source: RFC 9639, section 9.1.
    """
    place = content.find(b"fLaC") + 4
    fixed = int.from_bytes(content[place + 4 : place + 6], "big")
    last = False
    while not last and place + 4 <= len(content):
        last = content[place] & 0x80
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    first = content[place : place + 4]
    if first[:2] not in SYNCS:
        return 0
    end = len(content)
    while (end := content.rfind(first[:2], place, end)) >= 0:
        header = content[end : end + LONGEST_HEADER]
        # As the first frame has it: the sample rate, the bits of a sample, a zero
        alike = len(header) > 4 and all((header[byte] ^ first[byte]) & 0x0F == 0 for byte in (2, 3))
        if alike and (number := frame_number(header)) is not None:
            return number * (fixed if first[:2] == SYNCS[0] else 1)
    return 0


def frame_number(header):
    """The number in the header of a frame, coded as UTF-8 codes letters; None where its checksum is wrong."""
    ones = 8 - (header[4] ^ 0xFF).bit_length()
    size = 4 + max(1, ones)  # bytes before what may follow: the samples of this frame, and the sample rate
    size += {6: 1, 7: 2}.get(header[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(header[2] & 0x0F, 0)
    if len(header) <= size or checksum(header[:size]) != header[size]:
        return None
    number = header[4] & (0x7F >> ones)
    for byte in header[5 : 4 + max(1, ones)]:
        number = number << 6 | byte & 0x3F
    return number


def checksum(content):
    """The CRC-8 of a header: x^8 + x^2 + x + 1, from 0."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
