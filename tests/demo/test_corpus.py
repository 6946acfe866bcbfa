"""The demo corpus: every condition, repeatable bytes, codecs as their cards say, and no shortcut to a class."""

import json
import shutil
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from config import Config
from data.audio import load_wave
from data.conditions import CONDITIONS
from data.measures import MEASURES, roll_off
from data.protocols import check_audio
from demo import make_corpus as make_demo_corpus
from demo import pool, vocoders
from demo.codec import codec_quality, levelled, training_speech
from demo.codec_training import train_and_save
from demo.corpus import LENGTH, PARTS
from demo.speech import SOURCES, Synthesised, rms
from demo.zoo import WEIGHTS, ZOO, ZOO_BY_CLASS, ZOO_BY_NAME
from evaluation.metrics import accuracy
from utils.errors import InputError

pytest.importorskip("espeakng_loader", reason="the demo corpus needs requirements-demo.txt")
TINY = ("--scale", "0.01")  # two utterances a part


def build(root, *flags, jobs=1):
    make_demo_corpus.main(["--data_root", str(root), "--jobs", str(jobs), *map(str, flags)])
    return root


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build(tmp_path_factory.mktemp("demo") / "tiny", *TINY)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Enough files of the closed set for statistics."""
    return build(tmp_path_factory.mktemp("demo") / "small", "--scale", "0.3", jobs=2)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_every_condition_finds_its_clips(tiny, condition):
    config = Config(data_root=tiny)
    clips = condition.clips(config)
    check_audio(clips)
    assert len(clips) >= 2
    wave = load_wave(clips[0].path)
    assert len(wave) == LENGTH and rms(wave) > 0.01


def test_manifest_names_every_class_and_counts_every_file(tiny):
    manifest = json.loads((tiny / "manifest.json").read_text())
    assert [manifest["classes"][str(label)]["name"] for label in range(12)] == ["real", *ZOO_BY_NAME]
    assert manifest["files"] == sum(path.suffix in (".wav", ".flac") for path in tiny.rglob("*"))
    rates = {part["folder"]: part["versions"][0].get("bit_rate") for part in manifest["parts"]}
    for label, count in ((3, 4), (4, 3)):
        lower = [rates[f"ID_diff_config/C{label}-{number}"] for number in range(1, count + 1)]
        assert lower == sorted(set(lower)) and lower[-1] < manifest["classes"][str(label)]["bit_rate"]


@pytest.mark.slow
def test_same_settings_give_the_same_bytes_in_any_number_of_processes(tiny, tmp_path):
    assert contents(build(tmp_path / "again", *TINY, jobs=2)) == contents(tiny)


def test_interrupted_build_continues_to_the_same_bytes(tiny, tmp_path):
    root = tmp_path / "cut"
    shutil.copytree(tiny, root)
    (root / "manifest.json").rename(root / "unfinished.json")
    for path in [*root.glob("eval_ood/*.wav"), *root.glob("train/*_3.wav"), root / "label/train.txt"]:
        path.unlink()
    untouched = (root / "dev/0000_0.wav").stat().st_mtime_ns
    assert contents(build(root, *TINY)) == contents(tiny)
    assert (root / "dev/0000_0.wav").stat().st_mtime_ns == untouched


def test_corpus_of_other_settings_is_not_continued(tiny):
    before = contents(tiny)
    with pytest.raises(InputError, match=r"other settings \(seed 688\)"):
        build(tiny, *TINY, "--seed", "1")
    assert contents(tiny) == before


def test_no_two_sources_share_a_voice_but_train_and_dev():
    voices = [set(source.voices.split()) for name, source in SOURCES.items() if name != "dev"]
    assert len(set.union(*voices)) == sum(map(len, voices))


def test_utterance_depends_on_its_seed_alone():
    speaker = Synthesised()
    first = speaker.utterance("train", [1, 2], 16_000)
    speaker.utterance("street", [3], 16_000)
    assert np.array_equal(first, speaker.utterance("train", [1, 2], 16_000))
    assert not np.array_equal(first, speaker.utterance("train", [1, 3], 16_000))


# What must not give the class away


def band_energies(wave, rate):
    """Energy of eight bands of 1 kHz in dB."""
    return [10 * np.log10(np.sum(np.abs(band) ** 2)) for band in np.array_split(np.fft.rfft(wave), 8)]


SHORTCUTS = {**MEASURES, "roll-off (Hz)": partial(roll_off, share=0.95), "band energies (dB)": band_energies}
Closed = namedtuple("Closed", "waves labels")


@pytest.fixture(scope="module")
def closed_set(small):
    """Training and test clips of the closed set."""
    config = Config(data_root=small)
    sets = []
    for name in ("train", "id"):
        clips = next(row for row in CONDITIONS if row.name == name).clips(config)
        sets.append(Closed([load_wave(clip.path) for clip in clips], np.array([clip.label for clip in clips])))
    return sets


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_shortcut_does_not_tell_the_classes_apart(closed_set, shortcut):
    from sklearn.neighbors import KNeighborsClassifier

    train, test = closed_set
    numbers = [
        np.array([np.atleast_1d(SHORTCUTS[shortcut](wave, 16_000)) for wave in part.waves]) for part in closed_set
    ]
    model = KNeighborsClassifier(15).fit(numbers[0], train.labels)
    assert accuracy(test.labels, model.predict(numbers[1])) < 0.25  # chance is 0.14


@pytest.mark.slow
def test_no_codec_delays_its_input(closed_set):
    """The lag of the highest correlation with the real version, in samples."""
    _, test = closed_set
    count = len(test.labels) // 7
    by_class = {label: [w for w, k in zip(test.waves, test.labels, strict=True) if k == label] for label in range(7)}
    for label in range(1, 7):
        lags = []
        for real, copy in zip(by_class[0][:count], by_class[label], strict=False):
            spectrum = np.fft.rfft(real) * np.conj(np.fft.rfft(copy))
            lag = int(np.argmax(np.fft.irfft(spectrum)))
            lags.append(min(lag, LENGTH - lag))
        assert np.median(lags) <= 1


def log_mel(wave):
    from torchaudio.transforms import MelSpectrogram

    return (MelSpectrogram(16_000, 512, hop_length=128, n_mels=40)(torch.from_numpy(wave)) + 1e-4).log()


def intelligibility(clean, copy):
    """STOI in [0, 1] (Taal et al., 2011): correlation of third-octave envelopes over 0.4 s."""
    clean, copy = (resample_poly(wave.astype(float), 5, 8) for wave in (clean, copy))
    frames = [np.lib.stride_tricks.sliding_window_view(wave, 256)[::128] for wave in (clean, copy)]
    power = [np.abs(np.fft.rfft(each * np.hanning(258)[1:-1], 512)) ** 2 for each in frames]
    level = 10 * np.log10(power[0].sum(1) + 1e-12)
    frequency, centres = np.arange(257) * 10_000 / 512, 150 * 2 ** (np.arange(15)[:, None] / 3)
    bands = (frequency >= centres * 2 ** (-1 / 6)) & (frequency < centres * 2 ** (1 / 6))
    x, y = (np.sqrt(each[level > level.max() - 40] @ bands.T).T for each in power)
    x, y = (np.lib.stride_tricks.sliding_window_view(each, 30, axis=1) for each in (x, y))
    y = y * np.linalg.norm(x, axis=2, keepdims=True) / (np.linalg.norm(y, axis=2, keepdims=True) + 1e-12)
    y = np.minimum(y, x * (1 + 10 ** (15 / 20)))
    x, y = (each - each.mean(2, keepdims=True) for each in (x, y))
    return ((x * y).sum(2) / (np.linalg.norm(x, axis=2) * np.linalg.norm(y, axis=2) + 1e-12)).mean()


@pytest.mark.slow
@pytest.mark.parametrize("label", range(1, 7))
def test_coded_speech_is_intelligible_and_no_copy(closed_set, label):
    _, test = closed_set
    real, copies = ([w for w, k in zip(test.waves, test.labels, strict=True) if k == wanted] for wanted in (0, label))
    mean = np.mean([intelligibility(clean, copy) for clean, copy in zip(real, copies, strict=True)])
    assert 0.7 < mean < 0.95


# Codecs


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_codec_agrees_with_its_card(row):
    card, codec = pool.read_card(row.name), pool.load_codec(row.name)
    assert (card["class"], card["VQ"], card["AUX"], card["DEC"]) == (row.label, row.vq, row.aux, row.dec)
    assert card["bit_rate"] == round(codec.bit_rate())
    assert card["parameters"] == sum(value.numel() for value in codec.state_dict().values())
    assert (WEIGHTS / f"{row.name}.safetensors").stat().st_size <= 1_500_000
    quality = codec_quality(codec)
    assert quality["si_sdr_db"] == pytest.approx(card["si_sdr_db"], abs=0.1)
    assert quality["log_spectral_distance_db"] == pytest.approx(card["log_spectral_distance_db"], abs=0.1)


@pytest.mark.parametrize("name, setting", [("alder", 2 / 6), ("hazel", 0.4), ("cedar", 0.5)])
def test_lower_bit_rate_costs_quality(name, setting):
    codec = pool.load_codec(name)
    assert codec.bit_rate(setting) < codec.bit_rate()
    assert codec_quality(codec, 4, setting)["si_sdr_db"] < codec_quality(codec, 4)["si_sdr_db"] - 0.2


@pytest.mark.parametrize("name", ["birch", pytest.param("maple", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_training_repeats_and_writes_weights_with_their_card(name, tmp_path):
    speech = training_speech(6)
    cards = [train_and_save(ZOO_BY_NAME[name], speech, tmp_path / folder, steps=2) for folder in "ab"]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert cards[0]["si_sdr_db"] == codec_quality(pool.load_codec(name, tmp_path / "a"))["si_sdr_db"]


@pytest.mark.parametrize("name", ZOO_BY_NAME)
def test_every_parameter_of_a_codec_learns(name):
    codec = pool.build_codec(ZOO_BY_NAME[name])
    wave = torch.randn(2, 4800) * 0.08
    codec.initialise(torch.randn(30, 16_000) * 0.08)
    copy, loss = codec(wave[:, : 4800 // codec.hop * codec.hop])
    (copy.square().mean() + loss).backward()
    assert [key for key, value in codec.named_parameters() if value.grad is None] == []


@torch.no_grad()
def test_utterance_vector_takes_the_level_out_of_the_codes():
    wave = levelled(torch.from_numpy(Synthesised().utterance("eval", [5], 16_000)).float()[None])[0]

    def change(name):
        loud, quiet = (pool.load_codec(name).encode(wave * factor)[0] for factor in (1, 10 ** (-6 / 20)))
        return float((loud - quiet).norm() / loud.norm())

    without = change("rowan")  # no vector: the codes follow the level, and half of it is half of them
    assert 0.4 < without < 0.6
    assert change("maple") < 0.5 * without


def test_vocoders_keep_the_length_and_the_envelope_of_speech():
    wave = Synthesised().utterance("studio", [4], 32_000)
    for vocoder in vocoders.VOCODERS.values():
        copy = vocoder(wave, np.random.default_rng(0))
        assert copy.shape == wave.shape
        bands = [log_mel(w.astype(np.float32) / np.float32(rms(w)) * 0.1).flatten() for w in (wave, copy)]
        assert np.corrcoef(*bands)[0, 1] > 0.6


def tiny_transformers_codec(kind, folder):
    """A codec of a few random weights, saved as transformers saves one."""
    import transformers

    torch.manual_seed(0)
    layers = dict(num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    positions = dict(num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    dac = dict(encoder_hidden_size=4, decoder_hidden_size=64, hidden_size=64, n_codebooks=3, codebook_size=16)
    hubert = dict(layers, hidden_size=16, conv_dim=[8] * 7, **positions)
    acoustic = dict(dac, downsampling_ratios=[2, 4, 5, 8], upsampling_ratios=[8, 5, 4, 2], model_type="dac")
    sizes = dict(codebook_size=16, codebook_dim=8, num_filters=4)
    options = {
        "Encodec": dict(sizes, hidden_size=8, upsampling_ratios=[8, 5, 4, 2]),
        "Dac": dac,
        "Mimi": dict(
            sizes, hidden_size=32, vector_quantization_hidden_dimension=8, num_quantizers=4, upsample_groups=32
        )
        | dict(layers, num_key_value_heads=2, head_dim=16),
        "Xcodec": dict(
            acoustic_model_config=transformers.DacConfig(**acoustic).to_dict(),
            semantic_model_config=transformers.HubertConfig(**hubert).to_dict(),
            codebook_size=16,
            codebook_dim=80,
        ),
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**options)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize("kind", ["Encodec", "Dac", "Mimi", "Xcodec"])
def test_codec_of_transformers_has_the_interface_of_the_zoo(kind, tmp_path):
    codec = pool.load_codec(tiny_transformers_codec(kind, tmp_path))
    wave = torch.randn(2, 16_000) * 0.1
    with torch.no_grad():
        tokens = codec.tokens(wave)
        copy = codec.speak(tokens)
    assert copy.shape[0] == 2 and abs(copy.shape[1] - 16_000) < 1600
    assert codec.states(tokens[0]).shape == tokens.shape[2:]
    assert 0 < codec.bit_rate(0.5) < codec.bit_rate()


# The user's own recordings and codecs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    speaker = Synthesised()
    for number in range(20):
        soundfile.write(folder / f"{number}.flac", speaker.utterance("street", [9, number], 20_000), 16_000)
    return folder


@pytest.mark.slow
def test_own_recordings_and_an_added_codec(recordings, tmp_path):
    source = tiny_transformers_codec("Encodec", tmp_path / "encodec")
    root = build(tmp_path / "corpus", *TINY, "--speech_dir", recordings, "--codec", source)
    lines = (root / "label/eval_ood8-11.txt").read_text().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == [str(label) for label in range(8, 13) for _ in range(2)]
    assert (root / "eval_ood/0001_12.wav").exists()
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["classes"]["12"]["name"] == source
    assert str(recordings) in manifest["classes"]["0"]["speech"]


def fails(tmp_path, message, *flags):
    with pytest.raises(InputError, match=message):
        build(tmp_path / "corpus", *TINY, *flags)
    assert not (tmp_path / "corpus").exists()


def test_unknown_codec(tmp_path):
    fails(tmp_path, "baobab is no codec: choose from larch", "--codec", "7=baobab")


@pytest.mark.parametrize("choice, message", [("13=larch", "expected 1 to 11"), ("larch", "would be two classes")])
def test_codec_of_no_class_or_of_two(tmp_path, choice, message):
    fails(tmp_path, message, "--codec", choice)


def test_codec_of_transformers_without_weights(tmp_path):
    (tmp_path / "empty").mkdir()
    fails(tmp_path, "cannot be loaded", "--codec", f"hf:{tmp_path / 'empty'}")


def test_missing_and_damaged_weights(tmp_path):
    with pytest.raises(InputError, match=r"python -m demo.train_codecs --codec larch"):
        pool.load_codec("larch", tmp_path)
    (tmp_path / "larch.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="does not hold the weights of larch"):
        pool.load_codec("larch", tmp_path)
    shutil.copy(WEIGHTS / "birch.safetensors", tmp_path / "larch.safetensors")
    with pytest.raises(InputError, match="does not hold the weights of larch"):
        pool.load_codec("larch", tmp_path)


def test_speech_folder_that_is_missing_too_small_or_unreadable(recordings, tmp_path):
    fails(tmp_path, "is not a folder", "--speech_dir", tmp_path / "nowhere")
    few = tmp_path / "few"
    few.mkdir()
    fails(tmp_path, "holds 0 audio files", "--speech_dir", few)
    damaged = tmp_path / "damaged"
    shutil.copytree(recordings, damaged)
    (damaged / "7.flac").write_bytes(b"no sound")
    fails(tmp_path, r"7\.flac cannot be decoded", "--speech_dir", damaged)
    soundfile.write(damaged / "7.flac", np.zeros(8000), 16_000)
    fails(tmp_path, r"7\.flac is silent", "--speech_dir", damaged)


def test_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(2**20))
    fails(tmp_path, "has 1 MB free")


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match="is not empty and holds no demo corpus"):
        build(tmp_path, *TINY)
    assert contents(tmp_path) == {"thesis.tex": b"important"}


def test_damaged_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text('{"settings"')
    with pytest.raises(InputError, match="is not the manifest of a demo corpus"):
        build(tmp_path, *TINY)


def test_full_corpus_has_about_two_thousand_files():
    files = sum(part.count * len(part.versions) for part in PARTS)
    assert 1800 <= files <= 2200
    assert {label for part in PARTS for label, _ in part.versions} == {0, *ZOO_BY_CLASS}
    assert Path(WEIGHTS).is_dir()
