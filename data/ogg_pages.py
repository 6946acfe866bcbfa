"""The pages of an Ogg file: where they end, and whether one is missing or damaged."""

import mmap
import struct
import zlib

OGG_HEADER = 27  # bytes
OGG_FIRST = 2  # flag of a page that begins a stream
OGG_LAST = 4
RADIO_GAP = 100  # pages
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of each byte in the other order


def ogg_end(file, head, size):
    """The end of the last page of an Ogg file. Raises ValueError for pages that are missing, or were changed.

    Decoders pass over them: an Opus file of two seconds with a wrong bit becomes one of one second.
    """
    if size < OGG_HEADER:
        return 0, 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pages = list(ogg_pages(content))
        end = max((stop for _, stop, _ in pages), default=0)
        if end <= size and lacks_pages(content, pages):
            raise ValueError("some of its Ogg pages are missing or damaged. Copy or download it again")
        return 0, end


def ogg_pages(content):
    """(start, stop, flags) of the pages of an Ogg file; what lies between pages is passed over."""
    place = 0
    while (place := content.find(b"OggS", place)) >= 0:
        segments = content[place + OGG_HEADER - 1] if place + OGG_HEADER <= len(content) else 0
        table = content[place + OGG_HEADER : place + OGG_HEADER + segments]
        stop = place + OGG_HEADER + segments + sum(table)
        yield place, stop, content[place + 5] if place + 5 < len(content) else 0
        place = stop


def lacks_pages(content, pages):
    """Whether any of the `pages` of ogg_pages() has a wrong checksum, or their numbers say that one is missing.

    A recording of a web radio has the first pages of a stream, without sound, and then others from its middle. So a gap
    of RADIO_GAP or more after them is none.
    """
    following = {}  # {stream: (number of its next page, whether it had sound)}
    for start, stop, flags in pages:
        position, stream, number, checksum = struct.unpack_from("<qIII", content, start + 6)
        if checksum != ogg_checksum(content[start:stop]):
            return True
        expected, sound = following.get(stream, (number, False))
        gap = 0 if flags & OGG_FIRST else number - expected
        if gap > 0 and (sound or gap < RADIO_GAP):
            return True
        following[stream] = number + 1, position > 0
    return False


def has_wrong_positions(content):
    """Whether positions of pages, at which decoders may stop, are not given or do not grow with the sound."""
    positions = {}  # {stream: its last position}
    for start, _, flags in ogg_pages(content):
        if start + OGG_HEADER > len(content):
            return False
        position, stream = struct.unpack_from("<qI", content, start + 6)
        lengths = content[start + OGG_HEADER : start + OGG_HEADER + content[start + OGG_HEADER - 1]]
        if flags & OGG_FIRST:
            positions[stream] = 0
        before = positions.get(stream, 0)
        if not any(lengths) or min(lengths) == 255:  # no packet ends on this page
            continue
        if position < before or (position == before > 0 and not flags & OGG_LAST):
            return True
        positions[stream] = position
    return False


def ogg_checksum(page):
    """The CRC-32 of a page, bytes, with zeros in the place of the checksum, as RFC 3533 (section 6) defines it.

    zlib has the same one with the bits of each byte and of the result in the other order, and other ends.
    """
    page = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(MIRRORED), "big")
