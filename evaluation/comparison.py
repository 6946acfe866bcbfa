"""Paired differences of two runs on the same clips, with bootstrap intervals.

Both runs are resampled alike: clips that are hard for both runs cancel in the difference.
"""

from dataclasses import replace

import numpy as np

from data.classes import evaluated_class_names, with_traced_lists
from data.conditions import SHIFTED, select, skipping_missing
from engine.score_files import score_files
from evaluation.detection import KNOWN_SET, read_sets, score_sets, single_detector
from evaluation.freshness import MEASURED_OF, lists_of, of_files
from evaluation.intervals import bootstrap_classification, bootstrap_detection, interval, share_replicates
from evaluation.known_sources import read_traced
from evaluation.metrics import DETECTION_METRICS, accuracy, reported_metrics
from evaluation.tables import make_resampling, percent, print_legend
from utils.console import print_table
from utils.errors import InputError, MissingInput


def config_for_run(config, folder):
    """`config` with the score files and embeddings of the run in `folder`. Raises InputError when it is no folder."""
    result = folder / "result" if (folder / "result").is_dir() else folder
    if not result.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of a run, which holds result/ and save_feats/")
    return replace(config, result=result, save_feats=result.parent / "save_feats", skip_missing=True)


def match_names(names, others, what):
    """Positions in `others` of the file `names`. Raises InputError unless both lists hold the same clips of `what`."""
    where = {name: row for row, name in enumerate(others)}
    unmatched = set(names) ^ set(others)
    if unmatched:
        raise InputError(
            f"{what}: the two runs were traced on different clips ({len(unmatched)} are in only one of them, such as"
            f" {min(unmatched)}): trace both on the same corpus"
        )
    return [where[name] for name in names]


def paired_difference(condition, metric, a, b, lower_is_better=False):
    """A row of the comparison. `a` and `b` are (value, replicates [resamples]) of rates in [0, 1]."""
    low, high = interval(b[1] - a[1])
    winner = "b" if (b[0] > a[0]) != lower_is_better else "a"
    return {
        "condition": condition,
        "figure": metric,
        "a": 100 * float(a[0]),
        "b": 100 * float(b[0]),
        "difference": 100 * float(b[0] - a[0]),
        "interval": [low, high],
        "better": winner if low > 0 or high < 0 else None,
    }


def compare_f1(configs, condition):
    """Rows of a condition: macro F1 over its classes, or the F1 of its one class.

    `configs` are those of the two runs. Raises MissingInput when one of them has no score file of the condition.
    """
    config = configs[0]
    (_, names, truth, first), (_, others, _, second) = (read_traced(config, condition) for config in configs)
    second = np.array(second)[match_names(names, others, condition.name)]
    resampling = make_resampling(config, {"clips": names})
    answers = [(truth, np.array(first)), (truth, second)]
    if condition.label is not None:
        rights = [predicted == np.array(truth) for _, predicted in answers]
        sides = [
            (accuracy(*pair), share_replicates(resampling, "clips", right))
            for pair, right in zip(answers, rights, strict=True)
        ]
        return [paired_difference(condition.name, "f1", *sides)]
    classes = len(evaluated_class_names(config))
    a, b = (bootstrap_classification(resampling, {"clips": pair}, classes) for pair in answers)
    return [
        paired_difference(condition.name, name.replace("_", " "), a[name], b[name])
        for name in reported_metrics("comparison")
    ]


def compare_detection(configs, detector):
    """Rows of the detection metrics of a detector for each unseen condition of which both runs have embeddings.

    `configs` are those of the two runs. Raises MissingInput when one of them has no embeddings.
    """
    scores = []
    names = []
    for config in configs:
        train, known, unseen = read_sets(config)
        sets = {KNOWN_SET: known, **unseen}
        scores.append(score_sets(detector, train, sets))
        names.append({which: outputs.names or range(len(outputs.logits)) for which, outputs in sets.items()})
    shared = [which for which in scores[0] if which in scores[1]]
    first = {which: scores[0][which] for which in shared}
    second = {which: scores[1][which][match_names(names[0][which], names[1][which], which)] for which in shared}
    files = {which: len(names[0][which]) if isinstance(names[0][which], range) else names[0][which] for which in shared}
    resampling = make_resampling(configs[0], files)
    a, b = (bootstrap_detection(resampling, of_run, KNOWN_SET) for of_run in (first, second))
    return [
        paired_difference(which, f"{detector} {name}", a[which][name], b[which][name], metric.lower_is_better)
        for which in a
        for name, metric in DETECTION_METRICS.items()
    ]


def files_of(configs):
    """The score files, embeddings and lists of clips of the two runs of `configs`."""
    rows = select(configs[0], "train", "id", *SHIFTED, "ood")
    paths = lists_of(configs[0], *(row for row in rows if row.suite == "id"))
    for config in configs:
        paths += [path for row in rows for path in score_files(config.result, row.result)]
        paths += [config.save_feats / row.features for row in rows if row.features]
    return paths


def compare_runs(config):
    """{"a", "b", "differences"}: the two runs of `config` and each paired difference, B minus A, in percentage points.

    Prints the name of each condition that one of the runs lacks. Raises MissingInput when nothing can be compared.
    """
    if not config.resamples:
        raise InputError("--resamples 0: a difference cannot be judged without resamples")
    detector = single_detector(config.ood_detector_name)
    configs = [config_for_run(config, folder) for folder in (config.a, config.b)]
    configs = [with_traced_lists(config) for config in configs]
    measured_of = of_files(config, files_of(configs))
    rows = []
    unseen = []
    for condition in select(configs[0], "id", *SHIFTED, "ood"):
        if condition.suite == "ood":
            unseen.append(condition.name)
            continue
        with skipping_missing(configs[0], condition):
            rows += compare_f1(configs, condition)
    try:
        if unseen:
            rows += compare_detection([replace(config, condition=tuple(unseen)) for config in configs], detector)
    except MissingInput as absent:
        print(f"skipped unseen codecs: {absent}")
    if not rows:
        raise MissingInput(f"{config.a} and {config.b} have no score file or embeddings of a condition in common")
    return {"a": str(config.a), "b": str(config.b), "differences": rows, MEASURED_OF: measured_of}


def print_comparison(metrics, config):
    """Print what compare_runs() gives: a row for each difference, then how many of them hold."""
    verdicts = {"a": "A is better", "b": "B is better", None: "no difference shown"}
    differences = metrics["differences"]
    print(f"A = {metrics['a']}, B = {metrics['b']}; in %, differences B - A in percentage points")
    rows = [
        (
            f"{row['condition']} {row['figure']}",
            percent(row["a"]),
            percent(row["b"]),
            percent(row["difference"], row["interval"]),
            verdicts[row["better"]],
        )
        for row in differences
    ]
    print_table(("metric", "A", "B", "B - A", ""), rows)
    print_legend(config)
    holding = sum(row["better"] is not None for row in differences)
    print(
        f"{holding} of {len(rows)} differences hold: their interval excludes 0. Of {len(rows)} without any true"
        f" difference, about {0.05 * len(rows):.1f} would hold by chance."
    )
