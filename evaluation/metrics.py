"""The metrics: arrays in, numbers out; no file is opened here.

A new metric is one row: of CLASSIFICATION_METRICS or of DETECTION_METRICS. Tables, JSON files, intervals, comparisons
of runs and summaries of seeds follow these two dicts. All rates lie in [0, 1].

Detection: scores are higher on the target, the known classes (or bona fide speech), than on the other side. A clip is
accepted when score >= threshold. TPR is the share of the target that is accepted, FPR the share of the other side.

A metric may have a second formula for all bootstrap resamples at once, which is faster. It gets the counts or shares of
each resample, and gives the metric [resamples].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from utils.errors import InputError

# ---- classification -------------------------------------------------------------------------------------------------


def _classes(truth, predicted):
    """Both as integer arrays [n]. Raises InputError when they are empty or do not match."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise InputError(f"{truth.shape} true and {predicted.shape} predicted classes: expected [n] and [n]")
    if truth.size == 0:
        raise InputError("there is no clip to score: the list of classes is empty")
    for array in (truth, predicted):
        if array.dtype.kind not in "iu":
            raise InputError(f"classes are {array.dtype}, expected integers")
    return truth, predicted


def accuracy(truth, predicted):
    """Share of clips whose class is right. With one true class it equals the micro F1 of the papers."""
    truth, predicted = _classes(truth, predicted)
    return float((truth == predicted).mean())


def class_f1(truth, predicted, classes):
    """F1 [classes] of each class 0 ... `classes` - 1; 0 for a class that is neither true nor predicted."""
    from sklearn.metrics import f1_score

    truth, predicted = _classes(truth, predicted)
    return f1_score(truth, predicted, labels=range(classes), average=None, zero_division=0)


def macro_f1(truth, predicted):
    """Mean F1 of the classes that occur in either list."""
    from sklearn.metrics import f1_score

    return float(f1_score(*_classes(truth, predicted), average="macro", zero_division=0))


def weighted_f1(truth, predicted):
    """Mean F1 of the classes, weighted by the number of clips of each true class."""
    from sklearn.metrics import f1_score

    return float(f1_score(*_classes(truth, predicted), average="weighted", zero_division=0))


def _f1_of_counts(counts):
    """F1 [classes, resamples], 0 for an absent class, clips of each true class, and whether a class occurs at all.

    `counts` [true, predicted, resamples] are confusion matrices, as are those of the functions below.
    """
    counts = counts.astype(np.float64)
    right = np.einsum("iir->ir", counts)
    true = counts.sum(axis=1)
    predicted = counts.sum(axis=0)
    occurs = true + predicted > 0
    return np.divide(2 * right, true + predicted, out=np.zeros_like(right), where=occurs), true, occurs


def class_f1_of_counts(counts):
    """F1 [classes, resamples], as class_f1() has it; NaN for a class that is neither true nor predicted."""
    f1, _, occurs = _f1_of_counts(counts)
    return np.where(occurs, f1, np.nan)


def macro_f1_of_counts(counts):
    """Macro F1 [resamples], as macro_f1() has it."""
    f1, _, occurs = _f1_of_counts(counts)
    return f1.sum(axis=0) / occurs.sum(axis=0)


def weighted_f1_of_counts(counts):
    """Weighted F1 [resamples], as weighted_f1() has it."""
    f1, true, _ = _f1_of_counts(counts)
    return (f1 * true).sum(axis=0) / true.sum(axis=0)


def accuracy_of_counts(counts):
    """Accuracy [resamples], as accuracy() has it."""
    return np.einsum("iir->r", counts) / counts.sum(axis=(0, 1))


class ClassificationMetric(NamedTuple):
    """A row of CLASSIFICATION_METRICS."""

    title: str  # in a table
    formula: Callable  # (true classes [n], predicted classes [n]) -> rate
    of_counts: Callable | None = None  # (counts [true, predicted, resamples]) -> rates [resamples]
    reported_in: tuple = ("closed set", "taxonomy", "comparison")  # evaluations, and the comparison of two runs


CLASSIFICATION_METRICS = {
    "weighted_f1": ClassificationMetric("weighted", weighted_f1, weighted_f1_of_counts, ("taxonomy",)),
    "macro_f1": ClassificationMetric("macro", macro_f1, macro_f1_of_counts),
    "accuracy": ClassificationMetric("accuracy", accuracy, accuracy_of_counts, ("closed set",)),
}


def reported_metrics(evaluation):
    """The rows of CLASSIFICATION_METRICS that an evaluation reports: "closed set", "taxonomy" or "comparison"."""
    return {name: row for name, row in CLASSIFICATION_METRICS.items() if evaluation in row.reported_in}


def confusion(truth, predicted, classes):
    """Counts [true, predicted] of the classes 0 ... `classes` - 1; clips of another class are not counted."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(*_classes(truth, predicted), labels=range(classes))


def calibration_error(confidence, correct, bins=15):
    """Expected calibration error in [0, 1] of confidences [n] in [0, 1] over `bins` of equal width.

    Mean over clips of |accuracy - mean confidence| of the clip's bin (Guo et al., 2017, eq. 3). `correct` [n] is true
    where the predicted class is right.
    """
    confidence = _scores(confidence, "confidence")
    correct = np.asarray(correct, float)
    if confidence.shape != correct.shape:
        raise InputError(f"{confidence.size} confidences and {correct.size} values of `correct`: expected one for each")
    if confidence.min() < 0 or confidence.max() > 1:
        raise InputError(f"confidences reach from {confidence.min():.4g} to {confidence.max():.4g}, expected 0 to 1")
    slot = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(slot, correct - confidence, bins)).sum() / len(confidence))


# ---- detection ------------------------------------------------------------------------------------------------------


def _scores(scores, side):
    """`scores` as float64 [n]. Raises InputError when they are empty or one is not a number."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise InputError(f"the {side} scores have shape {scores.shape}: expected [n] with n > 0")
    if np.isnan(scores).any():
        raise InputError(f"{side} score {np.flatnonzero(np.isnan(scores))[0]} of {scores.size} is NaN")
    return scores


def roc(target, other):
    """(thresholds, TPR, FPR): the point (inf, 0, 0), then one point for each distinct score, from high to low.

    Raises InputError when a side is empty or holds a NaN, as do all functions below.
    """
    target, other = _scores(target, "target"), _scores(other, "other")
    thresholds = np.unique(np.concatenate((target, other)))[::-1]

    def accepted(scores):
        return (len(scores) - np.searchsorted(np.sort(scores), thresholds)) / len(scores)

    return np.r_[np.inf, thresholds], np.r_[0.0, accepted(target)], np.r_[0.0, accepted(other)]


def auc(target, other):
    """Area under the ROC curve: P(target > other) + P(equal) / 2."""
    _, tpr, fpr = roc(target, other)
    return float(np.trapezoid(tpr, fpr))


def auc_of_shares(tpr, fpr):
    """AUC [resamples] of the accepted shares [thresholds, resamples] of both sides, by the trapezoid rule.

    The shares fall from 1 to 0, here and in the functions below.
    """
    return ((tpr[1:] + tpr[:-1]) * (fpr[:-1] - fpr[1:])).sum(axis=0) / 2


def fpr95(target, other):
    """False positive rate where 95 % of the target is accepted, linear between the points of the ROC curve.

    This is the published metric. Between two points no threshold exists, see `achievable_fpr95`. Where several points
    have a TPR of exactly 0.95, the largest FPR is taken. The FPR95 of OpenOOD is another metric: it fixes the rejection
    of `other` at 95 % instead.
    """
    _, tpr, fpr = roc(target, other)
    return float(np.interp(0.95, tpr, fpr))


def take_rows(shares, rows):
    """shares[rows[r], r] for each resample r, of shares [thresholds, resamples] and integers rows [resamples]."""
    return np.take_along_axis(shares, rows[None], axis=0)[0]


def fpr95_of_shares(tpr, fpr, share=0.95):
    """FPR95 [resamples] of accepted shares, as fpr95() has it."""
    before = (tpr > share).sum(axis=0) - 1
    high, low = take_rows(tpr, before), take_rows(tpr, before + 1)
    start, end = take_rows(fpr, before), take_rows(fpr, before + 1)
    return start + (high - share) / (high - low) * (end - start)


def achievable_fpr95(target, other):
    """The smallest false positive rate at a threshold that accepts at least 95 % of the target."""
    _, tpr, fpr = roc(target, other)
    return float(fpr[np.argmax(tpr >= 0.95)])


def equal_error_rate(target, other):
    """Equal error rate and its threshold, by the rule of the ASVspoof challenges.

    It is the mean of the two error rates at the first cut of the sorted scores where they are closest. Among equal
    scores, the targets are rejected first, so ties count against the detector: constant scores have an EER of 1, not
    0.5. Without ties, an EER above 0.5 means that the sides are swapped.
    """
    target, other = _scores(target, "target"), _scores(other, "other")
    scores = np.concatenate((target, other))
    order = np.argsort(scores, kind="stable")
    rejected = np.cumsum(order < len(target))  # of the target, after each cut
    false_rejection = np.r_[0, rejected / len(target)]
    false_acceptance = np.r_[1, (len(other) - (np.arange(1, len(scores) + 1) - rejected)) / len(other)]
    best = np.argmin(np.abs(false_rejection - false_acceptance))
    threshold = scores[order[best - 1]] if best else scores.min() - 0.001
    return float((false_rejection[best] + false_acceptance[best]) / 2), float(threshold)


def equal_error_rate_only(target, other):
    """Equal error rate, without its threshold."""
    return equal_error_rate(target, other)[0]


def eer_of_shares(tpr, fpr):
    """Equal error rate [resamples] of accepted shares; within a share the target is rejected first, as for ties."""
    crossing = (1 - tpr < fpr).sum(axis=0)
    return np.minimum(take_rows(fpr, crossing - 1), 1 - take_rows(tpr, crossing))


class DetectionMetric(NamedTuple):
    """A row of DETECTION_METRICS."""

    title: str  # in a table
    formula: Callable  # (target scores [n], other scores [m]) -> rate
    of_shares: Callable | None = None  # (tpr, fpr [thresholds, resamples]) -> rates [resamples]
    lower_is_better: bool = False


DETECTION_METRICS = {
    "auc": DetectionMetric("AUC", auc, auc_of_shares),
    "fpr95": DetectionMetric("FPR95", fpr95, fpr95_of_shares, lower_is_better=True),
    "eer": DetectionMetric("EER", equal_error_rate_only, eer_of_shares, lower_is_better=True),
}


# ---- open set -------------------------------------------------------------------------------------------------------


def oscr(target, correct, other):
    """Area in [0, 1] under the rate of correct classification over the false positive rate (Dhamija et al., 2018).

    `correct` [n] is true where the class of a known clip is right. Only these clips count as accepted. OSCR equals the
    AUC when all classes are right.
    """
    thresholds, _, fpr = roc(target, other)
    target = np.asarray(target, np.float64)
    correct = np.asarray(correct, bool)
    if target.shape != correct.shape:
        raise InputError(f"{target.size} target scores and {correct.size} values of `correct`: expected one for each")
    kept = np.sort(target[correct])
    return float(np.trapezoid((len(kept) - np.searchsorted(kept, thresholds)) / len(target), fpr))
