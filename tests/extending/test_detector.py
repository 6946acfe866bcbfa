"""A detector costs one row: a dummy that is registered from outside runs through every script that uses detectors."""

import json
import shutil

import numpy as np
import pytest

import calibrate
import evaluate_open_set
import ood_detector_e2e
from engine.feature_files import read_features
from evaluation.calibration import read_calibration
from ood_detectors import DETECTORS
from ood_detectors.base import Detector


class Length(Detector):
    """Our own:  s = - | |z| - mean |z_i| |, over the training clips z_i."""

    def fit_rows(self, train):
        self.mean = train.features.norm(dim=1).mean()

    def score_rows(self, test):
        return -(test.features.norm(dim=1) - self.mean).abs()


@pytest.fixture
def length(monkeypatch):
    monkeypatch.setitem(DETECTORS, "length", Length)


def run(main, *flags):
    main([str(flag) for flag in flags])


def scores_by_hand(train, outputs):
    lengths = [np.linalg.norm(part.features.double().numpy(), axis=1) for part in (train, outputs)]
    return -np.abs(lengths[1] - lengths[0].mean())


def test_a_detector_is_evaluated(length, trained, tmp_path, capsys):
    flags = ("--save_feats", trained / "save_feats", "--resamples", 20, "--json", tmp_path / "ood.json")
    run(ood_detector_e2e.main, *flags)
    rows = json.loads((tmp_path / "ood.json").read_text())["figures"]
    assert list(dict.fromkeys(row["detector"] for row in rows)) == list(DETECTORS)
    own = [row for row in rows if row["detector"] == "length"]
    assert len(own) == 5 and all(row["paper"] is None and 0 <= row["auc"] <= 100 for row in own)
    assert any(line.startswith("length ") for line in capsys.readouterr().out.splitlines())


def test_a_detector_is_calibrated_and_judged_in_the_open_set(length, trained, corpus, tmp_path, capsys):
    for part in ("model", "save_feats"):
        shutil.copytree(trained / part, tmp_path / part)
    flags = ("--model_folder", tmp_path / "model", "--save_feats", tmp_path / "save_feats", "--data_root", corpus)
    run(calibrate.main, *flags, "--tpr", 0.8)
    calibrated = read_calibration(tmp_path / "model")
    train, dev, known = (
        read_features(tmp_path / f"save_feats/{name}.pt") for name in ("traindict", "devdict", "evaldict_id")
    )
    assert calibrated.detectors == list(DETECTORS)
    assert calibrated.threshold("length") == pytest.approx(np.sort(scores_by_hand(train, dev))[0])
    more = ("--result", trained / "result", "--ood_detector_name", "length", "--resamples", 20)
    run(evaluate_open_set.main, *flags, *more, "--json", tmp_path / "open_set.json")
    rows = json.loads((tmp_path / "open_set.json").read_text())["figures"]
    accepted = scores_by_hand(train, known) >= calibrated.threshold("length")
    assert len(rows) == 5 and {row["detector"] for row in rows} == {"length"}
    assert rows[0]["accepted"] == pytest.approx(100 * accepted.mean())
    assert "length" in capsys.readouterr().out
