"""Detectors, calibration and the open-set evaluation take the number of classes from the logits: 2, 3, 9 or 40."""

import json

import pytest
import torch

import calibrate
import evaluate_open_set
import ood_detector_e2e
from data.conditions import CONDITIONS
from engine.feature_files import read_features, write_features
from engine.score_files import class_scores, write_score_file
from evaluation.calibration import read_calibration
from evaluation.metrics import auc
from ood_detectors import DETECTORS
from utils.model_files import CHECKPOINT

FEATURES = 60  # more than classes, or neco would keep every direction


@pytest.fixture(scope="module", params=(2, 3, 9, 40))
def run_folder(request, tmp_path_factory):
    """(number of classes, folder of a run on synthetic clips): model/, save_feats/ and result/."""
    classes = request.param
    folder = tmp_path_factory.mktemp(f"classes{classes}")
    generator = torch.Generator().manual_seed(classes)
    weight = torch.randn(classes, FEATURES, generator=generator)
    bias = torch.randn(classes, generator=generator)

    def write(name, n, scale, head=None):
        labels = torch.arange(n) % classes
        features = scale * 2 * weight[labels] + torch.randn(n, FEATURES, generator=generator)
        logits = (features @ weight.T + bias) / 10
        head = (weight / 10, bias / 10) if head else None
        names = [f"{number}.wav" for number in range(n)]
        write_features(folder / "save_feats" / name, features, logits, labels, names, head)

    for row in CONDITIONS:
        if row.features:
            n = {"train": 400, "dev": 160, "id": 120}.get(row.suite, 40)
            write(row.features, n, float(row.suite != "ood"), head=row.suite == "train")
    (folder / "model").mkdir()
    torch.save({"head.weight": weight / 10, "head.bias": bias / 10}, folder / "model" / CHECKPOINT)
    moshi = next(row for row in CONDITIONS if row.name == "moshi")  # of class 1, which all of them have
    write_score_file(folder / "result" / moshi.result[0], ["0.wav", "1.wav"], class_scores(torch.eye(classes)[:2]))
    return classes, folder


def run(main, folder, *flags):
    folders = ("--model_folder", "model", "--save_feats", "save_feats", "--result", "result")
    folders = [str(folder / part) if not part.startswith("--") else part for part in folders]
    main([*folders, "--data_root", str(folder / "corpus"), "--resamples", "10", *map(str, flags)])


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_tells_known_from_unknown(name, run_folder):
    _, folder = run_folder
    train, known, unseen = (
        read_features(folder / f"save_feats/{file}.pt") for file in ("traindict", "evaldict_id", "evaldict_ood7")
    )
    detector = DETECTORS[name]().fit(train)
    scores = [detector.score(outputs) for outputs in (known, unseen)]
    assert all(part.isfinite().all() for part in scores)
    assert auc(*scores) > 0.8


def test_detection_and_open_set_end_to_end(run_folder, capsys):
    classes, folder = run_folder
    run(ood_detector_e2e.main, folder, "--json", folder / "ood.json")
    run(calibrate.main, folder)
    run(evaluate_open_set.main, folder, "--json", folder / "open_set.json")
    detection = json.loads((folder / "ood.json").read_text())
    assert len(detection["figures"]) == 5 * len(DETECTORS)
    assert all(row["paper"] is None for row in detection["figures"]), "not the classes of ST-Codecfake"
    assert "paper" not in capsys.readouterr().out
    calibrated = read_calibration(folder / "model")
    assert len(calibrated.class_names) == classes
    for row in calibrated.description["detectors"].values():
        assert len(row["class_thresholds"]) == classes
    outputs = read_features(folder / "save_feats/evaldict_id.pt")
    predicted = outputs.logits.argmax(dim=1).numpy()
    assert set(predicted.tolist()) == set(range(classes))
    scores = calibrated.score("knn", outputs)
    assert calibrated.threshold("knn", predicted).shape == scores.shape == (120,)
    assert ((calibrated.p_value("knn", scores, predicted) > 0) & (calibrated.p_value("knn", scores) <= 1)).all()
    assert calibrated.probabilities(outputs.logits).sum(axis=1) == pytest.approx(1)
    open_set = json.loads((folder / "open_set.json").read_text())
    knn = next(row for row in open_set["figures"] if row["detector"] == "knn" and row["condition"] == "single7")
    assert knn["accepted"] > 80 and knn["open_set_f1"] > 50
    assert [row["condition"] for row in open_set["shifted"]] == ["moshi"]
    assert open_set["shifted"][0]["right"] == 50
