"""Every two scripts that write into the same folder, started at the same moment: one waits or is refused by name.

Afterwards every file is whole, and files that belong together are of one run.
"""

import re
import shutil
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from helpers.interruption import run_together

from evaluation.calibration import read_calibration, threshold_that_keeps
from evaluation.freshness import ITSELF
from models.weights import checkpoint_in, read_checkpoint
from prediction.registry import read_registry
from utils.errors import InputError

pytestmark = pytest.mark.slow

REFUSED = "is in use by process"
TRACING = ("source_tracing_id", "source_tracing_ood", "source_tracing_id_other", "report", "evaluate_id_f1")
WRITING_MODELS = ("main_train", "calibrate 0.8", "calibrate 0.7", "enroll", "share_model")


class Run(NamedTuple):
    """A traced and reported run, from which every pair starts with a copy, and its corpus."""

    folder: object
    corpus: object
    clips: list  # of a source to enrol


@pytest.fixture(scope="module")
def base(trained, calibrated, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    for part, source in (("model", calibrated), ("save_feats", calibrated), ("result", trained)):
        shutil.copytree(source / part, folder / part)
    clips = [folder / f"square_{number}.wav" for number in range(5)]
    rng = np.random.default_rng(3)
    for path in clips:
        wave = 0.2 * np.sign(np.sin(2 * np.pi * 95 * np.arange(8000) / 16_000))
        soundfile.write(path, wave + 0.01 * rng.standard_normal(len(wave)), 16_000)
    run = Run(folder, corpus, clips)
    for script in ("evaluate_id_f1", "report"):
        [(status, output)] = run_together(command(script, run, folder))
        assert status == 0, output
    return run


def command(name, base, folder):
    """(script, flags) of a script, named with its --tpr where it has one, on the copy `folder` of the run `base`."""
    script, *tpr = name.split()
    model, corpus = ["--model_folder", folder / "model"], ["--data_root", base.corpus]
    places = ["--result", folder / "result", "--save_feats", folder / "save_feats"]
    flags = {
        "main_train": [*corpus, "-o", folder / "model", "--model", "mellcnn", "--num_epochs", 2, "--batch_size", 7],
        "calibrate": [*corpus, *model, *places[2:], "--tpr", *tpr],
        "enroll": ["square", *base.clips, *model, "--registry", folder / "model/registry.safetensors", "--replace"],
        "share_model": [folder / "model", "--to", folder / "shared"],
        "report": [*corpus, *model, *places, "--resamples", 20],
        "evaluate_id_f1": [*corpus, *places[:2], "--resamples", 20, "--json", folder / "result/id_f1.json"],
    }
    flags["main_train"] += ["--continue_training", "--num_workers", 0]
    return script, flags.get(script, [*corpus, *model, *places, "--num_workers", 0, "--batch_size", 7])


def run_pair(pair, base, folder):
    """Start both scripts on a copy of the run; gives [whether each has ended well]."""
    for part in ("model", "result", "save_feats"):
        shutil.copytree(base.folder / part, folder / part)
    ended = run_together(*(command(name, base, folder) for name in pair))
    for status, output in ended:
        assert status == 0 or (status == 2 and output.count("\n") == 1 and REFUSED in output), output
    assert any(status == 0 for status, _ in ended), ended
    assert [path for path in folder.rglob(".*") if path.is_file()] == []
    return [status == 0 for status, _ in ended]


def contents(folder, *places):
    """{name: bytes} of the files of a traced run, without the names of the folders `places`."""
    paths = [path for part in ("result", "save_feats") for path in (folder / part).rglob("*") if path.is_file()]
    return {path.relative_to(folder): without(places, path.read_bytes()) for path in paths}


def without(places, content):
    """`content` without the names of the folders `places`, and without the digest of metrics that hold such a name."""
    for place in places:
        content = content.replace(bytes(place), b"")
    return re.sub(rf'"{ITSELF}": "\w+"'.encode(), b"", content)


@pytest.mark.parametrize("pair", combinations_with_replacement(TRACING, 2), ids=" ".join)
def test_on_the_folder_of_results(pair, base, tmp_path, tried):
    run_pair(pair, base, tmp_path)
    before, after = (contents(folder, base.folder, tmp_path) for folder in (base.folder, tmp_path))
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []
    tried["scripts started together on one folder, pairs"] += 1


@pytest.mark.parametrize("pair", combinations_with_replacement(WRITING_MODELS, 2), ids=" ".join)
def test_on_the_folder_of_a_model(pair, base, tmp_path, tried):
    well = [name for name, status in zip(pair, run_pair(pair, base, tmp_path), strict=True) if status]
    model = tmp_path / "model"
    trains = "main_train" in pair
    assert len((model / "log.jsonl").read_text().splitlines()) == (2 if "main_train" in well else 1)
    assert_one_calibration(model, trains)
    if "enroll" in well and not trains:
        assert [source.name for source in read_registry(model / "registry.safetensors", model).sources] == ["square"]
    if "share_model" in well and not trains:
        assert_one_calibration(tmp_path / "shared", trains)
    tried["scripts started together on one folder, pairs"] += 1


def assert_one_calibration(folder, trained_more):
    """Thresholds are those of the tensors beside them; a calibration of another checkpoint is refused."""
    read_checkpoint(checkpoint_in(folder))
    try:
        calibrated = read_calibration(folder)
    except InputError as error:
        assert trained_more and "was made for another" in str(error), error
        return
    for name in calibrated.detectors:
        assert calibrated.threshold(name) == threshold_that_keeps(calibrated.scores[name], calibrated.tpr)
