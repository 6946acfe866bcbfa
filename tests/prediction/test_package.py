"""The package as Python users import it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import run_script

import prediction
from data.audio import SAMPLES, load_wave
from evaluation.calibration import DEFAULT_DETECTOR
from prediction import Tracer
from prediction.settings import TraceConfig
from prediction.waveform import checked_waveform
from utils.errors import InputError
from utils.flags import configured


def test_importing_the_package_does_not_import_torch_before_it_is_used():
    code = "import sys, prediction; print('torch' in sys.modules); from prediction import Tracer; print(Tracer)"
    finished = run_script("-c", code)
    assert finished.stdout.splitlines() == ["False", "<class 'prediction.tracer.Tracer'>"], finished.stderr


def test_the_public_names_exist_and_others_do_not():
    assert all(getattr(prediction, name).__name__ == name for name in prediction.PUBLIC_NAMES)
    with pytest.raises(AttributeError, match="module prediction has no attribute Trace"):
        _ = prediction.Trace


def test_the_help_names_the_default_detector():
    help_line = TraceConfig.__dataclass_fields__["ood_detector_name"].metadata["argparse"]["help"]
    assert f"without it {DEFAULT_DETECTOR}" in help_line


def test_a_waveform_gets_the_prediction_of_its_file(tmp_path):
    wave = 0.05 * np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 22_050, subtype="FLOAT")
    tracer = Tracer.load()
    [of_file] = tracer.trace(tmp_path / "a.wav")
    of_wave = tracer.trace_wave(wave, 22_050)
    stored, given = of_file.to_dict(), of_wave.to_dict()
    assert (stored.pop("file"), given.pop("file")) == (str(tmp_path / "a.wav"), "waveform")
    assert stored.pop("probabilities") == pytest.approx(given.pop("probabilities"), abs=1e-5)
    assert stored["timeline"].pop()["end"] == pytest.approx(given["timeline"].pop()["end"])
    assert (stored["verdict"], stored["windows"], stored["sample_rate"]) == (given["verdict"], given["windows"], 22_050)
    of_wave.plot(tmp_path / "wave.png")
    of_file.plot(tmp_path / "file.png")
    assert (tmp_path / "wave.png").stat().st_size > 10_000 < (tmp_path / "file.png").stat().st_size
    views = tracer.model.views(torch.from_numpy(load_wave(tmp_path / "a.wav"))[None, :SAMPLES])
    alone = tracer.model.read(views)[0].numpy()
    crop = tmp_path / "crop.wav"
    soundfile.write(crop, load_wave(tmp_path / "a.wav")[:SAMPLES], 16_000, subtype="FLOAT")
    np.testing.assert_allclose(tracer.embed([crop, crop]), np.concatenate((alone, alone)), atol=1e-3)


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros((2, 9)), 16_000, r"waveform has the shape \[2, 9\], expected \[samples\]: give one channel"),
        (np.zeros(9, np.int16), 16_000, "waveform holds int16, expected floats from -1 to 1"),
        (np.zeros(0), 16_000, "waveform holds no sample"),
        (np.array([0, np.nan]), 16_000, "waveform holds samples that are NaN or infinite"),
        (np.zeros(9), 10, "waveform has 10 samples a second, expected a whole number from 1000 to 384000"),
        (np.zeros(9), 16_000.5, "waveform has 16000.5 samples a second"),
    ],
)
def test_a_waveform_that_cannot_be_used_is_refused(array, rate, message):
    with pytest.raises(InputError, match=message):
        checked_waveform(array, rate, "waveform")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hops": 1}, "hops is no setting of TraceConfig: expected one of gpu, "),
        ({"hop": 0}, "hop: 0 is out of range: expected 0.05 <= value < inf"),
        ({"batch_size": "many"}, "batch_size: invalid literal"),
        ({"channel": "left"}, "channel: invalid literal"),
        ({"mixed_precision": "fp8"}, "mixed_precision is 'fp8': expected one of no, bf16, fp16"),
    ],
)
def test_a_setting_that_its_flag_would_refuse_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Tracer.load(**settings)


def test_settings_are_converted_as_flags_are():
    config = configured(TraceConfig, model_folder="models/a", taxonomy_model=["b"], channel=2, min_probability=1)
    assert (config.model_folder, config.taxonomy_model) == (Path("models/a"), (Path("b"),))
    assert (config.channel, config.min_probability) == (2, 1.0)


def test_a_failure_is_false_and_holds_the_reason():
    failure = prediction.Failure("a.wav", "a.wav does not exist")
    assert not failure and failure.to_dict() == {"file": "a.wav", "error": "a.wav does not exist"}
