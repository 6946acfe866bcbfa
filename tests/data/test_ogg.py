"""Ogg files that programs wrote wrongly, or that lost some bytes: all samples are read, or the file is refused."""

import struct

import numpy as np
import pytest
import soundfile
from helpers.encoding import samples_of, speech_like

from data.ogg_pages import ogg_checksum, ogg_pages
from utils.errors import InputError

FRAMES = 240_000  # five seconds
POSITION = 6  # bytes of a page before its position
NUMBER = 18


@pytest.fixture(scope="module", params=["OPUS", "VORBIS"])
def pages(request, tmp_path_factory):
    """The pages of an Ogg file, bytes."""
    path = tmp_path_factory.mktemp("ogg") / "a.ogg"
    soundfile.write(path, speech_like(FRAMES, 48_000), 48_000, format="OGG", subtype=request.param)
    content = path.read_bytes()
    return [content[start:stop] for start, stop, _ in ogg_pages(content)]


def write_pages(path, pages, position=lambda old: old, skipped=0):
    """Write `pages`, those with sound at other positions and with `skipped` added to their numbers. Returns `path`."""
    changed = []
    for page in map(bytearray, pages):
        (old,) = struct.unpack_from("<q", page, POSITION)
        (number,) = struct.unpack_from("<I", page, NUMBER)
        if old > 0:
            struct.pack_into("<q", page, POSITION, position(old))
            struct.pack_into("<I", page, NUMBER, number + skipped)
        struct.pack_into("<I", page, 22, ogg_checksum(bytes(page)))
        changed.append(bytes(page))
    path.write_bytes(b"".join(changed))
    return path


def test_the_checksum_is_that_of_the_pages(pages):
    assert all(struct.unpack_from("<I", page, 22)[0] == ogg_checksum(page) for page in pages)


def test_a_page_that_is_missing_or_damaged_is_told(pages, tmp_path):
    path = tmp_path / "a.ogg"
    damaged = bytearray(pages[4])
    damaged[-5] ^= 1
    for changed in (pages[:4] + pages[5:], pages[:3] + pages[4:], [*pages[:4], bytes(damaged), *pages[5:]]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(InputError) as caught:
            samples_of(path)
        message = "some of its Ogg pages are missing or damaged. Copy or download it again"
        assert str(caught.value) == f"{path} cannot be decoded as audio: {message}"


def test_a_recording_of_a_web_radio_begins_at_a_late_position(pages, tmp_path):
    path = write_pages(tmp_path / "a.ogg", pages, position=lambda old: old + 48_000 * 3600, skipped=5_000)
    expected = samples_of(write_pages(tmp_path / "b.ogg", pages))[2]
    assert len(expected) == FRAMES
    np.testing.assert_array_equal(samples_of(path)[2], expected)


@pytest.mark.parametrize("pages", ["OPUS"], indirect=True)
@pytest.mark.parametrize("position", [lambda old: old // 3, lambda old: 0, lambda old: old - 24_000])
def test_opus_with_wrong_positions_is_read_to_its_end(pages, position, tmp_path):
    """Programs that count a packet of 60 ms as 20 ms write a third."""
    expected = samples_of(write_pages(tmp_path / "b.ogg", pages))[2]
    found = samples_of(write_pages(tmp_path / "a.ogg", pages, position))[2]
    assert FRAMES <= len(found) < FRAMES + 960  # up to a packet of padding
    assert np.corrcoef(found[:FRAMES], expected)[0, 1] > 0.999


@pytest.mark.parametrize(
    "position",
    [lambda old: -1, lambda old: -1 if old > FRAMES / 2 else old, lambda old: old if old < FRAMES else old // 2],
    ids=["none", "none in the second half", "the last is that of the middle"],
)
def test_positions_that_are_missing_or_go_back_cost_no_sound(pages, position, tmp_path):
    """FFmpeg reads Vorbis by its packets, but refuses Opus without positions. libsndfile gives a part of both."""
    path = write_pages(tmp_path / "a.ogg", pages, position)
    if b"OpusHead" in pages[0] and position(FRAMES) == -1:
        with pytest.raises(InputError, match=r"a\.ogg is cut short or damaged after "):
            samples_of(path)
    else:
        assert FRAMES <= len(samples_of(path)[2]) < FRAMES + 960
