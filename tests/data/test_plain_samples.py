"""Samples without compression: read to the end that the header promises, or what is wrong with the header is told."""

import itertools
import struct

import numpy as np
import pytest
import soundfile
from helpers.encoding import samples_of, speech_like

from data.audio import load_wave
from utils.errors import InputError


@pytest.mark.parametrize("riff", [0, 36, 0x7FFFF024, 0xFFFFFFFF])
@pytest.mark.parametrize("data", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_wav_that_was_streamed_is_read_to_its_end(riff, data, subtype, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(10_001, 16_000, 2), 16_000, subtype=subtype)
    expected = load_wave(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = struct.pack("<I", riff)
    content[place : place + 4] = struct.pack("<I", data)
    path.write_bytes(content)
    np.testing.assert_array_equal(load_wave(path)[: len(expected)], expected)
    assert len(load_wave(path)) - len(expected) in (0, 1)  # a byte that fills up an odd length


@pytest.mark.parametrize("behind", [5_000, 1 << 32])
@pytest.mark.parametrize(
    ("form", "option"), [("WAV", "-ignore_length 1 "), ("AU", ""), ("NIST", ""), ("AIFF", ""), ("CAF", "")]
)
def test_more_samples_than_the_header_promises_are_told(form, option, behind, tmp_path):
    """So are the samples beyond 4 GiB of a WAV file, which its header cannot say."""
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(10_000, 16_000), 16_000, format=form, subtype="PCM_16")
    end = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(end + behind // 2)
        file.write(bytes(range(200, 256)))
        file.truncate(end + behind)  # takes no space on the disk
    with pytest.raises(InputError) as caught:
        samples_of(path)
    assert str(caught.value) == (
        f"{path} cannot be decoded as audio: {behind} bytes lie behind the samples that its header promises. If they"
        f" are samples too, convert it: ffmpeg {option}-i IN -ar 16000 OUT.wav; if not, cut them off:"
        f" head -c {end} IN > OUT"
    )


@pytest.mark.parametrize(
    ("form", "behind"),
    [
        *itertools.product(["WAV", "AIFF", "AU", "NIST", "W64", "CAF"], [bytes(9_000), b"\x99" * 500]),
        ("WAV", b"LIST\x28\x23\0\0" + b"\x99" * 9_000),
        ("AIFF", b"ANNO\0\0\x23\x28" + b"\x99" * 9_000),
    ],
)
def test_what_else_lies_behind_the_samples_is_no_sound(form, behind, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(10_000, 16_000), 16_000, format=form, subtype="PCM_16")
    expected = load_wave(path)
    path.write_bytes(path.read_bytes() + behind)
    np.testing.assert_array_equal(load_wave(path), expected)


def test_a_wav_with_two_chunks_of_samples_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(10_000, 16_000), 16_000)
    content = path.read_bytes()
    for between in (b"", b"LIST\4\0\0\0INFO"):
        path.write_bytes(content + between + content[36:])
        with pytest.raises(InputError, match=r"several chunks of samples, .* read one of them\. Export it again$"):
            samples_of(path)


def test_a_wav_with_an_odd_chunk_without_its_pad_byte_is_told_with_a_remedy(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(10_000, 16_000), 16_000)
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"LIST\x0f\0\0\0INFOIART\3\0\0\0abc" + content[36:])
    with pytest.raises(InputError, match=r"No 'data' chunk marker\. Copy or download it again, or export it again$"):
        samples_of(path)


@pytest.mark.parametrize("form", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"])
def test_half_a_file_of_plain_samples_is_refused(form, tmp_path):
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, speech_like(10_000, 16_000), 16_000, format=form, subtype="PCM_16")
    assert len(load_wave(path)) == 10_000
    content = path.read_bytes()
    for keep in (len(content) // 2, len(content) - 2 if form != "CAF" else len(content) - 100):
        path.write_bytes(content[:keep])
        with pytest.raises(InputError, match=f"{path} is cut short: "):
            load_wave(path)
