"""95 % bootstrap intervals of F1, AUC, FPR95 and EER: clips of one speaker, or utterance, are resampled together.

The versions of an utterance, and the utterances of a speaker, are alike: resampling them one by one would give
intervals that are too narrow, by a factor of up to 3.6 on the published scores of mel-LCNN. Which clips belong together
is read from their file names (data/names.py); a clip whose name does not tell is resampled by itself. An interval holds
for one trained model: how far another seed leads is another matter (summarise_seeds.py). A figure without any error,
such as an F1 of 100 %, has an interval of no width, as resampling cannot make the error that was never seen.
"""

import numpy as np
from scipy.sparse import csr_array

from data.names import cluster_of
from evaluation.metrics import auc, equal_error_rate, fpr95

LEVEL = 95  # per cent of the resamples lie in an interval
BINS = 2048  # of the pooled scores; fewer distinct scores are kept as they are
CHUNK = 1 << 25  # numbers that a product holds at once: what bounds memory


class Resampling:
    """The same bootstrap resamples of several sets of clips, so that whatever is computed from them is paired.

    `names` is {set: its file names, or a number of clips without names}. Clusters that occur in the same sets make a
    stratum, of which each resample draws as many as there are: a speaker's clips of all sets come together, and no set
    is ever empty.
    """

    def __init__(self, names, resamples, kind="speaker", seed=0):
        index, present = {}, []
        self.ids = {}
        for which, files in names.items():
            files = [None] * files if isinstance(files, int) else files
            keys = ((file and cluster_of(file, kind)) or (which, row) for row, file in enumerate(files))
            self.ids[which] = ids = np.array([index.setdefault(key, len(index)) for key in keys])
            present.append(set(ids.tolist()))
        strata = {}
        for number in range(len(index)):
            strata.setdefault(tuple(number in ids for ids in present), []).append(number)
        rng = np.random.default_rng(seed)
        # How often each resample holds each cluster. A byte is enough: of m draws among m, 255 never hit the same.
        self.weights = np.zeros((resamples, len(index)), np.uint8)
        for members in map(np.array, strata.values()):
            m = len(members)
            for row in self.weights:
                row[members] = np.bincount(rng.integers(m, size=m), minlength=m)

    def counts(self, which, slots, size):
        """How many clips [size, resamples] of a set lie in each slot, for integer `slots` [n] below `size`."""
        ids = self.ids[which]
        resamples, clusters = self.weights.shape
        table = csr_array((np.ones(len(ids), np.float32), (slots, ids)), (size, clusters))
        step = max(1, CHUNK // clusters)
        parts = [table @ self.weights[at : at + step].T.astype(np.float32) for at in range(0, resamples, step)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((size, 0), np.float32)


def interval(replicates):
    """[low, high] in %, of a rate's `replicates` [resamples] in [0, 1]: percentiles 2.5 and 97.5; None without any."""
    if np.isnan(replicates).all():
        return None
    return (100 * np.nanpercentile(replicates, ((100 - LEVEL) / 2, (100 + LEVEL) / 2))).tolist()


# ---- classification -------------------------------------------------------------------------------------------------


def share_replicates(resampling, which, right):
    """Share [resamples] of the clips of a set that `right` [n] is true of."""
    counts = resampling.counts(which, np.asarray(right, int), 2)
    return counts[1] / counts.sum(axis=0)


def f1_replicates(resampling, answers, classes):
    """{"class_f1" [classes, resamples], "macro_f1", "weighted_f1" [resamples]}, defined as in metrics.py.

    `answers` is {set: (true classes [n], predicted classes [n])}, which are taken together. A class that a resample
    neither holds nor predicts has no F1 there (NaN) and is left out of the mean.
    """
    pairs = {which: np.asarray(truth) * classes + np.asarray(answer) for which, (truth, answer) in answers.items()}
    table = sum(resampling.counts(which, pair, classes**2) for which, pair in pairs.items())
    table = table.reshape(classes, classes, -1).astype(np.float64)
    right, true, predicted = np.einsum("iir->ir", table), table.sum(axis=1), table.sum(axis=0)
    occurs = true + predicted > 0
    f1 = np.divide(2 * right, true + predicted, out=np.zeros_like(right), where=occurs)
    macro, weighted = f1.sum(axis=0) / occurs.sum(axis=0), (f1 * true).sum(axis=0) / true.sum(axis=0)
    return {"class_f1": np.where(occurs, f1, np.nan), "macro_f1": macro, "weighted_f1": weighted}


# ---- detection ------------------------------------------------------------------------------------------------------


def slots(scores):
    """({set: slot of each of its scores}, number of slots): distinct scores, or BINS of equally many pooled clips."""
    pooled = np.sort(np.concatenate(list(scores.values())))
    edges = np.unique(pooled)
    if len(edges) > BINS:
        edges = np.unique(pooled[np.linspace(0, len(pooled) - 1, BINS + 1).astype(int)[:-1]])
    found = {which: np.searchsorted(edges, values, side="right") - 1 for which, values in scores.items()}
    return found, len(edges)


def accepted(counts):
    """Share [size + 1, resamples] of clips in each slot or above, from all of them to none."""
    above = np.zeros((len(counts) + 1, counts.shape[1]))
    above[:-1] = counts[::-1].cumsum(axis=0)[::-1]
    return above / above[0]


def at(rates, rows):
    """rates[rows[r], r] for each resample r."""
    return np.take_along_axis(rates, rows[None], axis=0)[0]


def area(tpr, fpr):
    """Area under the curve of accepted shares [size + 1, resamples], by the trapezoid rule."""
    return ((tpr[1:] + tpr[:-1]) * (fpr[:-1] - fpr[1:])).sum(axis=0) / 2


def false_positives(tpr, fpr, share=0.95):
    """False positive rate where `share` of the target is accepted, as metrics.fpr95 has it."""
    before = (tpr > share).sum(axis=0) - 1
    high, low = at(tpr, before), at(tpr, before + 1)
    start, end = at(fpr, before), at(fpr, before + 1)
    return start + (high - share) / (high - low) * (end - start)


def equal_errors(tpr, fpr):
    """Equal error rate; within a slot the target is rejected first, as metrics.equal_error_rate has it for ties."""
    crossing = (1 - tpr < fpr).sum(axis=0)
    return np.minimum(at(fpr, crossing - 1), 1 - at(tpr, crossing))


FIGURES = {  # on all clips, and on the slots of resamples
    "auc": (auc, area),
    "fpr95": (fpr95, false_positives),
    "eer": (lambda target, other: equal_error_rate(target, other)[0], equal_errors),
}


def bootstrap_detection(resampling, scores, target):
    """{set: {"auc", "fpr95", "eer": (value, replicates [resamples])}} of the sets of `scores` but `target`, against it.

    `scores` is {set: [n]}, higher on the target. The error that the slots make on all clips is taken off everywhere.
    """
    where, size = slots(scores)
    curves, figures = {}, {}
    for which, found in where.items():
        once = np.bincount(found, minlength=size)[:, None]
        curves[which] = accepted(np.concatenate((once, resampling.counts(which, found, size)), axis=1))
    for which in [which for which in scores if which != target]:
        figures[which] = {}
        for name, (exactly, on_slots) in FIGURES.items():
            value, found = exactly(scores[target], scores[which]), on_slots(curves[target], curves[which])
            figures[which][name] = value, np.clip(found[1:] + value - found[0], 0, 1)
    return figures
