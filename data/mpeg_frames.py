"""MPEG audio and AAC without a container: frames follow each other, and tags may lie between them."""

import re

ID3_HEADER = 10  # bytes
MPEG_SAMPLE_RATES = (44_100, 48_000, 32_000, 0)
MPEG_BIT_RATES = {  # kbit/s of {(MPEG 1?, layer)}
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
# Bytes from the header of an MPEG frame to its Xing tag: {(MPEG 1?, mono?): bytes}
XING_OFFSETS = {(True, False): 36, (True, True): 21, (False, False): 21, (False, True): 13}


def mpeg_frame_bytes(header):
    """The length of the MPEG audio frame, of layer 2 or 3, that begins with the 4 bytes `header`; None if none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version = header[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    layer = {1: 3, 2: 2}.get(header[1] >> 1 & 3)
    if version == 1 or layer is None:
        return None
    bit_rate = MPEG_BIT_RATES[version == 3, layer][header[2] >> 4]
    rate = MPEG_SAMPLE_RATES[header[2] >> 2 & 3]
    if not bit_rate or not rate:
        return None
    rate //= {3: 1, 2: 2, 0: 4}[version]
    return (72 if version != 3 and layer == 3 else 144) * bit_rate * 1000 // rate + (header[2] >> 1 & 1)


def adts_frame_bytes(header):
    """The length of the AAC frame that begins with the 7 bytes `header`; None where none does."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    return (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5


def is_mpeg(path, head):
    """Whether a file begins as MPEG audio or AAC without a container does, perhaps after an ID3 tag.

    `head` is its first bytes.
    """
    if start := id3_end(head):
        with open(path, "rb") as file:
            file.seek(start)
            head = file.read(7)
    return bool(mpeg_frame_bytes(head[:4]) or adts_frame_bytes(head[:7]))


def mp3_links(content):
    """[(start, stop, frames)] of the MP3 files that were joined to one; most files have one. 0 frames: not known.

    A frame with a Xing or Info tag, which has the number of frames, begins a link, together with an ID3 tag before it.
    """
    starts = []
    for match in re.finditer(rb"Xing|Info", content):
        for (mpeg1, mono), offset in XING_OFFSETS.items():
            begin = match.start() - offset
            header = content[max(0, begin) : begin + 4]
            fits = begin >= 0 and mpeg_frame_bytes(header) and not any(content[begin + 6 : match.start()])
            if fits and mpeg1 == (header[1] & 0x18 == 0x18) and mono == (header[3] >> 6 == 3):
                fields = content[match.end() : match.end() + 8].ljust(8, b"\0")
                frames = int.from_bytes(fields[4:], "big") if fields[3] & 1 else 0
                starts.append((before_id3(content, begin), frames))
                break
    first = id3_end(content)
    if not starts or (starts[0][0] > first and mpeg_frame_bytes(content[first : first + 4])):
        starts.insert(0, (0, 0))
    starts[0] = (0, starts[0][1])
    stops = [start for start, _ in starts[1:]] + [len(content)]
    return [(start, stop, frames) for (start, frames), stop in zip(starts, stops, strict=True)]


def id3_end(content, start=0):
    """Where the ID3v2 tag at `start` ends; `start` where there is none."""
    tag = content[start : start + ID3_HEADER]
    if tag[:3] != b"ID3" or len(tag) < ID3_HEADER:
        return start
    return start + ID3_HEADER + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))


def before_id3(content, place):
    """Where the ID3v2 tag begins that ends at `place`; `place` where none does."""
    start = content.rfind(b"ID3", max(0, place - (1 << 20)), place)
    return start if start >= 0 and id3_end(content, start) == place else place
