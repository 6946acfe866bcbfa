"""Decoding: any format and rate to 16 kHz mono, only as much as needed, and a clear line for every bad file."""

import itertools
import json
from hashlib import sha256

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from helpers import shared

from data.audio import KAISER_BEST, SAMPLES, fit_length, load_wave, polyphase, resample_wave, stream_wave, windows
from utils.errors import InputError

RNG = np.random.default_rng(0)


def noise(path, seconds=0.5, rate=16_000, channels=1, **options):
    soundfile.write(path, 0.1 * RNG.standard_normal((int(seconds * rate), channels)), rate, **options)
    return path


@pytest.mark.parametrize("name", ["mono16k.wav", "mono16k.flac", "mono16k_f32.wav", "stereo16k.wav"])
def test_16_khz_files_equal_the_released_code_bit_for_bit(name):
    expected = np.load(shared("fixtures/st_codecfake/audio_loaded.npz"))[f"pinned091.{name}"]
    np.testing.assert_array_equal(load_wave(shared("fixtures/st_codecfake/audio", name)), expected)


@pytest.mark.parametrize("name", ["mono8k.wav", "mono24k.wav", "stereo44k.wav"])
def test_resampling_equals_the_pinned_resampler_away_from_the_edges(name):
    expected = np.load(shared("fixtures/st_codecfake/audio_loaded.npz"))[f"pinned091.{name}"]
    wave = load_wave(shared("fixtures/st_codecfake/audio", name))
    assert wave.shape == expected.shape
    # At the very end the pinned resampler drops part of its filter; ours does not.
    np.testing.assert_allclose(wave[200:-200], expected[200:-200], atol=4e-4)


@pytest.mark.parametrize("rate", [11_025, 11_127, 15_999, 44_099])
def test_awkward_sample_rates_keep_a_tone(tmp_path, rate):
    """The reference is the tone itself; torchaudio's table for such a rate would take gigabytes."""
    time = np.arange(2 * rate) / rate
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), rate, subtype="FLOAT")
    wave, expected = load_wave(tmp_path / "tone.wav"), 0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    assert wave.dtype == np.float32 and len(wave) == 32_000
    np.testing.assert_allclose(wave[200:-200], expected[200:-200], atol=2e-5)
    np.testing.assert_allclose(load_wave(tmp_path / "tone.wav", 9_000), wave[:9_000], atol=5e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("frames", [1, 100, 1_001, 50_000])
def test_resampling_gives_the_numbers_of_torchaudio(rate, frames):
    wave = 0.1 * np.random.default_rng(3).standard_normal(frames).astype(np.float32)
    expected = torchaudio.functional.resample(torch.from_numpy(wave), rate, 16_000, **KAISER_BEST).numpy()
    np.testing.assert_allclose(resample_wave(wave, rate), expected, atol=1e-7, rtol=0)
    assert resample_wave(wave, rate).shape == expected.shape


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100])
def test_the_filter_for_awkward_rates_is_that_of_ordinary_ones(rate):
    wave = 0.1 * np.random.default_rng(2).standard_normal(rate).astype(np.float32)
    common = np.gcd(rate, 16_000)
    np.testing.assert_allclose(polyphase(rate // common, 16_000 // common)(wave), resample_wave(wave, rate), atol=1e-5)


def test_padding_equals_the_released_code():
    cases = json.loads(shared("fixtures/st_codecfake/audio_pad.json").read_text())["pad_ramp"]
    assert len(cases) > 2
    for length, case in cases.items():
        if length != "0":  # the released code divides by zero there; ours is tested below
            wave = fit_length(np.arange(int(length), dtype=np.float32))
            assert sha256(wave.tobytes()).hexdigest() == case["sha256"], length


@pytest.mark.parametrize("length", [1, 7, SAMPLES - 1, SAMPLES, SAMPLES + 5])
def test_a_clip_repeats_from_its_start(length):
    wave = np.arange(length, dtype=np.float32)
    np.testing.assert_array_equal(fit_length(wave), wave[np.arange(SAMPLES) % length])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_reading_a_crop_equals_reading_the_file(tmp_path, rate, suffix):
    path = noise(tmp_path / f"a{suffix}", seconds=2, rate=rate, channels=2)
    whole = load_wave(path)
    assert len(whole) == 32_000
    # Convolutions of other lengths round otherwise in the last bit; nothing more may differ.
    np.testing.assert_allclose(load_wave(path, 9_000), whole[:9_000], atol=0 if rate == 16_000 else 5e-7)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".ogg", {}), (".mp3", {}), (".wav", {"subtype": "PCM_U8"}), (".wav", {"subtype": "PCM_24"}), (".aiff", {})],
)
def test_formats_of_libsndfile(tmp_path, suffix, options):
    wave = load_wave(noise(tmp_path / f"a{suffix}", **options))
    assert wave.dtype == np.float32 and len(wave) >= 8_000 and 0.05 < wave.std() < 0.2


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def test_bad_files_are_named(tmp_path):
    def message(path):
        with pytest.raises(InputError) as caught:
            load_wave(path, SAMPLES)
        return str(caught.value)

    path = tmp_path / "missing.wav"
    assert message(path) == f"{path} does not exist"
    path = tmp_path / "empty.wav"
    path.touch()
    assert message(path) == f"{path} is empty (0 bytes): copy or download it again"
    path = noise(tmp_path / "none.wav", seconds=0)
    assert message(path) == f"{path} holds no sample: copy or download it again"
    path = cut(noise(tmp_path / "cut.wav"), 5_000)
    assert message(path) == f"{path} is cut short: 11044 of its 16000 bytes of samples are missing"
    path = tmp_path / "text.wav"
    path.write_text("this is no audio at all, whatever its name says")
    assert message(path).startswith(f"{path} cannot be decoded as audio: ")
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.1, np.nan, 0.2], np.float32), 16_000, subtype="FLOAT")
    assert message(path) == f"{path} holds samples that are NaN or infinite: make it again"
    path = tmp_path / "folder.wav"
    path.mkdir()
    assert message(path).startswith(f"{path} cannot be decoded as audio: ")
    path = cut(noise(tmp_path / "cut.flac"), 4_000)
    assert str(path) in message(path)


def test_a_streamed_wav_of_unknown_length_is_read(tmp_path):
    path = noise(tmp_path / "stream.wav")
    content = bytearray(path.read_bytes())
    expected = load_wave(path)
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    np.testing.assert_array_equal(load_wave(path), expected)


def test_an_empty_waveform_cannot_be_tiled():
    with pytest.raises(InputError, match="holds no sample"):
        fit_length(np.zeros(0, np.float32))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("frames", [3001, 22_050 * 3, 22_050 * 7 + 1])
def test_a_stream_is_the_whole_file_in_blocks(tmp_path, rate, frames):
    path = tmp_path / "clip.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(1).standard_normal((frames, 2)), rate)
    blocks = list(stream_wave(path, seconds=1))
    np.testing.assert_allclose(np.concatenate(blocks), load_wave(path), atol=1e-6)
    assert len(blocks) > 1 or frames < 2 * rate
    assert max(map(len, blocks)) < 3 * 16_000  # however long the file


@pytest.mark.parametrize("length", [1, 99, 100, 101, 149, 150, 151, 1000, 1001])
@pytest.mark.parametrize("block", [7, 100, 333])
@pytest.mark.parametrize("hop", [1, 50, 100])
def test_windows_cover_the_waveform_to_its_end(length, block, hop):
    wave = np.arange(length, dtype=np.float32)
    found = list(windows((wave[start : start + block] for start in range(0, length, block)), hop, samples=100))
    starts = [start for start, _, _ in found]
    assert starts[:-1] == [hop * number for number in range(len(found) - 1)] and found[-1][1] == length
    assert starts == sorted(set(starts)) and all(b - a <= hop for a, b in itertools.pairwise(starts))
    for start, stop, samples in found:
        expected = wave[start:stop] if length >= 100 else np.resize(wave, 100)
        np.testing.assert_array_equal(samples, expected)


def test_a_stream_of_a_file_that_is_cut_short_names_it(tmp_path):
    path = tmp_path / "clip.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(1).standard_normal(64_000), 16_000)
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(InputError, match=r"clip\.flac is cut short|clip\.flac cannot be decoded"):
        list(stream_wave(path, seconds=1))


def test_a_file_that_is_called_raw_is_refused(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"a\.raw cannot be decoded as audio: "):
        load_wave(path)


@pytest.mark.parametrize("kind", ["AVR", "IRCAM", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "SDS", "SVX", "VOC"])
def test_rare_formats_are_refused_with_the_remedy(kind, tmp_path):
    """Half of such a file, or two that were joined, would be read as one."""
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, np.full(8000, 0.1), 8000, format=kind)
    with pytest.raises(InputError) as caught:
        load_wave(path)
    message = f"{kind} files are not read. If it is audio, convert it: ffmpeg -i IN -ar 16000 OUT.wav"
    assert str(caught.value) == f"{path} cannot be decoded as audio: {message}"
