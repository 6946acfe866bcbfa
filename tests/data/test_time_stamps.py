"""Containers that lost some of their sound, and whose time stamps say so."""

import struct

import av
import pytest
from helpers.encoding import encode, samples_of, speech_like

from data.audio import load_wave, mono_blocks, opened
from utils.errors import InputError

RATE = 48_000
CODECS = {"mka": "aac", "webm": "libopus", "wma": "wmav2", "flv": "aac"}


def three_seconds(path, **options):
    codec = CODECS[path.suffix[1:]]
    rate = 44_100 if codec in ("wmav2", "aac") else RATE
    return encode(path, codec, speech_like(3 * rate, rate), rate, bit_rate=64_000, **options)


def without_packets(path, new, lost):
    """Write `path` again as `new` without the packets that begin in the seconds `lost`."""
    with av.open(str(path)) as source, av.open(str(new), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.pts is not None and not lost[0] <= packet.pts * packet.time_base < lost[1]:
                packet.stream = stream
                out.mux(packet)
    return new


def note_of(path):
    with opened(path) as file:
        length = sum(map(len, mono_blocks(file, RATE)))
        return file.note, length / file.samplerate


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("lost", [(1, 2), (-1, 1)])
def test_a_gap_is_told(kind, lost, tmp_path):
    path = three_seconds(tmp_path / f"a.{kind}")
    assert note_of(path)[0] == ""
    note, seconds = note_of(without_packets(path, tmp_path / f"b.{kind}", lost))
    assert note in [f"by its time stamps, {gap} s of its sound are missing" for gap in ("0.9", "1.0", "1.1")]
    assert seconds == pytest.approx(2, abs=0.1)


def test_matroska_with_less_sound_than_it_promises_is_refused(tmp_path):
    path = three_seconds(tmp_path / "a.webm")
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3  # the duration, in milliseconds
    assert struct.unpack_from(">d", content, place)[0] == pytest.approx(3000, abs=30)
    path.write_bytes(content[:place] + struct.pack(">d", 4000) + content[place + 8 :])
    with pytest.raises(
        InputError, match=r"a\.webm is cut short or damaged: its header promises 4\.0 s, it has 3\.0 s$"
    ):
        load_wave(path)


def test_a_live_webm_with_a_damaged_element_is_refused(tmp_path):
    path = three_seconds(tmp_path / "a.webm", options={"live": "1"})
    assert len(samples_of(path)[2]) == 3 * RATE
    content = bytearray(path.read_bytes())
    cluster = content.index(b"\x1f\x43\xb6\x75")
    content[cluster + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"its structure is damaged at byte {cluster}\. Copy or download it again$"):
        load_wave(path)
