"""Files made of several by writing one after the other: all parts are read, or the file is refused by name."""

import numpy as np
import pytest
import soundfile
from helpers.encoding import encode, samples_of, speech_like, vbr_mp3

from data.audio import load_wave
from utils.errors import InputError


def join(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def ogg(path, frames, rate, channels=1, seed=0, subtype="VORBIS"):
    soundfile.write(path, speech_like(frames, rate, channels, seed), rate, format="OGG", subtype=subtype)
    return path


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_links_of_a_chained_ogg_are_read(subtype, tmp_path):
    parts = [ogg(tmp_path / f"{n}.ogg", n, 16_000, seed=n, subtype=subtype) for n in (20_001, 9_000, 31_000)]
    path = join(tmp_path / "chain.ogg", *parts)
    expected = np.concatenate([samples_of(part)[2] for part in parts])
    assert len(expected) == 60_001
    np.testing.assert_array_equal(samples_of(path)[2], expected)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"chain\.ogg is cut short"):
        samples_of(path)


def test_links_of_different_rates_or_channels_are_refused_by_name(tmp_path):
    one = ogg(tmp_path / "1.ogg", 20_000, 16_000)
    for number, other in enumerate([ogg(tmp_path / "2.ogg", 9_000, 8_000), ogg(tmp_path / "3.ogg", 9_000, 16_000, 2)]):
        path = join(tmp_path / f"chain{number}.ogg", one, other)
        with pytest.raises(InputError, match=r"part 2 has .*Convert it: ffmpeg -i IN -ar 16000 OUT\.wav") as caught:
            samples_of(path)
        assert str(path) in str(caught.value)


def test_all_parts_of_a_joined_mp3_are_read(tmp_path):
    parts = [vbr_mp3(tmp_path / f"{n}.mp3", speech_like(n, 16_000), 16_000, xing=True) for n in (20_001, 9_000, 31_000)]
    path = join(tmp_path / "joined.mp3", *parts)
    expected = np.concatenate([samples_of(part)[2] for part in parts])
    assert len(expected) == 60_001
    np.testing.assert_array_equal(samples_of(path)[2], expected)
    slower = vbr_mp3(tmp_path / "slower.mp3", speech_like(9_000, 24_000), 24_000, xing=True)
    with pytest.raises(InputError, match="part 2 has 24000"):
        samples_of(join(tmp_path / "other.mp3", parts[0], slower))


def test_joined_mp3_without_tags_is_read(tmp_path):
    parts = [vbr_mp3(tmp_path / f"{n}.mp3", speech_like(n, 16_000), 16_000, xing=False) for n in (20_001, 31_000)]
    lengths = [len(samples_of(part)[2]) for part in parts]
    assert len(samples_of(join(tmp_path / "joined.mp3", *parts))[2]) == pytest.approx(sum(lengths), abs=2 * 576)


CODECS = {".m4a": "aac", ".amr": "libopencore_amrnb", ".flv": "aac", ".mka": "flac"}
FORMATS = {".rf64": "RF64", ".rifx": "WAV", ".au": "AU", ".w64": "W64", ".sph": "NIST", ".caf": "CAF"}


def write_sound(path, frames, rate=16_000, channels=1, seed=0):
    """A file of the kind that its suffix names."""
    wave = speech_like(frames, rate, channels, seed)
    if path.suffix in CODECS:
        return encode(path, CODECS[path.suffix], wave, rate)
    endian = "BIG" if path.suffix == ".rifx" else None
    soundfile.write(path, wave, rate, format=FORMATS.get(path.suffix), endian=endian)
    return path


@pytest.mark.parametrize(
    "suffix", [".wav", ".rf64", ".rifx", ".aiff", ".m4a", ".au", ".w64", ".sph", ".caf", ".mka", ".flv"]
)
def test_all_parts_of_a_joined_file_are_read(suffix, tmp_path):
    lengths = (20_001, 9_000, 31_000)
    parts = [write_sound(tmp_path / f"{n}{suffix}", n, seed=n) for n in lengths]
    path = join(tmp_path / f"joined{suffix}", *parts)
    expected = np.concatenate([samples_of(part)[2] for part in parts])
    assert suffix in (".m4a", ".flv") or len(expected) == 60_001
    np.testing.assert_array_equal(samples_of(path)[2], expected)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=rf"joined\{suffix} is cut short"):
        samples_of(path)
    path.write_bytes(whole[: len(parts[0].read_bytes()) + 700])
    with pytest.raises(InputError, match=rf"joined\{suffix} is (cut short|damaged)"):
        samples_of(path)
    slower = write_sound(tmp_path / f"slower{suffix}", 9_000, 8_000)
    with pytest.raises(InputError, match="part 2 has 8000"):
        samples_of(join(tmp_path / f"other{suffix}", parts[0], slower))


def test_joined_flac_is_read_as_far_as_a_crop_needs_and_else_refused_by_name(tmp_path):
    parts = [write_sound(tmp_path / f"{n}.flac", n, seed=n) for n in (20_001, 9_000)]
    path = join(tmp_path / "a.flac", *parts)
    np.testing.assert_array_equal(load_wave(path, 20_000), samples_of(parts[0])[2][:20_000])
    byte = parts[0].stat().st_size
    for samples in (20_001, None):
        with pytest.raises(InputError, match=rf"a\.flac is 2 FLAC files, .* only the first: split it at byte {byte}$"):
            load_wave(path, samples)


def test_wav_that_a_program_streamed_is_joined_at_the_next_head(tmp_path):
    parts = [write_sound(tmp_path / f"{n}.wav", n, seed=n) for n in (20_001, 9_000)]
    expected = np.concatenate([samples_of(part)[2] for part in parts])
    for part in parts:
        content = bytearray(part.read_bytes())
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
        part.write_bytes(content)
    np.testing.assert_array_equal(samples_of(join(tmp_path / "a.wav", *parts))[2], expected)


def test_joined_amr_is_read_without_noise_from_the_second_header(tmp_path):
    parts = [write_sound(tmp_path / f"{n}.amr", n, rate=8_000, seed=n) for n in (20_001, 9_000)]
    expected = np.concatenate([samples_of(part)[2] for part in parts])
    np.testing.assert_array_equal(samples_of(join(tmp_path / "a.amr", *parts))[2], expected)


def test_joined_films_with_other_streams_are_refused_by_name(tmp_path):
    one = encode(tmp_path / "1.ts", "aac", speech_like(20_001, 16_000), 16_000)
    options = {"mpegts_start_pid": "0x300", "mpegts_service_id": "2", "mpegts_pmt_start_pid": "0x1010"}
    two = encode(tmp_path / "2.ts", "aac", speech_like(90_001, 16_000), 16_000, options=options)
    with pytest.raises(InputError, match=r"has a stream that begins after the others, .*: split it, or convert it"):
        samples_of(join(tmp_path / "a.ts", one, two))
