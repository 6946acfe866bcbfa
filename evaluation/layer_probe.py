"""Which layers of a front end carry the task: a linear probe on the pooled hidden states of each layer.

A probe is a logistic regression (Alain and Bengio, 2016, arXiv 1610.01644). It needs no training of a network, so that
all layers take minutes. It says where the classes can be read off by a plane, not what a trained head would reach.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from data.clip_lists import groups_of_role
from data.conditions import CONDITIONS
from data.dataset import Clips
from data.names import cluster_of
from data.protocols import check_audio
from engine.cached_features import cached_features
from engine.inference import make_accelerator
from evaluation.held_out import RESAMPLES, macro_f1
from evaluation.intervals import INTERVAL_LEVEL, Resampling, confusion_replicates, interval
from evaluation.metrics import class_f1_of_counts
from evaluation.tables import metric_cell
from evaluation.treatments import drawn_clips
from utils.console import print_table
from utils.errors import InputError

FOLDS = 5  # at most; with so many groups or fewer, each is held out by itself
STEPS = 1000  # of the logistic regression, at most
SEVERAL = 4  # layers that the advice names together


class Probe(NamedTuple):
    """The clips of a probe, and which of them train it when others test it."""

    clips: list  # of data.protocols.Clip
    labels: np.ndarray  # [n], classes
    groups: np.ndarray  # [n], text: clips of one group are resampled together
    folds: list  # of (training positions, test positions); each clip is tested once at most
    left_out: int  # test clips of classes that their training lacks
    test: str  # what the test clips are, in words
    cluster: str  # what the groups are, in words


# ---- clips -----------------------------------------------------------------------------------------------------------


def read_probe(config):
    """The Probe that the flags ask for: training clips with groups of --group held out, or the development clips.

    Raises InputError for a broken corpus, fewer than two groups, and fewer than two classes that can be tested.
    """
    roles = ("train",) if config.group else ("train", "dev")
    parts = []
    for row in (row for role in roles for row in CONDITIONS if row.suite == role):
        clips = row.clips(config)
        check_audio(clips)
        parts.append(drawn_clips(clips, config))
    clips = [clip for part in parts for clip in part]
    labels = np.array([clip.label for clip in clips])
    if config.group:
        named = groups_of_role(config, "train", config.group, f"--group {config.group}")
        groups = np.array([named[clip.name] for clip in clips])
        folds = group_folds(labels, groups, config.group)
        test = f"held out: {len(set(groups))} groups of {config.group} in {len(folds)} parts"
        cluster = f"groups of {config.group}"
    else:
        groups = np.array([str(cluster_of(clip.name, config.cluster) or number) for number, clip in enumerate(clips)])
        folds = [np.split(np.arange(len(clips)), [len(parts[0])])]
        cluster = {"none": "clips"}.get(config.cluster, f"{config.cluster}s, or clips whose names do not say it,")
        test = "trained on the training clips, tested on the development clips"
    kept = testable(folds, labels, config)
    left_out = sum(len(test) for _, test in folds) - sum(len(test) for _, test in kept)
    return Probe(clips, labels, groups, kept, left_out, test, cluster)


def group_folds(labels, groups, column):
    """[(training positions, test positions)]: no group is on both sides. Raises InputError for a single group."""
    names = sorted(set(groups))
    if len(names) < 2:
        raise InputError(
            f"--group {column}: all clips are of the one group {names[0]}, expected at least 2: give another column"
        )
    if len(names) <= FOLDS:
        return [(np.flatnonzero(groups != name), np.flatnonzero(groups == name)) for name in names]
    most = max(2, min(FOLDS, np.bincount(labels).max()))  # scikit-learn wants a class with so many clips
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer clips than there are folds
        return list(StratifiedGroupKFold(most).split(labels, labels, groups))


def testable(folds, labels, config):
    """`folds` without the test clips whose class the training clips of the fold lack.

    Raises InputError where fewer than two classes are left to train or to test on.
    """
    kept = [(train, test[np.isin(labels[test], labels[train])]) for train, test in folds]
    tested = set(labels[np.concatenate([test for _, test in kept])])
    if len(tested) < 2 or any(len(set(labels[train])) < 2 for train, _ in kept):
        remedy = f"give another --group than {config.group}" if config.group else "give other development clips"
        raise InputError(f"a probe needs two classes that are both in its training and in its test clips: {remedy}")
    return kept


def pooled_states(config, clips):
    """(numbers of the layers, their pooled hidden states [n, layers, 2 width] float16, on disk) of `clips`.

    --cache_features keeps them. Raises InputError as cached_features() does.
    """
    accelerator = make_accelerator(config)
    stored, sets = cached_features(config, accelerator, {"clips": Clips(clips)}, pooled=True)
    accelerator.end_training()
    return stored.layers or (config.ssl_layer,), sets["clips"].states()


# ---- the probe -------------------------------------------------------------------------------------------------------


def answer(states, probe):
    """The class [n] that the linear probe on `states` [n, width] gives to each test clip; -1 to the other clips."""
    answers = np.full(len(states), -1)
    for train, test in probe.folds:
        if len(test):
            reader = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=STEPS))
            answers[test] = reader.fit(states[train], probe.labels[train]).predict(states[test])
    return answers


def probe_layers(layers, states, probe):
    """Metrics in % of the probe of each of the `layers`, whose `states` are [n, layers, width], and what they advise.

    "layers" are rows {"layer", "macro_f1", "macro_f1_interval"}; for the rest see advise().
    """
    tested = np.sort(np.concatenate([test for _, test in probe.folds]))
    classes, truth = np.unique(probe.labels[tested], return_inverse=True)
    resampling = Resampling({"test": probe.groups[tested].tolist()}, RESAMPLES, kind=None)
    rows = []
    for place, layer in enumerate(tqdm(layers, desc="probes", unit="layer")):
        given = answer(states[:, place].astype(np.float32), probe)[tested]
        answers = np.where(
            np.isin(given, classes), np.searchsorted(classes, given), len(classes)
        )  # last: other classes
        counts = confusion_replicates(resampling, {"test": (truth, answers)}, len(classes) + 1)
        f1 = np.where(counts.sum(axis=1) > 0, class_f1_of_counts(counts), np.nan)  # of the classes of a resample
        around = interval(np.nanmean(f1, axis=0))
        rows.append({"layer": layer, "macro_f1": 100 * macro_f1(truth, answers), "macro_f1_interval": around})
    about = {
        "test": probe.test,
        "clips": len(tested),
        "left_out": probe.left_out,
        "classes": len(classes),
        "resampled": f"{len(set(probe.groups[tested]))} {probe.cluster}",
    }
    return about | {"layers": rows} | advise(rows)


def advise(rows):
    """{"best", "smallest", "several"} of rows {"layer", "macro_f1", "macro_f1_interval"}: numbers of layers.

    The best one, the smallest one whose F1 is within the interval of the best, and the SEVERAL best together.
    """
    ranked = sorted(rows, key=lambda row: -row["macro_f1"])
    low = ranked[0]["macro_f1_interval"][0]
    return {
        "best": ranked[0]["layer"],
        "smallest": min(row["layer"] for row in rows if row["macro_f1"] >= min(low, ranked[0]["macro_f1"])),
        "several": sorted(row["layer"] for row in ranked[:SEVERAL]),
    }


def advice(metrics):
    """One line on what probe_layers() found."""
    best = next(row for row in metrics["layers"] if row["layer"] == metrics["best"])
    if best["macro_f1_interval"][0] <= 100 / metrics["classes"]:
        return "No layer carries the task: the interval of the best one reaches down to guessing."
    words = f"Best: layer {metrics['best']}. The smallest within its interval: layer {metrics['smallest']}."
    several = " ".join(map(str, metrics["several"]))
    return f"{words} The {len(metrics['several'])} best together: --ssl_layer {several}"


def print_probe(metrics):
    """Print what probe_layers() gives, and the advice."""
    left_out = f", {metrics['left_out']} more are of classes that training lacks" if metrics["left_out"] else ""
    print(f"Linear probe, {metrics['test']}: {metrics['clips']} test clips of {metrics['classes']} classes{left_out}")
    rows = [(row["layer"], metric_cell(row, "macro_f1")) for row in metrics["layers"]]
    print_table(("layer", "macro F1 (%)"), rows)
    print(f"[low, high]: {INTERVAL_LEVEL} % bootstrap interval, {metrics['resampled']} are resampled")
    print(advice(metrics))
