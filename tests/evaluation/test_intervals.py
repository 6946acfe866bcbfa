"""Intervals: a resample's figures are those of its clips, clusters stay whole, and coverage is as promised."""

import numpy as np
import pytest

from evaluation import intervals, metrics
from evaluation.intervals import Resampling, bootstrap_classification, bootstrap_detection, interval, share_replicates


def clips(rng, n, speakers):
    return [f"mimi_p{rng.integers(speakers):03d}_{number:03d}.wav" for number in range(n)]


def drawn(resampling, which, resample):
    """Positions of a set's clips in one resample, each as often as it was drawn."""
    times = resampling.weights[resample][resampling.ids[which]]
    return np.repeat(np.arange(len(times)), times)


@pytest.fixture(params=["none", "speaker"])
def two_sets(request):
    rng = np.random.default_rng(7)
    return Resampling({"known": clips(rng, 300, 40), "new": clips(rng, 200, 40)}, 30, request.param)


@pytest.mark.parametrize("decimals", (1, 9), ids=("ties", "continuous"))
def test_each_replicate_is_the_figure_of_the_resampled_clips(two_sets, decimals):
    rng = np.random.default_rng(3)
    scores = {"known": rng.normal(1, 1, 300).round(decimals), "new": rng.normal(0, 1, 200).round(decimals)}
    found = bootstrap_detection(two_sets, scores, "known")["new"]
    for row in range(30):
        target, other = (scores[which][drawn(two_sets, which, row)] for which in scores)
        assert found["auc"][1][row] == pytest.approx(metrics.auc(target, other), abs=1e-6)
        assert found["fpr95"][1][row] == pytest.approx(metrics.fpr95(target, other), abs=1e-6)
        assert found["eer"][1][row] == pytest.approx(metrics.equal_error_rate(target, other)[0], abs=0.006)
    exact = (
        metrics.auc(*scores.values()),
        metrics.fpr95(*scores.values()),
        metrics.equal_error_rate(*scores.values())[0],
    )
    assert tuple(value for value, _ in found.values()) == exact


def test_slots_of_many_scores_change_little_of_the_spread(monkeypatch):
    rng = np.random.default_rng(4)
    scores = {"known": rng.normal(1, 1, 9000), "new": rng.normal(0, 1, 6000)}
    resampling = Resampling({which: len(values) for which, values in scores.items()}, 40)
    binned = bootstrap_detection(resampling, scores, "known")["new"]
    monkeypatch.setattr(intervals, "SCORE_SLOTS", 20_000)
    for name, (_, replicates) in bootstrap_detection(resampling, scores, "known")["new"].items():
        assert (binned[name][1] - replicates).std() < 0.07 * replicates.std()


def test_f1_replicates_are_those_of_the_resampled_clips(two_sets):
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 4, 300))
    measured = bootstrap_classification(two_sets, {"known": (truth, predicted)}, 5)
    found = {name: replicates for name, (_, replicates) in measured.items()}
    share = share_replicates(two_sets, "known", truth == predicted)
    assert np.isnan(found["class_f1"][4]).all()  # a class that never occurs
    for row in range(30):
        at = drawn(two_sets, "known", row)
        assert found["class_f1"][:4, row] == pytest.approx(metrics.class_f1(truth[at], predicted[at], 4))
        assert found["macro_f1"][row] == pytest.approx(metrics.macro_f1(truth[at], predicted[at]))
        assert found["weighted_f1"][row] == pytest.approx(metrics.weighted_f1(truth[at], predicted[at]))
        assert share[row] == pytest.approx(metrics.accuracy(truth[at], predicted[at]), abs=1e-6)
    np.testing.assert_array_equal(found["accuracy"], share)
    assert measured["macro_f1"][0] == metrics.macro_f1(truth, predicted)
    assert measured["class_f1"][0].tolist() == metrics.class_f1(truth, predicted, 5).tolist()


def test_clips_of_a_speaker_come_together_in_every_set():
    names = {"known": ["p001_001.wav", "mimi_p001_002.wav", "p002_001.wav", "x.wav"], "new": ["p002_009.wav", "y.wav"]}
    resampling = Resampling(names, 200)
    known, new = (resampling.weights[:, resampling.ids[which]] for which in names)
    assert (known[:, 0] == known[:, 1]).all() and (known[:, 2] == new[:, 0]).all()
    assert (known.sum(axis=1) > 0).all() and (new.sum(axis=1) > 0).all()
    by_utterance = Resampling(names, 200, "utterance")
    known, new = (by_utterance.weights[:, by_utterance.ids[which]] for which in names)
    assert (known[:, 0] != known[:, 1]).any() and (known[:, 2] != new[:, 0]).any()


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(6), 0
    for trial in range(300):
        right = rng.random(400) < 0.8
        low, high = interval(share_replicates(Resampling({"x": 400}, 300, seed=trial), "x", right))
        covered += low <= 80 <= high
    assert 0.91 < covered / 300 < 0.98


def test_an_interval_by_speaker_is_wider_where_speakers_differ():
    rng = np.random.default_rng(8)
    names = [f"p{speaker:03d}_{number:03d}.wav" for speaker in range(30) for number in range(20)]
    right = rng.random(600) < np.repeat(rng.choice([0.5, 1.0], 30), 20)  # half of the speakers are hard
    width = {}
    for kind in ("none", "speaker"):
        low, high = interval(share_replicates(Resampling({"x": names}, 1000, kind), "x", right))
        width[kind] = high - low
    assert 1.8 < width["speaker"] / width["none"] < 3.5


def test_no_resamples_no_interval_and_the_same_seed_the_same():
    names = {"x": ["p001_001.wav", "p002_001.wav"]}
    assert interval(share_replicates(Resampling(names, 0), "x", [True, False])) is None
    measured = bootstrap_classification(Resampling(names, 0), {"x": ([0, 1], [0, 0])}, 2)
    assert all(interval(replicates) is None for _, replicates in measured.values())
    assert (Resampling(names, 50).weights == Resampling(names, 50).weights).all()
    assert (Resampling(names, 50).weights != Resampling(names, 50, seed=1).weights).any()
