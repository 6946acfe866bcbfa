"""Known or unknown at the threshold of calibrate.py, beside metrics that need no threshold.

Open-set F1 is the macro F1 over the known classes and one more, unknown. OSCR is the area under the rate of known clips
that are accepted and traced rightly, over the rate of unknown clips that are accepted.
"""

import numpy as np
from tqdm import tqdm

from data.classes import with_traced_lists
from data.conditions import SHIFTED, conditions_of
from engine.score_files import find_score_file, read_class_scores
from evaluation.calibration import read_calibration, softmax_error
from evaluation.detection import KNOWN_SET, chosen_detectors, read_sets, resample_sets
from evaluation.freshness import MEASURED_OF, of_open_set
from evaluation.intervals import bootstrap_classification, bootstrap_detection, in_percent, interval, share_replicates
from evaluation.metrics import DETECTION_METRICS, oscr
from evaluation.tables import make_resampling, metric_cell, percent, print_legend
from utils.console import print_table
from utils.errors import MissingInput


def calibration_errors(calibrated, known):
    """Expected calibration error in % on the known test clips, before and after the temperature."""
    temperatures = {"before": 1, "after": calibrated.temperature}
    return {when: 100 * softmax_error(known.logits, known.labels, t) for when, t in temperatures.items()}


def open_set_answers(calibrated, detector, sets, scores, by_class):
    """{set: (true classes, answers, whether accepted)}, all [n]; unknown is the class after the known ones."""
    answers = {}
    unknown = len(calibrated.class_names)
    for which, outputs in sets.items():
        predicted = outputs.logits.argmax(dim=1).numpy()
        accepted = scores[which] >= calibrated.threshold(detector, predicted if by_class else None)
        truth = outputs.labels.numpy() if which == KNOWN_SET else np.full(len(predicted), unknown)
        answers[which] = truth, np.where(accepted, predicted, unknown), accepted
    return answers


def metrics_at_threshold(answers, condition, resampling):
    """{metric: (rate, replicates [resamples])} of the answers on the known clips and on those of a condition."""
    both_sets = {which: answers[which][:2] for which in (KNOWN_SET, condition)}
    classes = 1 + max(column.max() for pair in both_sets.values() for column in pair)
    accepted = answers[KNOWN_SET][2]
    rejected = ~answers[condition][2]
    return {
        "accepted": (accepted.mean(), share_replicates(resampling, KNOWN_SET, accepted)),
        "rejected": (rejected.mean(), share_replicates(resampling, condition, rejected)),
        "open_set_f1": bootstrap_classification(resampling, both_sets, classes)["macro_f1"],
    }


def measure_detector(calibrated, detector, sets, resampling):
    """{condition: metrics in %} of a detector, with intervals; `class_thresholds` has one threshold for each class."""
    scores = {which: calibrated.score(detector, outputs) for which, outputs in sets.items()}
    one, each = (open_set_answers(calibrated, detector, sets, scores, by_class) for by_class in (False, True))
    right = (sets[KNOWN_SET].logits.argmax(dim=1) == sets[KNOWN_SET].labels).numpy()
    metrics = {}
    for condition, free in bootstrap_detection(resampling, scores, KNOWN_SET).items():
        metrics[condition] = {
            "threshold": calibrated.threshold(detector),
            **in_percent(metrics_at_threshold(one, condition, resampling) | free),
            "oscr": 100 * oscr(scores[KNOWN_SET], right, scores[condition]),
            "class_thresholds": in_percent(metrics_at_threshold(each, condition, resampling)),
        }
    return metrics


def shifted_sources(config, calibrated):
    """Metrics of each condition whose clips are of a known class, at the threshold of msp, as in a verdict."""
    rows = []
    if not config.result.is_dir() or "msp" not in calibrated.detectors:
        return rows
    classes = len(calibrated.class_names)
    for condition in [row for row in conditions_of(config, *SHIFTED) if row.label < classes]:
        try:
            scores = read_class_scores(find_score_file(config.result, condition.result), classes)
        except MissingInput as absent:
            print(f"skipped {condition.name}: {absent}")
            continue
        accepted = [confidence >= calibrated.threshold("msp") for _, confidence in scores.values()]
        right = [label == condition.label for label, _ in scores.values()]
        resampling = make_resampling(config, {"clips": list(scores)})
        row = {"condition": condition.name, "files": len(scores)}
        for name, flags in (("accepted", accepted), ("right", right)):
            row[name] = 100 * sum(flags) / len(flags)
            row[f"{name}_interval"] = interval(share_replicates(resampling, "clips", flags))
        rows.append(row)
    return rows


def measure_open_set(config, calibrated=None):
    """The metrics that evaluate_open_set.py writes with --json, of the detectors and conditions that `config` selects.

    `calibrated` is the Calibration of --model_folder, which is read unless it is given. Raises InputError
    for an unknown detector or condition and for files that are damaged or of another model, MissingInput for a model
    that is not calibrated and for an absent feature file.
    """
    config = with_traced_lists(config)
    measured_of = of_open_set(config)
    calibrated = calibrated or read_calibration(config.model_folder)
    names = chosen_detectors(config.ood_detector_name, calibrated.scores)
    _, known, unseen = read_sets(config, calibrated.train)
    sets = {KNOWN_SET: known, **unseen}
    resampling = resample_sets(config, sets)
    rows = [
        {"detector": name, "condition": condition, **row}
        for name in tqdm(names, desc="detectors", unit="detector")
        for condition, row in measure_detector(calibrated, name, sets, resampling).items()
    ]
    return {
        "tpr": calibrated.tpr,
        "calibration_error": calibration_errors(calibrated, known),
        "clips": {which: len(outputs.logits) for which, outputs in sets.items()},
        "figures": rows,
        "shifted": shifted_sources(config, calibrated),
        MEASURED_OF: measured_of,
    }


def print_detectors(metrics):
    """Print the metrics of every detector: a table of the known clips, then one for each condition."""
    clips = metrics["clips"]
    measured = metrics["figures"]
    print(f"\nKnown test clips ({clips[KNOWN_SET]})")
    first = next(name for name in clips if name != KNOWN_SET)
    rows = [
        (row["detector"], f"{row['threshold']:.4g}", metric_cell(row, "accepted"))
        for row in measured
        if row["condition"] == first
    ]
    print_table(("detector", "threshold", "accepted (%)"), rows)
    free = ("oscr", *DETECTION_METRICS)
    for condition in [name for name in clips if name != KNOWN_SET]:
        print(f"\n{condition} ({clips[condition]} unseen clips)")
        rows = [
            (
                row["detector"],
                metric_cell(row, "rejected"),
                metric_cell(row, "open_set_f1"),
                *(percent(row[name]) for name in free),
            )
            for row in measured
            if row["condition"] == condition
        ]
        titles = ("OSCR", *(metric.title for metric in DETECTION_METRICS.values()))
        print_table(("detector", "rejected (%)", "open-set F1 (%)", *titles), rows)


def print_shifted(rows):
    """Print how known sources are judged under other conditions."""
    print("\nKnown sources under other conditions, at the threshold of msp")
    rows = [(row["condition"], row["files"], metric_cell(row, "accepted"), metric_cell(row, "right")) for row in rows]
    print_table(("condition", "files", "accepted (%)", "right class (%)"), rows)


def print_open_set(metrics, calibrated, config):
    """Print the metrics of measure_open_set() with a Calibration as tables."""
    errors = metrics["calibration_error"]
    print(f"Thresholds that keep {100 * metrics['tpr']:g} % of {len(calibrated.predicted)} known development clips")
    print(f"Calibration error on known test clips: {errors['before']:.2f} % before, {errors['after']:.2f} % after")
    print_detectors(metrics)
    if metrics["shifted"]:
        print_shifted(metrics["shifted"])
    print_legend(config)
