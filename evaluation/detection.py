"""Detection of unseen codecs from saved embeddings: the metrics of each detector on each condition.

The known test clips are the target of each metric. Every clip of a condition counts as unseen, whatever its label.
"""

from typing import NamedTuple

from tqdm import tqdm

from data.classes import KNOWN_CLASSES, with_traced_lists
from data.conditions import CONDITIONS, PAPER_MODELS, paper_columns, select, skipping_missing
from engine.bad_audio import report_bad_audio
from engine.feature_files import read_features
from evaluation.calibration import DEFAULT_DETECTOR
from evaluation.freshness import MEASURED_OF, of_detection
from evaluation.intervals import bootstrap_detection, interval
from evaluation.metrics import DETECTION_METRICS, achievable_fpr95, equal_error_rate
from evaluation.tables import make_resampling, percent, print_legend
from ood_detectors import DETECTORS, PUBLISHED
from utils.console import print_table
from utils.errors import InputError, MissingInput

KNOWN_SET = "known"  # the set of known test clips, beside those of the conditions
PAPER_MODEL = "W2VAASIST"  # the model of Table 5


class DetectionResult(NamedTuple):
    """The metrics of detectors: those of each condition, and their averages over the conditions."""

    metrics: dict  # as --json holds them: "clips" {set: number} and "figures", a dict for each detector and condition
    averages: dict  # {detector: {metric: (value in %, its interval)}}; printed only


def chosen_detectors(name, detectors):
    """The list of detectors that --ood_detector_name stands for. Raises InputError that lists them if it is unknown."""
    if name != "all" and name not in detectors:
        raise InputError(f"--ood_detector_name {name}: expected all or one of {', '.join(detectors)}")
    return list(detectors) if name == "all" else [name]


def single_detector(name):
    """The detector that --ood_detector_name stands for where only one is shown: for `all`, the detector of verdicts."""
    return DEFAULT_DETECTOR if name == "all" else chosen_detectors(name, DETECTORS)[0]


def read_known_sets(config, train=None):
    """(Outputs of the training set, of the known test set); the training set is read unless it is given.

    Raises InputError for a broken or missing feature file.
    """
    rows = {row.suite: row for row in CONDITIONS if row.suite in ("train", "id")}
    train = train or read_features(config.save_feats / rows["train"].features, condition=rows["train"])
    path = config.save_feats / rows["id"].features
    return train, read_features(path, train, "source_tracing_id.py", rows["id"])


def read_sets(config, train=None):
    """(Outputs of the training set, of the known test set, {condition name: Outputs} of the unseen ones).

    The training set is read unless it is given. Raises InputError for a broken or missing feature file; with
    --skip_missing, absent conditions are left out.
    """
    train, known = read_known_sets(config, train)
    unseen = {}
    for condition in select(config, "ood"):
        with skipping_missing(config, condition):
            path = config.save_feats / condition.features
            unseen[condition.name] = read_features(path, train, condition=condition)
    for name in ("train", "id", *unseen):
        report_bad_audio(config.result, name)
    if not unseen:
        raise MissingInput(f"{config.save_feats} has no feature file of an unseen condition: nothing to detect")
    return train, known, unseen


def resample_sets(config, sets):
    """The Resampling of {set: Outputs}, by file names where the feature files have them."""
    return make_resampling(config, {which: outputs.names or len(outputs.logits) for which, outputs in sets.items()})


def score_sets(name, train, sets):
    """{set: scores [n]} of {set: Outputs} by a detector fitted to the Outputs `train`."""
    try:
        detector = DETECTORS[name]().fit(train)
        return {which: detector.score(outputs).numpy() for which, outputs in sets.items()}
    except InputError as error:
        raise InputError(f"detector {name}: {error}") from None


def measure_scores(scores, resampling):
    """(metrics, replicates) of a detector with `scores` {set: [n]}: both {condition: {metric: ...}}.

    The metrics are DETECTION_METRICS with their intervals and fpr95_achievable, all in %, and eer_threshold.
    """
    target = scores[KNOWN_SET]
    metrics = {}
    replicates = {}
    for condition, measured in bootstrap_detection(resampling, scores, KNOWN_SET).items():
        row = {name: 100 * value for name, (value, _) in measured.items()}
        row["fpr95_achievable"] = 100 * achievable_fpr95(target, scores[condition])
        row["eer_threshold"] = equal_error_rate(target, scores[condition])[1]
        row |= {f"{name}_interval": interval(around) for name, (_, around) in measured.items()}
        metrics[condition] = row
        replicates[condition] = {name: around for name, (_, around) in measured.items()}
    return metrics, replicates


def average_metrics(metrics, replicates):
    """{metric: (value in %, its interval)}: the averages over the conditions of what measure_scores() gives."""
    averages = {}
    for name in DETECTION_METRICS:
        value = sum(row[name] for row in metrics.values()) / len(metrics)
        averages[name] = value, interval(sum(row[name] for row in replicates.values()) / len(replicates))
    return averages


def published_metrics(config, classes):
    """{detector: {condition: {metric: value in %}}} of Table 5; empty where the corpus is not ST-Codecfake.

    `classes` is the number of classes of the embeddings.
    """
    return PUBLISHED if PAPER_MODEL in paper_columns(config) and classes == KNOWN_CLASSES else {}


def detect_unseen(config):
    """The DetectionResult of the detectors and conditions that `config` selects.

    Raises InputError for an unknown detector or condition, a broken feature file, and a detector that cannot be
    fitted, MissingInput for an absent feature file.
    """
    names = chosen_detectors(config.ood_detector_name, DETECTORS)
    config = with_traced_lists(config)
    measured_of = of_detection(config)
    train, known, unseen = read_sets(config)
    sets = {KNOWN_SET: known, **unseen}
    resampling = resample_sets(config, sets)
    published = published_metrics(config, train.logits.shape[1])
    rows = []
    averages = {}
    for name in tqdm(names, desc="detectors", unit="detector"):
        metrics, replicates = measure_scores(score_sets(name, train, sets), resampling)
        averages[name] = average_metrics(metrics, replicates)
        for condition, measured in metrics.items():
            paper = published.get(name, {}).get(condition)
            rows.append({"detector": name, "condition": condition, **measured, "paper": paper})
    clips = {"train": len(train.logits)} | {which: len(outputs.logits) for which, outputs in sets.items()}
    return DetectionResult({"clips": clips, "figures": rows, MEASURED_OF: measured_of}, averages)


def measure_detection(config):
    """The metrics of detect_unseen(), as --json holds them."""
    return detect_unseen(config).metrics


def average_published(rows):
    """{metric: average over the conditions} of the published values of a detector; None where one is not known."""
    averages = {}
    for name in DETECTION_METRICS:
        values = [(row["paper"] or {}).get(name) for row in rows]
        averages[name] = None if None in values else sum(values) / len(values)
    return averages


def metrics_cell(values):
    """The values of the metrics in %, in one cell of the table; a dash for an unknown one."""
    return " ".join(f"{percent(value):>6}" for value in values)


def detector_rows(name, rows, average):
    """The rows of the table for a detector: its metrics, the ends of their intervals, and the published values.

    `rows` hold its metrics of each condition, `average` is what average_metrics() gives.
    """
    cells = [[row[metric] for metric in DETECTION_METRICS] for row in rows]
    cells.append([average[metric][0] for metric in DETECTION_METRICS])
    lines = [(name, *map(metrics_cell, cells))]
    intervals = [[row[f"{metric}_interval"] for metric in DETECTION_METRICS] for row in rows]
    intervals.append([average[metric][1] for metric in DETECTION_METRICS])
    if None not in intervals[0]:
        for end, title in enumerate(("  from", "  to")):
            lines.append((title, *(metrics_cell(ends[end] for ends in cell) for cell in intervals)))
    if any(row["paper"] for row in rows):
        papers = [row["paper"] or {} for row in rows] + [average_published(rows)]
        cells = [[paper.get(metric) for metric in DETECTION_METRICS] for paper in papers]
        lines.append((f"  paper {PAPER_MODELS[PAPER_MODEL]}", *map(metrics_cell, cells)))
    return lines


def print_detection(detection, config):
    """Print a DetectionResult as a table: a row for each detector, a column for each condition and their average."""
    clips = detection.metrics["clips"]
    measured = detection.metrics["figures"]
    *titles, last = [metric.title for metric in DETECTION_METRICS.values()]
    print(f"{', '.join(titles)} and {last} in %: {clips['train']} training clips, {clips[KNOWN_SET]} known test clips")
    conditions = [name for name in clips if name not in ("train", KNOWN_SET)]
    lines = []
    for name, average in detection.averages.items():
        lines += detector_rows(name, [row for row in measured if row["detector"] == name], average)
    print_table(("detector", *(f"{name} ({clips[name]})" for name in conditions), "average"), lines)
    print(
        "FPR95: unseen clips accepted with 95 % of the known; OpenOOD's is known clips rejected with 95 % of the unseen"
    )
    print_legend(config, "from, to")
    notes = [
        f"{row['detector']} on {row['condition']} {row['fpr95_achievable']:.2f}"
        for row in measured
        if abs(row["fpr95"] - row["fpr95_achievable"]) > 0.1
    ]
    if notes:
        print("These FPR95 lie between two thresholds, because of ties or few clips. The lowest attainable ones are:")
        print(*(f"  {note}" for note in notes), sep="\n")
