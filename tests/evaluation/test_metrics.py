"""Every figure equals its definition: stored ones of the released code, scikit-learn's, or one worked by hand."""

import json

import numpy as np
import pytest
from helpers import FIXTURES

from evaluation import metrics
from evaluation.metrics import achievable_fpr95, auc, equal_error_rate, fpr95
from utils.errors import InputError

CASES = json.loads((FIXTURES / "ood/metric_cases.json").read_text())
DETECTION = (metrics.roc, auc, fpr95, achievable_fpr95, equal_error_rate)


@pytest.fixture(params=range(4))
def sides(request):
    """Scores of 300 known and 200 unknown clips: continuous, or rounded so that most are tied."""
    rng = np.random.default_rng(request.param)
    target, other = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    return (target, other) if request.param % 2 else (target.round(1), other.round(1))


@pytest.mark.parametrize("case", CASES)
def test_detection_figures_equal_the_released_codes(case):
    scores = np.load(FIXTURES / "ood/metric_cases.npz")
    target, other = scores[f"{case}.id"], scores[f"{case}.ood"]
    found = (auc(target, other), fpr95(target, other), *equal_error_rate(target, other))
    expected = [CASES[case][key] for key in ("auc", "fpr95", "eer", "eer_threshold")]
    assert found == pytest.approx(expected, abs=1e-12)


def test_auc_is_the_share_of_ordered_pairs(sides):
    target, other = sides
    pairs = (target[:, None] > other).mean() + (target[:, None] == other).mean() / 2
    assert auc(target, other) == pytest.approx(pairs, abs=1e-12)


def test_roc_figures_equal_scikit_learns(sides):
    from sklearn.metrics import roc_auc_score, roc_curve

    labels = np.r_[np.ones(300), np.zeros(200)]
    fpr, tpr, _ = roc_curve(labels, np.concatenate(sides))
    assert auc(*sides) == pytest.approx(roc_auc_score(labels, np.concatenate(sides)), abs=1e-12)
    assert fpr95(*sides) == pytest.approx(np.interp(0.95, tpr, fpr), abs=1e-12)


def test_achievable_fpr95_is_that_of_a_threshold(sides):
    target, other = sides
    thresholds = [t for t in np.concatenate(sides) if (target >= t).mean() >= 0.95]
    assert achievable_fpr95(target, other) == min((other >= t).mean() for t in thresholds)


def test_achievable_fpr95_exceeds_the_interpolated_one_on_ties():
    target, other = [1] * 90 + [0] * 10, [1] * 10 + [0] * 90
    assert fpr95(target, other) == pytest.approx(0.55)
    assert achievable_fpr95(target, other) == 1


def test_equal_error_rate_of_swapped_sides_is_the_rest():
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    rate, threshold = equal_error_rate(known, unknown)
    assert equal_error_rate(unknown, known)[0] == pytest.approx(1 - rate, abs=1 / 300)
    assert rate == pytest.approx(((known <= threshold).mean() + (unknown > threshold).mean()) / 2)
    assert 0.2 < rate < 0.4


def test_equal_scores_count_against_the_detector():
    assert equal_error_rate([1, 1], [1, 1])[0] == 1
    assert equal_error_rate([1, 1], [0, 0]) == (0, 0)


@pytest.mark.parametrize("figure", DETECTION)
def test_detection_refuses_empty_and_nan_scores(figure):
    with pytest.raises(InputError, match=r"target scores have shape \(0,\)"):
        figure([], [0.5])
    with pytest.raises(InputError, match=r"other scores have shape \(0,\)"):
        figure([0.5], [])
    with pytest.raises(InputError, match="other score 1 of 2 is NaN"):
        figure([0.5], [0.1, np.nan])


def test_f1_accuracy_and_confusion_by_hand():
    truth, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    f1 = (4 / 5, 1 / 2, 2 / 3)  # 2 tp / (2 tp + fp + fn)
    assert metrics.class_f1(truth, predicted, 4) == pytest.approx([*f1, 0])
    assert metrics.macro_f1(truth, predicted) == pytest.approx(sum(f1) / 3)
    assert metrics.accuracy(truth, predicted) == pytest.approx(4 / 6)
    assert metrics.confusion(truth, predicted, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("figure", (metrics.macro_f1, metrics.accuracy))
def test_classification_refuses_what_is_no_list_of_classes(figure):
    with pytest.raises(InputError, match="list of classes is empty"):
        figure([], [])
    with pytest.raises(InputError, match=r"\(2,\) true and \(3,\) predicted"):
        figure([0, 1], [0, 1, 1])
    with pytest.raises(InputError, match="float64, expected integers"):
        figure([0, 1], [0.0, np.nan])


def test_calibration_error_by_hand():
    confidence, correct = [0.91, 0.95, 0.55, 1.0, 0.0], [True, False, True, True, False]
    # of ten bins: (0.9, 1] holds three clips, 2 of 3 right; (0.5, 0.6] one, right; 0 one, wrong
    expected = (abs(2 - 2.86) + abs(1 - 0.55) + 0) / 5
    assert metrics.calibration_error(confidence, correct, bins=10) == pytest.approx(expected)
    with pytest.raises(InputError, match=r"from 0 to 1\.5, expected 0 to 1"):
        metrics.calibration_error([0, 1.5], [True, True])
    with pytest.raises(InputError, match="2 confidences and 1 values of `correct`: expected one for each"):
        metrics.calibration_error([0, 1], [True])


def test_oscr_is_the_area_under_correct_classification(sides):
    target, other = sides
    correct = np.random.default_rng(9).random(len(target)) < 0.8
    pairs = (target[correct, None] > other).sum() + (target[correct, None] == other).sum() / 2
    assert metrics.oscr(target, correct, other) == pytest.approx(pairs / len(target) / len(other), abs=1e-12)
    assert metrics.oscr(target, np.ones(300, bool), other) == pytest.approx(auc(target, other), abs=1e-12)
    with pytest.raises(InputError, match="300 target scores and 3 values of `correct`: expected one for each"):
        metrics.oscr(target, [True] * 3, other)
