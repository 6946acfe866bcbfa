"""F1 of score files, printed beside the paper's figures; shared by every evaluate_id and evaluate_alm script."""

import json

from data.conditions import PAPER_MODELS, select
from errors import MissingInput
from files import write_text
from metrics import accuracy
from scores import find_scores, pair, read_scores


def percent(value):
    """A figure in % to two places, or a dash for one that is not known."""
    return "-" if value is None else f"{value:.2f}"


def print_table(header, rows):
    """Columns as wide as they need to be: the first aligned left, figures right."""
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = (
            f"{cell:<{w}}" if column == 0 else f"{cell:>{w}}"
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def write_figures(config, figures):
    """Write `figures` to --json, where it is given."""
    if config.json:
        write_text(config.json, json.dumps(figures, indent=2) + "\n")
        print(f"wrote {config.json}")


def single_class_f1(config, condition):
    """(score file, number of files, F1 in %) of a condition whose clips are all of one class.

    With one true class the micro F1 of the paper is the accuracy. Names are checked against the corpus where it is at
    hand. Raises InputError for a broken or missing score file.
    """
    path = find_scores(config.result, condition.result)
    scores = read_scores(path, config.num_classes)
    try:
        truth, predicted = pair(scores, condition.clips(config), path)
    except MissingInput:
        predicted = [label for label, _ in scores.values()]
        truth = [condition.label] * len(predicted)
    return path, len(truth), 100 * accuracy(truth, predicted)


def evaluate(config, suite, title):
    """Print under `title`, and write to --json, the F1 of every condition of `suite` beside the paper's."""
    rows, figures = [], []
    for condition in select(config, suite):
        try:
            path, count, value = single_class_f1(config, condition)
        except MissingInput as absent:
            if not config.skip_missing:
                raise
            print(f"skipped {condition.name}: {absent}")
            continue
        rows.append((condition.name, condition.label, count, percent(value), *map(percent, condition.paper)))
        paper = dict(zip(PAPER_MODELS, condition.paper, strict=True))
        figures.append(
            {"condition": condition.name, "class": condition.label, "files": count, "f1": value, "paper": paper}
            | {"scores": str(path)}
        )
    print(title)
    print_table(("condition", "class", "files", "F1 (%)", *(f"paper {name}" for name in PAPER_MODELS.values())), rows)
    write_figures(config, {"suite": suite, "conditions": figures})
