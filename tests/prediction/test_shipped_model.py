"""The model in pretrained/real-codecs: small, whole, without private paths, and what predict.py uses by default."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from helpers import ROOT, run_script

from data.taxonomy import describe_codec
from evaluation.calibration import read_calibration
from prediction import TraceConfig, Tracer
from utils.errors import InputError

FOLDER = ROOT / "pretrained/real-codecs"
LARGEST = 5_000_000  # bytes


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """White noise of 5 s at 16 kHz, which no codec made and which is no speech."""
    path = tmp_path_factory.mktemp("noise") / "noise コーデ.wav"
    soundfile.write(path, 0.05 * np.random.default_rng(0).standard_normal(80_000), 16_000)
    return path


def test_it_is_small_and_tells_nothing_of_the_machine_that_made_it():
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") < LARGEST
    texts = [path.read_text("utf-8") for path in files if path.suffix == ".json"]
    assert len(texts) == 3 and not any('"/' in text for text in texts)  # no absolute path


def test_every_codec_that_it_names_is_in_the_table_of_codecs():
    names = read_calibration(FOLDER).class_names
    assert names[0] == "real" and "other codec" in names
    assert all(describe_codec(name) for name in set(names) - {"real", "other codec"})


def test_it_answers_without_any_flag(noise, tmp_path):
    done = run_script("predict.py", noise, "--json", tmp_path / "out.json", "--plot", tmp_path / "plots")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # a name in another script is no trouble for the plot
    report = json.loads((tmp_path / "out.json").read_text())
    [file] = report["files"]
    assert file["detector"] == "knn" and sum(file["probabilities"].values()) == pytest.approx(1)
    assert file["verdict"] not in set(file["probabilities"]) - {"real"}  # noise is no output of a codec
    assert report["limits"].keys() == {"threshold", "codec", "real", "not_real", "level_range"}
    assert (tmp_path / "plots/noise コーデ.png").stat().st_size > 10_000


def test_the_level_of_a_recording_changes_no_verdict(tmp_path):
    wave = np.random.default_rng(1).standard_normal(80_000)
    tracer = Tracer(TraceConfig())
    files = []
    for decibel in (-40, 0, 12):
        files.append(tmp_path / f"{decibel}.wav")
        soundfile.write(files[-1], 0.02 * wave * 10 ** (decibel / 20), 16_000, subtype="FLOAT")
    first, *others = [list(prediction.probabilities.values()) for prediction in tracer.trace(files)]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "was made for another model.safetensors than the one beside it"),
        ("calibration.safetensors", "is not the file that calibration.json was written with"),
        ("calibration.json", "calibration.json is not JSON ("),
    ],
)
def test_a_damaged_file_is_named(tmp_path, noise, name, message):
    shutil.copytree(FOLDER, tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        Tracer(TraceConfig(model_folder=tmp_path / "model"))
    assert name.split(".")[0] in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "rate", "loud", "words"),
    [
        (0.2, 16_000, 0.1, "the file is too short: it has 0.20 s, at least 0.5 s are needed"),
        (3, 16_000, 0, "there is too little sound: more than half of every window is silent"),
        (3, 6_000, 0.1, "the file has 6000 samples a second, so it holds nothing above 3 kHz to look at"),
    ],
)
def test_a_file_that_shows_too_little_is_told_in_one_line(tmp_path, seconds, rate, loud, words):
    wave = loud * np.random.default_rng(0).standard_normal(int(seconds * rate))
    soundfile.write(tmp_path / "a.wav", wave, rate)
    [prediction] = Tracer(TraceConfig()).trace([tmp_path / "a.wav"])
    assert words in prediction.reason


@pytest.mark.parametrize(("format", "subtype", "verdict"), [("OGG", "OPUS", "cannot tell"), ("WAV", "PCM_16", "real")])
def test_an_opus_file_is_not_called_real(tmp_path, monkeypatch, format, subtype, verdict):
    monkeypatch.setattr(Tracer, "_decide", lambda *_: ("real", "real is the most probable"))
    path = tmp_path / "a.audio"
    soundfile.write(
        path, 0.1 * np.random.default_rng(0).standard_normal(48_000), 16_000, format=format, subtype=subtype
    )
    [prediction] = Tracer(TraceConfig()).trace([path])
    assert prediction.verdict == verdict
    hidden = ", but the file is compressed with opus, which hides the traces of a codec"
    assert prediction.reason == "real is the most probable" + hidden * (verdict != "real")


def test_the_card_says_how_many_names_are_right():
    share = json.loads((FOLDER / "held_out.json").read_text())["verdicts"]["named_right"]
    assert f"{share:.1f} % are right" in (FOLDER / "README.md").read_text("utf-8")
    assert f"{share:.0f} % are right" in (ROOT / "README.md").read_text("utf-8")
