"""Files that libsndfile refuses or mis-measures: the number of samples is what was encoded; a cut file is named."""

import struct
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile
from helpers import ROOT
from helpers.encoding import encode, film_without_sound, samples_of, speech_like, vbr_mp3

from data.audio import load_wave, stream_wave
from utils.errors import InputError

FRAMES = 30_001

# name: codec, sample rate, channels, frames of the result, least correlation with what was encoded, more for encode()
FILES = {
    "phone.m4a": ("aac", 44_100, 2, FRAMES, 0.99, {}),
    "web.m4a": ("aac", 48_000, 1, FRAMES, 0.99, {"options": {"movflags": "faststart"}}),
    "whole.m4a": ("alac", 44_100, 2, FRAMES, 0.9999, {"sample_format": "s16p"}),
    "film.mp4": ("aac", 44_100, 2, FRAMES, 0.99, {"video": True}),
    "film.mov": ("aac", 48_000, 1, FRAMES, 0.99, {"video": True}),
    "pcm.mov": ("pcm_s16be", 44_100, 1, FRAMES, 0.9999, {}),
    "film.mkv": ("libopus", 48_000, 1, FRAMES, 0.99, {"video": True}),
    "flac.mka": ("flac", 16_000, 1, FRAMES, 0.9999, {}),
    "browser.webm": ("libopus", 48_000, 1, FRAMES, 0.99, {}),
    "live.webm": ("libopus", 48_000, 1, FRAMES, 0.99, {"options": {"live": "1"}}),
    "talk.opus": ("libopus", 48_000, 1, FRAMES, 0.99, {}),
    "talk.mp3": ("libmp3lame", 44_100, 2, FRAMES, 0.99, {}),
    "call.3gp": ("libopencore_amrnb", 8_000, 1, FRAMES, None, {"bit_rate": 12_200}),
    "call.amr": ("libopencore_amrnb", 8_000, 1, 30_080, None, {"bit_rate": 12_200}),  # whole frames of 160
    "raw.aac": ("aac", 44_100, 1, 30 * 1024 + 1024, None, {}),  # whole frames: no container says what is padding
    "old.wma": ("wmav2", 44_100, 1, 14 * 2048, None, {"bit_rate": 64_000}),  # FFmpeg gives whole frames
    "old.avi": ("libmp3lame", 44_100, 1, 28 * 1152, None, {"video": True}),
    "old.mp2": ("mp2", 44_100, 1, 27 * 1152, None, {}),
    "whole.wv": ("wavpack", 44_100, 1, FRAMES, 0.9999, {"sample_format": "s16p"}),
    "whole.flac": ("flac", 44_100, 2, FRAMES, 0.9999, {"sample_format": "s32"}),
    "ulaw.wav": ("pcm_mulaw", 8_000, 1, FRAMES, 0.999, {}),
    "mp3.wav": ("libmp3lame", 44_100, 1, 28 * 1152, None, {}),
    "pcm.aiff": ("pcm_s24be", 44_100, 1, FRAMES, 0.9999, {}),
    "alac.caf": ("alac", 44_100, 1, FRAMES, 0.9999, {"sample_format": "s16p"}),
    "flac.ogg": ("flac", 44_100, 1, FRAMES, 0.9999, {}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: (path, wave that was encoded [FRAMES, channels])}."""
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for name, (codec, rate, channels, _, _, more) in FILES.items():
        wave = speech_like(FRAMES, rate, channels)
        made[name] = encode(folder / name, codec, wave, rate, **more), wave
    return made


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_samples_that_were_encoded(name, files):
    _, rate, channels, frames, least, _ = FILES[name]
    path, wave = files[name]
    found_rate, found_channels, found = samples_of(path)
    assert (found_rate, found_channels, len(found)) == (rate, channels, frames)
    assert found.dtype == np.float32 and 0.05 < found.std() < 0.4
    if least:
        assert np.corrcoef(found, wave.mean(axis=1))[0, 1] > least


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_file_that_ends_early_is_named(name, keep, files, tmp_path):
    content = files[name][0].read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="is cut short") as caught:
        samples_of(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("name", ["phone.m4a", "talk.mp3", "browser.webm", "film.mkv", "whole.flac", "pcm.aiff"])
def test_the_content_decides_not_the_extension(name, files, tmp_path):
    expected = load_wave(files[name][0])
    for suffix in (".wav", ".mp3", ".m4a", ".dat", ""):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(files[name][0].read_bytes())
        np.testing.assert_array_equal(load_wave(path), expected)


@pytest.mark.parametrize("name", ["phone.m4a", "talk.mp3", "call.3gp"])
def test_a_crop_and_a_stream_are_parts_of_the_whole(name, files):
    path = files[name][0]
    whole = load_wave(path)
    assert len(whole) == -(-16_000 * FRAMES // FILES[name][1])
    np.testing.assert_allclose(load_wave(path, 5_000), whole[:5_000], atol=5e-7)
    np.testing.assert_allclose(np.concatenate(list(stream_wave(path, seconds=0.1))), whole, atol=1e-6)


def test_a_long_file_is_read_in_blocks(tmp_path):
    path = encode(tmp_path / "long.m4a", "aac", np.tile(speech_like(16_000, 16_000), (90, 1)), 16_000)
    blocks = list(stream_wave(path, seconds=10))
    assert sum(map(len, blocks)) == 90 * 16_000 and max(map(len, blocks)) < 25 * 16_000


def test_pauses_that_a_phone_does_not_send_are_in_its_recording(tmp_path):
    wave = speech_like(FRAMES, 8_000)
    wave[8_000:24_000] *= 1e-4
    options = {"bit_rate": 12_200, "codec_options": {"dtx": "1"}}
    for name, frames in (("a.amr", FILES["call.amr"][3]), ("a.3gp", FRAMES)):
        paths = [tmp_path / f"{kind}-{name}" for kind in ("short", "whole")]
        encode(paths[0], "libopencore_amrnb", wave, 8_000, **options)
        encode(paths[1], "libopencore_amrnb", wave, 8_000, bit_rate=12_200)
        assert paths[0].stat().st_size < 0.7 * paths[1].stat().st_size
        found = samples_of(paths[0])[2]
        assert len(found) == frames and found[9_000:23_000].std() < 0.01 < found[:8_000].std()


# ---- MP3 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mp3_of_variable_bit_rate_is_read_to_its_end(rate, tmp_path):
    """The first half is quiet, so that a length that is guessed from its bit rate is wrong."""
    wave = speech_like(10 * rate, rate)
    wave[: 5 * rate] *= 1e-3
    assert len(samples_of(vbr_mp3(tmp_path / "with.mp3", wave, rate, xing=True))[2]) == 10 * rate
    path = vbr_mp3(tmp_path / "without.mp3", wave, rate, xing=False)
    frame = 576 if rate == 16_000 else 1152
    # Without a tag nobody knows what is padding: whole frames.
    assert 10 * rate <= len(samples_of(path)[2]) <= 10 * rate + 3 * frame
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"cut\.mp3 is cut short: its last packet is not complete"):
        samples_of(cut)


TAGS = {
    "ID3v1": b"TAG" + bytes(125),
    "APE": b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0xA0000000),
    "lyrics": b"LYRICSBEGIN" + b"la la " * 30 + b"000191LYRICS200TAG" + bytes(125),
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_behind_an_mp3_is_no_cut(tag, files, tmp_path):
    path = tmp_path / "tagged.mp3"
    path.write_bytes(files["talk.mp3"][0].read_bytes() + TAGS[tag])
    assert len(samples_of(path)[2]) == FRAMES


def test_zeros_around_an_mp3_are_no_cut(files, tmp_path):
    """FFmpeg then does not believe the header's length: some of the padding stays."""
    path = tmp_path / "padded.mp3"
    for before, behind in ((0, 3000), (3000, 0)):
        path.write_bytes(bytes(before) + files["talk.mp3"][0].read_bytes() + bytes(behind))
        assert FRAMES <= len(samples_of(path)[2]) <= FRAMES + 2 * 1152


def test_an_mp3_that_begins_within_a_frame_is_read(files, tmp_path):
    """Recordings of radio begin so."""
    path = tmp_path / "radio.mp3"
    path.write_bytes(files["talk.mp3"][0].read_bytes()[2_000:])
    assert 20_000 < len(samples_of(path)[2]) < FRAMES


def test_an_mp3_that_ends_between_two_frames_is_cut_by_its_header(files, tmp_path):
    content = files["talk.mp3"][0].read_bytes()
    path = tmp_path / "a.mp3"
    ends = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xfb"]
    path.write_bytes(content[: ends[len(ends) // 2]])
    with pytest.raises(InputError, match=r"a\.mp3 is cut short: its header promises 28 packets, it has 1\d$"):
        samples_of(path)


# ---- FLAC -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def flac(tmp_path):
    """(path of a FLAC file, its samples)."""
    path = tmp_path / "a.flac"
    soundfile.write(path, speech_like(50_001, 16_000), 16_000)
    return path, load_wave(path)


def without_length(content):
    """A FLAC file as a program that streams writes it: 0 samples in all, which means unknown."""
    content = bytearray(content)
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def test_flac_of_unknown_length_is_read_to_its_end(flac):
    path, expected = flac
    path.write_bytes(without_length(path.read_bytes()))
    np.testing.assert_array_equal(load_wave(path), expected)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"a\.flac is cut short"):
        load_wave(path)


@pytest.mark.skipif(av.__version__ < "18", reason="FFmpeg 8.0, of PyAV 17, refuses the frame before such bytes")
def test_flac_with_lost_sync_is_read_by_the_second_decoder(flac):
    """Bytes that are no frame lie between two frames: libsndfile gives up; every sample is there."""
    path, expected = flac
    content = path.read_bytes()
    middle = content.index(b"\xff\xf8", len(content) // 2)
    path.write_bytes(content[:middle] + bytes(range(1, 200)) * 10 + content[middle:])
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(path)
    np.testing.assert_array_equal(load_wave(path), expected)
    np.testing.assert_array_equal(np.concatenate(list(stream_wave(path, seconds=0.5))), expected)


@pytest.mark.parametrize("frames", [4_000, 25_000, 45_000])
def test_flac_with_more_samples_than_its_header_promises_is_refused(frames, flac):
    path, expected = flac
    content = bytearray(path.read_bytes())
    content[22:26] = frames.to_bytes(4, "big")
    path.write_bytes(content)
    np.testing.assert_array_equal(load_wave(path, frames - 1), expected[: frames - 1])
    message = f"holds more than the {frames} samples that its header promises. Convert it: ffmpeg -i IN"
    with pytest.raises(InputError, match=message):
        load_wave(path)


def test_a_damaged_frame_of_flac_is_never_left_out(flac):
    path, _ = flac
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac is cut short|a\.flac is damaged|a\.flac cannot be decoded"):
        load_wave(path)


# ---- ALAC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2048, 30_001, 30_720, 32_768])
@pytest.mark.parametrize("suffix", ["caf", "m4a", "mka"])
def test_alac_of_any_length_is_whole(frames, suffix, tmp_path):
    """Of CAF, FFmpeg itself leaves the last packet out where it is half full."""
    wave = speech_like(frames, 16_000)
    path = encode(tmp_path / f"a.{suffix}", "alac", wave, 16_000, sample_format="s16p")
    np.testing.assert_allclose(load_wave(path), wave[:, 0], atol=1e-4)


# ---- what is no audio -----------------------------------------------------------------------------------------------

MAGIC = {
    "m4a": b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42",
    "webm": b"\x1aE\xdf\xa3",
    "mp3": b"\xff\xfb\x90\x44",
    "id3": b"ID3\x04\0\0\0\0\0\0",
    "wma": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "amr": b"#!AMR\n",
    "ogg": b"OggS\0\x02",
    "flac": b"fLaC",
    "riff": b"RIFF\xff\xff\0\0AVI ",
    "caf": b"caff\0\1\0\0",
    "ts": b"G",
    "mpg": b"\0\0\1\xba",
}


@pytest.mark.parametrize("kind", MAGIC)
@pytest.mark.parametrize("tail", ["noise", "zeros", "none"])
def test_garbage_behind_the_right_magic_is_named(kind, tail, tmp_path):
    path = tmp_path / f"a.{kind}"
    noise = np.random.default_rng(0).bytes(5_000)
    path.write_bytes(MAGIC[kind] + {"noise": noise, "zeros": bytes(5_000), "none": b""}[tail])
    with pytest.raises(InputError, match=f"{path} "):
        load_wave(path)


def test_the_transport_stream_of_a_camera_is_checked(tmp_path):
    path = tmp_path / "a.mts"
    wave = speech_like(FRAMES, 48_000, 2)
    encode(path, "ac3", wave, 48_000, container="mpegts", options={"mpegts_m2ts_mode": "1"})
    assert len(samples_of(path)[2]) == 20 * 1536
    path.write_bytes(path.read_bytes()[:9_999])
    with pytest.raises(InputError, match=r"a\.mts is cut short: 177 of its 10176 bytes are missing"):
        samples_of(path)


def test_a_recording_that_was_not_finished_is_told(files, tmp_path):
    content = files["phone.m4a"][0].read_bytes()
    index = content.index(b"moov") - 4
    length = content.index(b"mdat") - 4
    path = tmp_path / "a.m4a"
    for unfinished in (content[:index], content[:length] + bytes(4) + content[length + 4 : index]):
        path.write_bytes(unfinished)
        with pytest.raises(InputError, match=r"no index \(moov\), since its recording was not finished\. Repair it"):
            load_wave(path)


def test_a_film_without_sound_is_named(tmp_path):
    path = film_without_sound(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=f"{path} holds no audio, only: video"):
        load_wave(path)


@pytest.mark.parametrize("name", ["a.xyz", "a.mp3", "a.wav", "a.m4a"])
def test_a_format_that_nobody_reads_is_named_with_the_remedy(name, tmp_path):
    path = tmp_path / name
    path.write_text("<html>not found</html>" * 100)
    message = "its format is not recognised. If it is audio, convert it: ffmpeg -i IN -ar 16000 OUT.wav"
    with pytest.raises(InputError) as caught:
        load_wave(path)
    assert str(caught.value) == f"{path} cannot be decoded as audio: {message}"


@pytest.mark.parametrize(
    "content", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n", "ffconcat version 1.0\nfile {0}\n"]
)
def test_a_playlist_opens_no_other_file(content, files, tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text(content.format(files["raw.aac"][0]))
    with pytest.raises(InputError, match="its format is not recognised"):
        load_wave(path)


def test_names_are_never_addresses(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:a.m4a", "concat:b|c.m4a", "data:%d.m4a"):
        (tmp_path / name).write_bytes(files["phone.m4a"][0].read_bytes())
        assert samples_of(name)[2].shape == (FRAMES,)


def test_pyav_is_imported_only_for_its_files(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech_like(1_000, 16_000), 16_000)
    code = "import sys; from data.audio import load_wave; load_wave(sys.argv[1]); print('av' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.wav"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
