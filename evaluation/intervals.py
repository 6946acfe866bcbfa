"""95 % bootstrap intervals of the metrics: clips of one speaker, or utterance, are resampled together.

The versions of an utterance, and the utterances of a speaker, are alike. Resampling them one by one would give
intervals that are too narrow, by a factor of up to 3.6 on the published scores of mel-LCNN. File names say which clips
belong together (data/names.py). A clip whose name does not say it is resampled by itself. An interval holds for one
trained model; summarise_seeds.py shows how much another training differs. A metric without any error, such as an F1 of
100 %, has an interval of no width, because resampling cannot make an error that never occurred.
"""

import numpy as np
from scipy.sparse import csr_array

from data.names import cluster_of
from evaluation.metrics import CLASSIFICATION_METRICS, DETECTION_METRICS, class_f1, class_f1_of_counts

INTERVAL_LEVEL = 95  # per cent of the resamples lie in an interval
SCORE_SLOTS = 2048  # that the pooled scores are sorted into; fewer distinct scores are kept as they are
PRODUCT_SIZE = 1 << 25  # numbers that a product holds at once: bounds the memory


class Resampling:
    """The same bootstrap resamples of several sets of clips, so that whatever is computed from them is paired.

    `names` is {set: its file names, or a number of clips without names}. Without a `kind`, equal names are a cluster.
    Clusters that occur in the same sets make a stratum, of which each resample draws as many as there are. So a
    speaker's clips of all sets come together, and no set is ever empty.
    """

    def __init__(self, names, resamples, kind="speaker", seed=0):
        index = {}
        present = []
        self.ids = {}
        for which, files in names.items():
            files = [None] * files if isinstance(files, int) else files
            keys = (
                (file and (cluster_of(file, kind) if kind else file)) or (which, row) for row, file in enumerate(files)
            )
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
        """How many clips [size, resamples] of a set lie in each slot, for integer `slots` [n] below `size`; float32."""
        ids = self.ids[which]
        resamples, clusters = self.weights.shape
        table = csr_array((np.ones(len(ids), np.float32), (slots, ids)), (size, clusters))
        step = max(1, PRODUCT_SIZE // clusters)
        parts = [table @ self.weights[start : start + step].T.astype(np.float32) for start in range(0, resamples, step)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((size, 0), np.float32)

    def drawn(self, which, resample):
        """Positions of the clips of a set in the resample of this number, each as often as it was drawn."""
        times = self.weights[resample][self.ids[which]]
        return np.repeat(np.arange(len(times)), times)


def interval(replicates):
    """[low, high] in %, of a rate's `replicates` [resamples] in [0, 1]: percentiles 2.5 and 97.5; None without any."""
    if np.isnan(replicates).all():
        return None
    ends = (100 - INTERVAL_LEVEL) / 2, (100 + INTERVAL_LEVEL) / 2
    return (100 * np.nanpercentile(replicates, ends)).tolist()


def in_percent(measured):
    """{metric: value in %, ..., metric_interval: [low, high], ...} of {metric: (value, replicates [resamples])}."""
    values = {name: 100 * float(value) for name, (value, _) in measured.items()}
    return values | {f"{name}_interval": interval(replicates) for name, (_, replicates) in measured.items()}


# ---- classification -------------------------------------------------------------------------------------------------


def share_replicates(resampling, which, right):
    """Share [resamples] of the clips of a set that `right` [n] is true of."""
    counts = resampling.counts(which, np.asarray(right, int), 2)
    return counts[1] / counts.sum(axis=0)


def confusion_replicates(resampling, answers, classes):
    """Counts [true, predicted, resamples], float32, of `answers` {set: (true classes [n], predicted classes [n])}."""
    pairs = {which: np.asarray(truth) * classes + np.asarray(answer) for which, (truth, answer) in answers.items()}
    counts = sum(resampling.counts(which, pair, classes**2) for which, pair in pairs.items())
    return counts.reshape(classes, classes, -1)


def pool_answers(answers, rows=None):
    """True and predicted classes of all sets of `answers`; with `rows` {set: positions}, of these clips only."""
    picked = [
        [np.asarray(column)[slice(None) if rows is None else rows[which]] for column in pair]
        for which, pair in answers.items()
    ]
    truth, predicted = (np.concatenate(columns) for columns in zip(*picked, strict=True))
    return truth, predicted


def bootstrap_classification(resampling, answers, classes):
    """{metric: (value, replicates [resamples])} of CLASSIFICATION_METRICS, and "class_f1".

    The value of "class_f1" is [classes], its replicates are [classes, resamples]. `answers` is {set: (true classes [n],
    predicted classes [n])}, which are taken together. A class that a resample neither holds nor predicts has no F1
    there (NaN) and is left out of the mean.
    """
    truth, predicted = pool_answers(answers)
    counts = confusion_replicates(resampling, answers, classes)
    measured = {"class_f1": (class_f1(truth, predicted, classes), class_f1_of_counts(counts))}
    for name, metric in CLASSIFICATION_METRICS.items():
        if metric.of_counts is not None:
            replicates = metric.of_counts(counts)
        else:
            draws = [{which: resampling.drawn(which, row) for which in answers} for row in range(counts.shape[2])]
            replicates = np.array([metric.formula(*pool_answers(answers, rows)) for rows in draws])
        measured[name] = metric.formula(truth, predicted), replicates
    return measured


# ---- detection ------------------------------------------------------------------------------------------------------


def sort_into_slots(scores):
    """({set: slot of each of its scores}, number of slots) of {set: scores [n]}.

    A slot is a distinct score. Of more than SCORE_SLOTS scores, that many slots hold equally many pooled clips.
    """
    pooled = np.sort(np.concatenate(list(scores.values())))
    edges = np.unique(pooled)
    if len(edges) > SCORE_SLOTS:
        edges = np.unique(pooled[np.linspace(0, len(pooled) - 1, SCORE_SLOTS + 1).astype(int)[:-1]])
    slots = {which: np.searchsorted(edges, values, side="right") - 1 for which, values in scores.items()}
    return slots, len(edges)


def accepted_shares(counts):
    """Share [slots + 1, resamples] of the clips in each slot or above, from all of them to none."""
    above = np.zeros((len(counts) + 1, counts.shape[1]))
    above[:-1] = counts[::-1].cumsum(axis=0)[::-1]
    return above / above[0]


def shares_of_resamples(resampling, scores):
    """{set: accepted_shares()} of {set: scores [n]}: first those of all clips, then those of each resample."""
    slots, size = sort_into_slots(scores)
    shares = {}
    for which, numbers in slots.items():
        once = np.bincount(numbers, minlength=size)[:, None]
        shares[which] = accepted_shares(np.concatenate((once, resampling.counts(which, numbers, size)), axis=1))
    return shares


def metric_of_resamples(resampling, metric, target, other):
    """The DetectionMetric [resamples] from the scores of each resample; `target` and `other` are (set, scores [n])."""
    return np.array(
        [
            metric.formula(*(scores[resampling.drawn(which, row)] for which, scores in (target, other)))
            for row in range(len(resampling.weights))
        ]
    )


def bootstrap_detection(resampling, scores, target):
    """{set: {metric: (value, replicates [resamples])}} of DETECTION_METRICS, for each set of `scores` but `target`.

    `scores` is {set: [n]}, higher on the target. A metric with a formula of shares gets them in slots of scores. The
    error that the slots make on all clips is subtracted from each resample.
    """
    shares = shares_of_resamples(resampling, scores)
    measured = {}
    for which in [which for which in scores if which != target]:
        measured[which] = {}
        for name, metric in DETECTION_METRICS.items():
            value = metric.formula(scores[target], scores[which])
            if metric.of_shares is None:
                replicates = metric_of_resamples(resampling, metric, (target, scores[target]), (which, scores[which]))
            else:
                in_slots = metric.of_shares(shares[target], shares[which])
                replicates = np.clip(in_slots[1:] + value - in_slots[0], 0, 1)
            measured[which][name] = value, replicates
    return measured
