"""Figures of merit: arrays in, numbers out; no file is opened here.

Detection: scores are higher on the target, the known classes (or bona fide speech), than on the other side. A clip is
accepted when score >= threshold, so TPR is the share of the target that is accepted, FPR that of the other side.
All rates lie in [0, 1].
"""

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
    """Share of clips whose class is right; with one true class it equals the micro F1 of the papers."""
    truth, predicted = _classes(truth, predicted)
    return float((truth == predicted).mean())


def class_f1(truth, predicted, classes):
    """F1 [classes] of each class 0 ... `classes` - 1; 0 for one that is neither true nor predicted."""
    from sklearn.metrics import f1_score

    truth, predicted = _classes(truth, predicted)
    return f1_score(truth, predicted, labels=range(classes), average=None, zero_division=0)


def macro_f1(truth, predicted):
    """Mean F1 of the classes that occur in either list."""
    from sklearn.metrics import f1_score

    return float(f1_score(*_classes(truth, predicted), average="macro", zero_division=0))


def weighted_f1(truth, predicted):
    """Mean F1 of the classes, weighted by how many clips are truly of each."""
    from sklearn.metrics import f1_score

    return float(f1_score(*_classes(truth, predicted), average="weighted", zero_division=0))


def confusion(truth, predicted, classes):
    """Counts [true, predicted] of the classes 0 ... `classes` - 1; clips of another class are not counted."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(*_classes(truth, predicted), labels=range(classes))


def calibration_error(confidence, correct, bins=15):
    """Expected calibration error in [0, 1] of confidences [n] in [0, 1] over `bins` of equal width.

    Mean over clips of |accuracy - mean confidence| of the clip's bin (Guo et al., 2017, eq. 3). `correct` [n] is true
    where the predicted class is right.
    """
    confidence, correct = _scores(confidence, "confidence"), np.asarray(correct, float)
    if confidence.shape != correct.shape:
        raise InputError(f"{confidence.size} confidences and {correct.size} verdicts: expected one each")
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
    """Thresholds, true and false positive rates, one a distinct score from high to low after (inf, 0, 0).

    Raises InputError when a side is empty or holds a NaN; so do all the functions below.
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


def fpr95(target, other):
    """False positive rate where 95 % of the target is accepted, linear between the points of the ROC curve.

    This is the published figure. Between two points no threshold exists, see `achievable_fpr95`; where several points
    have a TPR of exactly 0.95, the largest FPR is taken. OpenOOD's FPR95 is another figure: it fixes the rejection of
    `other` at 95 % instead.
    """
    _, tpr, fpr = roc(target, other)
    return float(np.interp(0.95, tpr, fpr))


def achievable_fpr95(target, other):
    """The smallest false positive rate at a threshold that accepts at least 95 % of the target."""
    _, tpr, fpr = roc(target, other)
    return float(fpr[np.argmax(tpr >= 0.95)])


def equal_error_rate(target, other):
    """Equal error rate and its threshold, by the rule of the ASVspoof challenges.

    The mean of the two error rates at the first cut of the sorted scores where they are closest. Of equal scores the
    targets are rejected first, so ties count against the detector: constant scores have an EER of 1, not 0.5. An EER
    above 0.5 otherwise means that the sides are swapped.
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


# ---- open set -------------------------------------------------------------------------------------------------------


def oscr(target, correct, other):
    """Area in [0, 1] under the rate of correct classification over the false positive rate (Dhamija et al., 2018).

    `correct` [n] is true where the class of a known clip is right: only those count as accepted. It equals the AUC
    when all are.
    """
    thresholds, _, fpr = roc(target, other)
    target, correct = np.asarray(target, np.float64), np.asarray(correct, bool)
    if target.shape != correct.shape:
        raise InputError(f"{target.size} target scores and {correct.size} verdicts: expected one each")
    kept = np.sort(target[correct])
    return float(np.trapezoid((len(kept) - np.searchsorted(kept, thresholds)) / len(target), fpr))
