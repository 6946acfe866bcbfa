"""A metric costs one row: a dummy that is registered from outside is in tables, JSON files, intervals and summaries."""

import json
import shutil

import numpy as np
import pytest

import compare
import evaluate_id_f1
import evaluate_open_set
import evaluate_taxonomy
import ood_detector_e2e
import summarise_seeds
from data.taxonomy import TAXONOMY_CLASSES
from evaluation import metrics
from evaluation.intervals import Resampling, bootstrap_classification, bootstrap_detection
from evaluation.metrics import CLASSIFICATION_METRICS, DETECTION_METRICS, ClassificationMetric, DetectionMetric


def median_gap(target, other):
    """A rate in [0, 1] that no other metric equals: the share of the other side below the median of the target."""
    return float((other < np.median(target)).mean())


@pytest.fixture
def dummy_detection_metric(monkeypatch):
    monkeypatch.setitem(DETECTION_METRICS, "median_gap", DetectionMetric("GAP", median_gap))


@pytest.fixture
def dummy_classification_metric(monkeypatch):
    def error_rate(truth, predicted):
        return 1 - metrics.accuracy(truth, predicted)

    monkeypatch.setitem(CLASSIFICATION_METRICS, "error_rate", ClassificationMetric("error rate", error_rate))


def test_a_detection_metric_is_in_the_table_and_in_the_json(dummy_detection_metric, trained, tmp_path, capsys):
    flags = ["--save_feats", str(trained / "save_feats"), "--ood_detector_name", "msp", "--resamples", "20"]
    ood_detector_e2e.main([*flags, "--json", str(tmp_path / "ood.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("AUC, FPR95, EER and GAP in %: 21 training clips")
    rows = json.loads((tmp_path / "ood.json").read_text())["figures"]
    assert len(rows) == 5
    values = next(line for line in lines if line.startswith("msp ")).split()[1:]
    lows, highs = (next(line for line in lines if line.startswith(f"  {end} ")).split()[1:] for end in ("from", "to"))
    for column, row in enumerate(rows):
        low, high = row["median_gap_interval"]
        assert 0 <= low <= high <= 100
        assert values[4 * column + 3] == f"{row['median_gap']:.2f}"
        assert (lows[4 * column + 3], highs[4 * column + 3]) == (f"{low:.2f}", f"{high:.2f}")
    average = sum(row["median_gap"] for row in rows) / len(rows)
    assert values[-1] == f"{average:.2f}"


def test_a_detection_metric_is_in_the_open_set(dummy_detection_metric, calibrated, trained, tmp_path, capsys):
    flags = ["--model_folder", calibrated / "model", "--save_feats", calibrated / "save_feats", "--resamples", 20]
    more = ["--result", trained / "result", "--ood_detector_name", "msp", "--json", tmp_path / "open_set.json"]
    evaluate_open_set.main([str(part) for part in (*flags, *more)])
    assert "GAP\n" in capsys.readouterr().out
    for row in json.loads((tmp_path / "open_set.json").read_text())["figures"]:
        assert 0 <= row["median_gap"] <= 100 and len(row["median_gap_interval"]) == 2


def test_a_metric_without_a_formula_of_shares_is_computed_on_each_resample(monkeypatch):
    monkeypatch.setitem(DETECTION_METRICS, "slow_auc", DetectionMetric("SLOW", metrics.auc))
    rng = np.random.default_rng(0)
    scores = {"known": rng.normal(1, 1, 60), "new": rng.normal(0, 1, 40)}
    resampling = Resampling({which: len(values) for which, values in scores.items()}, 25)
    measured = bootstrap_detection(resampling, scores, "known")["new"]
    assert measured["slow_auc"][0] == measured["auc"][0]
    assert measured["slow_auc"][1] == pytest.approx(measured["auc"][1], abs=1e-6)
    assert bootstrap_detection(Resampling({"known": 60, "new": 40}, 0), scores, "known")["new"]["slow_auc"][1].size == 0


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
def test_a_metric_without_a_formula_of_counts_is_computed_on_each_resample(name, monkeypatch):
    formula = CLASSIFICATION_METRICS[name].formula
    monkeypatch.setitem(CLASSIFICATION_METRICS, "slow", ClassificationMetric("slow", formula))
    rng = np.random.default_rng(0)
    answers = {which: rng.integers(0, 3, (2, size)) for which, size in (("known", 50), ("new", 30))}
    resampling = Resampling({"known": 50, "new": 30}, 25)
    measured = bootstrap_classification(resampling, answers, 3)
    assert measured["slow"][0] == measured[name][0]
    assert measured["slow"][1] == pytest.approx(measured[name][1], abs=1e-6)


def test_a_classification_metric_is_in_the_table_and_in_the_json(
    dummy_classification_metric, taxonomy_corpus, tmp_path, capsys
):
    names = [
        line.split()[1] for line in (taxonomy_corpus / "metadata/evaluation/CoRS_ALL.txt").read_text().splitlines()
    ]
    rng = np.random.default_rng(0)
    scores = rng.random((len(names), len(TAXONOMY_CLASSES["vq"])))
    lines = [f"{name} {' '.join(map(str, row))}\n" for name, row in zip(names, scores.tolist(), strict=True)]
    (tmp_path / "taxonomy").mkdir()
    (tmp_path / "taxonomy/vq_score.txt").write_text("".join(lines))
    flags = ["--data_root", taxonomy_corpus, "--result", tmp_path, "--json", tmp_path / "metrics.json"]
    evaluate_taxonomy.main([str(part) for part in (*flags, "--resamples", 20)])
    row = json.loads((tmp_path / "metrics.json").read_text())["tasks"]["vq"]
    assert row["error_rate"] == pytest.approx(100 - row["accuracy"]) and len(row["error_rate_interval"]) == 2
    low, high = row["error_rate_interval"]
    shown = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("error rate"))
    assert f"{row['error_rate']:.2f} [{low:.1f}, {high:.1f}]" in shown


def test_a_classification_metric_is_in_the_closed_set(dummy_classification_metric, trained, corpus, tmp_path, capsys):
    flags = ["--data_root", corpus, "--result", trained / "result", "--json", tmp_path / "id_f1.json"]
    evaluate_id_f1.main([str(part) for part in (*flags, "--resamples", 20)])
    row = json.loads((tmp_path / "id_f1.json").read_text())
    assert row["error_rate"] == pytest.approx(100 - row["accuracy"])
    low, high = row["error_rate_interval"]
    shown = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("error rate"))
    assert f"{row['error_rate']:.2f} [{low:.1f}, {high:.1f}]" in shown


def test_a_metric_is_in_the_comparison_of_two_runs(
    dummy_detection_metric, dummy_classification_metric, trained, corpus, tmp_path
):
    for run in ("a", "b"):
        for part in ("result", "save_feats"):
            shutil.copytree(trained / part, tmp_path / run / part)
    flags = ["--data_root", corpus, "--condition", "id", "single7", "--ood_detector_name", "msp", "--resamples", 20]
    compare.main([str(part) for part in (tmp_path / "a", tmp_path / "b", *flags, "--json", tmp_path / "out.json")])
    differences = json.loads((tmp_path / "out.json").read_text())["differences"]
    rows = {(row["condition"], row["figure"]): row for row in differences}
    for key in (("id", "error rate"), ("single7", "msp median_gap")):
        assert rows[key]["difference"] == 0 and rows[key]["a"] == rows[key]["b"]


def test_a_metric_is_in_the_summary_of_seeds(dummy_detection_metric, trained, tmp_path):
    values = []
    for seed in (1, 2):
        result = tmp_path / f"seed-{seed}/result"
        result.mkdir(parents=True)
        flags = ["--save_feats", trained / "save_feats", "--ood_detector_name", ("msp", "knn")[seed - 1]]
        more = ["--condition", "single7", "--resamples", 0, "--json", result / "ood.json"]
        ood_detector_e2e.main([str(part) for part in (*flags, *more)])
        content = json.loads((result / "ood.json").read_text())
        values.append(content["figures"][0]["median_gap"])
        content["figures"][0]["detector"] = "any"  # the two detectors stand for two trainings
        del content["measured_of"]  # with the digest that shows the change
        (result / "ood.json").write_text(json.dumps(content))
    summarise_seeds.main([str(tmp_path), "--json", str(tmp_path / "seeds.json")])
    rows = {row["figure"]: row for row in json.loads((tmp_path / "seeds.json").read_text())["figures"]}
    assert rows["ood any single7 median_gap"]["mean"] == pytest.approx(sum(values) / 2)
