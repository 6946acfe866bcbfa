"""F1 of score files, printed beside the paper's figures; shared by every evaluate_id and evaluate_alm script."""

import json

from data.conditions import PAPER_MODELS, select
from engine.bad_audio import report_bad_audio
from engine.score_files import find_scores, pair, read_scores
from evaluation.intervals import LEVEL, Resampling, interval, share_replicates
from evaluation.metrics import accuracy
from utils.console import print_table
from utils.errors import MissingInput
from utils.files import write_text


def percent(value, interval=None):
    """A figure in % to two places, or a dash for one that is not known; with its interval, where there is one."""
    around = f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""
    return "-" if value is None else f"{value:.2f}{around}"


def cell(figures, name):
    """The figure `name` of a dict in % to two places, with its interval, `name`_interval, where that is there."""
    return percent(figures[name], figures.get(f"{name}_interval"))


def resample(config, names):
    """The Resampling of {set: file names} that the flags ask for."""
    return Resampling(names, config.resamples, config.cluster, config.seed)


def print_legend(config, form="[low, high]"):
    """Tell what the intervals are, which stand in this form, where there are any."""
    if config.resamples:
        each = {"none": "each file by itself"}.get(config.cluster, f"files of one {config.cluster} together, by name")
        print(f"{form}: {LEVEL} % bootstrap interval, {config.resamples} resamples, {each}")


def write_metrics(config, figures):
    """Write `figures` to --json, where it is given."""
    if config.json:
        write_text(config.json, json.dumps(figures, indent=2) + "\n")
        print(f"wrote {config.json}")


def traced(config, condition):
    """(score file, file names, true classes, predicted classes) of a condition, joined by name.

    Names are checked against the corpus; where it is not at hand, the class of every clip must be that of the
    condition. Raises MissingInput where it is not, and InputError for a broken or missing score file.
    """
    path = find_scores(config.result, condition.result)
    scores = read_scores(path, config.num_classes)
    try:
        bad = report_bad_audio(config.result, condition.name)
        clips = [clip for clip in condition.clips(config) if clip.name not in bad]
        return path, [clip.name for clip in clips], *pair(scores, clips, path)
    except MissingInput:
        if condition.label is None:
            raise
        predicted = [label for label, _ in scores.values()]
        return path, list(scores), [condition.label] * len(predicted), predicted


def evaluate(config, suite, title):
    """Print under `title`, and write to --json, the F1 of every condition of `suite` beside the paper's.

    With one true class the micro F1 of the paper is the accuracy.
    """
    rows, figures = [], []
    for condition in select(config, suite):
        try:
            path, names, truth, predicted = traced(config, condition)
        except MissingInput as absent:
            if not config.skip_missing:
                raise
            print(f"skipped {condition.name}: {absent}")
            continue
        f1, right = 100 * accuracy(truth, predicted), [predicted[row] == label for row, label in enumerate(truth)]
        around = interval(share_replicates(resample(config, {"clips": names}), "clips", right))
        rows.append((condition.name, condition.label, len(names), percent(f1, around), *map(percent, condition.paper)))
        paper = dict(zip(PAPER_MODELS, condition.paper, strict=True))
        figures.append(
            {"condition": condition.name, "class": condition.label, "files": len(names), "f1": f1}
            | {"f1_interval": around, "paper": paper, "scores": str(path)}
        )
    print(title)
    print_table(("condition", "class", "files", "F1 (%)", *(f"paper {name}" for name in PAPER_MODELS.values())), rows)
    print_legend(config)
    write_metrics(config, {"suite": suite, "conditions": figures})
