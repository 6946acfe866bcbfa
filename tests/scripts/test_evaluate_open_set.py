"""evaluate_open_set.py: figures at the threshold of the development set, equal to those worked from the scores."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import run_script
from sklearn.metrics import f1_score

import evaluate_open_set
from engine.feature_files import read_features, write_features
from evaluation import calibration
from evaluation.intervals import Resampling
from evaluation.metrics import auc, calibration_error, equal_error_rate, fpr95, oscr
from evaluation.open_set import metrics_at_threshold
from utils.errors import InputError, MissingInput

CONDITIONS = ("single7", "multi8", "voc", "diff_config", "diff_source")


def flags(folder, result, *more):
    models = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
    return [*models, "--result", str(result), *map(str, more)]


@pytest.fixture(scope="module")
def shifted(calibrated, tmp_path_factory):
    """The calibrated model's folder with test sets of 40 clips each that overlap with the training set, and apart."""
    folder = tmp_path_factory.mktemp("shifted")
    shutil.copytree(calibrated / "model", folder / "model")
    train = read_features(calibrated / "save_feats/traindict.pt")
    weight, bias = train.head
    generator = torch.Generator().manual_seed(1)
    for number, name in enumerate(("id", "ood7", "ood8", "oodvoc", "ood_config", "ood_source")):
        rows = torch.randint(len(train.labels), (40,), generator=generator)
        noise = torch.randn(40, train.features.shape[1], generator=generator) * train.features.std() * number
        features, labels = train.features[rows] + noise, train.labels[rows]
        names = [f"p{row % 8:03d}_{row:03d}.wav" for row in range(40)]
        path = folder / f"save_feats/evaldict_{name}.pt"
        write_features(path, features, features @ weight.T + bias, labels, names)
    return folder


@pytest.mark.parametrize("name", ("knn", "msp"))
def test_figures_are_those_of_the_scores_and_thresholds(name, shifted, tmp_path):
    report = tmp_path / "open.json"
    evaluate_open_set.main(flags(shifted, tmp_path, "--ood_detector_name", name, "--json", report))
    found = json.loads(report.read_text())
    assert [row["condition"] for row in found["figures"]] == list(CONDITIONS) and found["tpr"] == 0.8
    made = calibration.read_calibration(shifted / "model")
    known, unseen = (read_features(shifted / f"save_feats/evaldict_{part}.pt") for part in ("id", "ood_source"))
    target, other = (made.score(name, outputs) for outputs in (known, unseen))
    predicted, answers = (outputs.logits.argmax(dim=1).numpy() for outputs in (known, unseen))
    row, threshold = found["figures"][-1], made.threshold(name)
    right, truth = predicted == known.labels.numpy(), [*known.labels.tolist(), *[7] * 40]
    given = np.where(np.r_[target, other] < threshold, 7, np.r_[predicted, answers])
    expected = {
        "threshold": threshold,
        "accepted": 100 * (target >= threshold).mean(),
        "rejected": 100 * (other < threshold).mean(),
        "open_set_f1": 100 * f1_score(truth, given, average="macro"),
        "oscr": 100 * oscr(target, right, other),
        "auc": 100 * auc(target, other),
        "fpr95": 100 * fpr95(target, other),
        "eer": 100 * equal_error_rate(target, other)[0],
    }
    assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    by_class = made.threshold(name, answers)
    assert row["class_thresholds"]["rejected"] == pytest.approx(100 * (other < by_class).mean())
    for key in ("accepted", "rejected", "open_set_f1", "auc", "fpr95", "eer"):
        low, high = row[f"{key}_interval"]
        assert 0 <= low <= row[key] + 1e-6 and row[key] - 1e-6 <= high <= 100
    errors = {}
    for when, t in (("before", 1), ("after", made.temperature)):
        confidence = (known.logits.double() / t).softmax(dim=1).amax(dim=1).numpy()
        errors[when] = 100 * calibration_error(confidence, right)
    assert found["calibration_error"] == pytest.approx(errors)


def test_the_open_set_f1_by_hand():
    # known clips of classes 0 0 1 1, of which one is called unknown (2) and one confused; one of two unseen is accepted
    answered = {
        "known": (np.array([0, 0, 1, 1]), np.array([0, 2, 1, 0]), np.array([True, False, True, True])),
        "voc": (np.array([2, 2]), np.array([2, 0]), np.array([False, True])),
    }
    found = metrics_at_threshold(answered, "voc", Resampling({"known": 4, "voc": 2}, 10))
    expected = {"accepted": 3 / 4, "rejected": 1 / 2, "open_set_f1": (2 / 5 + 2 / 3 + 2 / 4) / 3}
    assert {name: value for name, (value, _) in found.items()} == pytest.approx(expected)
    assert all(replicates.shape == (10,) for _, replicates in found.values())


def test_far_clips_are_rejected_whatever_their_label(shifted, tmp_path):
    report = tmp_path / "open.json"
    evaluate_open_set.main(flags(shifted, tmp_path, "--ood_detector_name", "mahalanobis++", "--json", report))
    last = json.loads(report.read_text())["figures"][-1]
    assert last["rejected"] == 100 and last["rejected_interval"] == [100, 100]


def test_tables_hold_every_detector_and_condition(calibrated, trained, capsys):
    evaluate_open_set.main(flags(calibrated, trained / "result", "--resamples", "200"))
    shown = capsys.readouterr().out
    made = calibration.read_calibration(calibrated / "model")
    assert shown.startswith("Thresholds that keep 80 % of 7 known development clips\nCalibration error on known test")
    for condition in CONDITIONS:
        assert f"\n{condition} (" in shown
    for name in made.detectors:
        assert sum(line.split()[0] == name for line in shown.splitlines() if line) == 1 + len(CONDITIONS)
    assert "Known sources under other conditions" in shown and "\nmini-omni " in shown
    assert "200 resamples, files of one speaker together" in shown


def test_known_sources_elsewhere_are_judged_by_their_score_files(calibrated, trained, tmp_path):
    report = tmp_path / "open.json"
    run = flags(calibrated, trained / "result", "--json", report, "--ood_detector_name", "msp", "--resamples", "0")
    evaluate_open_set.main(run)
    rows = {row["condition"]: row for row in json.loads(report.read_text())["shifted"]}
    assert len(rows) == 16 and rows["moshi"]["accepted_interval"] is None
    lines = [line.split() for line in (trained / "result/alm/moshi.txt").read_text().splitlines()]
    threshold = calibration.read_calibration(calibrated / "model").threshold("msp")
    assert rows["moshi"]["accepted"] == pytest.approx(100 * np.mean([float(line[2]) >= threshold for line in lines]))
    assert rows["moshi"]["right"] == pytest.approx(100 * np.mean([line[1] == "1" for line in lines]))


def test_refusals(calibrated, trained, tmp_path):
    finished = run_script("evaluate_open_set.py", *flags(trained, tmp_path))
    line = f"error: {trained / 'model/calibration.json'} is missing: run calibrate.py on this model first\n"
    assert finished.returncode == 2 and finished.stderr == line
    with pytest.raises(InputError, match="--ood_detector_name odin: expected all or one of msp, energy"):
        evaluate_open_set.main(flags(calibrated, tmp_path, "--ood_detector_name", "odin"))
    (tmp_path / "save_feats").mkdir()
    with pytest.raises(MissingInput, match=r"evaldict_id\.pt is missing: run source_tracing_id\.py first"):
        evaluate_open_set.main([*flags(calibrated, tmp_path), "--save_feats", str(tmp_path / "save_feats")])
