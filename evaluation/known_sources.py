"""F1 of known sources: the closed set (Table 3) and the conditions that shift its speech (Tables 4 and 6).

Each measure_* function gives the dict that --json holds, each print_* function prints such a dict.
"""

from dataclasses import replace

from data.classes import evaluated_class_names, with_traced_lists
from data.conditions import CONDITIONS, PAPER_CLASS_F1, paper_columns, select
from engine.bad_audio import report_bad_audio
from engine.score_files import find_score_file, pair_by_name, read_class_scores
from evaluation.freshness import MEASURED_OF, of_known_sources
from evaluation.intervals import bootstrap_classification, in_percent, interval, share_replicates
from evaluation.metrics import accuracy, confusion, reported_metrics
from evaluation.tables import make_resampling, metric_cell, percent, print_legend, write_metrics
from utils.console import print_table
from utils.errors import MissingInput

SUITE_TITLES = {  # of tables, by suite of conditions
    "config": "Other configurations of known codecs (Table 4)",
    "source": "Known codecs on another source of speech (Table 4)",
    "unseen_real": "Unseen real speech (Table 4)",
    "alm": "Audio language models (Table 6)",
}


def read_traced(config, condition):
    """(score file, file names, true classes, predicted classes) of a condition, joined by name.

    Names are checked against the corpus; where it is not at hand, the class of every clip must be that of the
    condition. Raises MissingInput where it is not, and InputError for a broken or missing score file.
    """
    path = find_score_file(config.result, condition.result)
    names = evaluated_class_names(config)
    scores = read_class_scores(path, len(names))
    try:
        bad = report_bad_audio(config.result, condition.name)
        clips = [clip for clip in condition.clips(replace(config, class_names=tuple(names))) if clip.name not in bad]
        return path, [clip.name for clip in clips], *pair_by_name(scores, clips, path)
    except MissingInput:
        if condition.label is None:
            raise
        predicted = [label for label, _ in scores.values()]
        return path, list(scores), [condition.label] * len(predicted), predicted


# ---- closed set ------------------------------------------------------------------------------------------------------


def measure_closed_set(config):
    """Metrics in % of the closed-set test: F1 of each class, macro F1, accuracy, confusion, published values.

    Raises MissingInput and InputError as read_traced() does.
    """
    config = with_traced_lists(config)
    measured_of = of_known_sources(config, "id")
    condition = next(row for row in CONDITIONS if row.suite == "id")
    classes = evaluated_class_names(config)
    path, names, truth, predicted = read_traced(config, condition)
    resampling = make_resampling(config, {"id": names})
    measured = bootstrap_classification(resampling, {"id": (truth, predicted)}, len(classes))
    class_values, class_replicates = measured["class_f1"]
    columns = paper_columns(config)
    return {
        "scores": str(path),
        "classes": classes,
        "files": len(truth),
        **in_percent({name: measured[name] for name in reported_metrics("closed set")}),
        "class_f1": (100 * class_values).tolist(),
        "class_f1_interval": [interval(of_class) for of_class in class_replicates],
        "confusion": confusion(truth, predicted, len(classes)).tolist(),
        "paper": {model: condition.paper.get(model) for model in columns},
        "paper_class_f1": {model: PAPER_CLASS_F1[model] for model in columns if model in PAPER_CLASS_F1},
        MEASURED_OF: measured_of,
    }


def closed_set_rows(metrics):
    """Rows of Table 3: (class, files, F1, published F1 of each model), then the metrics of all classes.

    The paper has the macro F1, and none of the other metrics.
    """
    models, classes = list(metrics["paper"]), list(enumerate(metrics["classes"]))
    rows = [
        (
            f"{label} {name}",
            sum(metrics["confusion"][label]),
            percent(metrics["class_f1"][label], metrics["class_f1_interval"][label]),
            *(percent(metrics["paper_class_f1"][model][label]) for model in models),
        )
        for label, name in classes
    ]
    for name, metric in reported_metrics("closed set").items():
        published = [percent(metrics["paper"][model] if name == "macro_f1" else None) for model in models]
        rows.append((metric.title, metrics["files"], metric_cell(metrics, name), *published))
    return rows


def paper_titles(config):
    """Titles of the columns with published values; none where the corpus is not ST-Codecfake."""
    return [f"paper {name}" for name in paper_columns(config).values()]


def print_closed_set(metrics, config):
    """Print Table 3 of what measure_closed_set() gives."""
    print("Closed set (Table 3)")
    print_table(("class", "files", "F1 (%)", *paper_titles(config)), closed_set_rows(metrics))


# ---- other conditions ------------------------------------------------------------------------------------------------


def measure_conditions(config, suite):
    """F1 in % of every condition of `suite`, with intervals and published values. A condition has one true class.

    With one true class the micro F1 of the paper is the accuracy. With --skip_missing, absent conditions are named and
    left out. Raises MissingInput and InputError as read_traced() does.
    """
    config = with_traced_lists(config)
    measured_of = of_known_sources(config, suite)
    rows = []
    for condition in select(config, suite):
        try:
            path, names, truth, predicted = read_traced(config, condition)
        except MissingInput as absent:
            if not config.skip_missing:
                raise
            print(f"skipped {condition.name}: {absent}")
            continue
        right = [answer == label for answer, label in zip(predicted, truth, strict=True)]
        replicates = share_replicates(make_resampling(config, {"clips": names}), "clips", right)
        rows.append(
            {
                "condition": condition.name,
                "class": condition.label,
                "files": len(names),
                "f1": 100 * accuracy(truth, predicted),
                "f1_interval": interval(replicates),
                "paper": {model: condition.paper.get(model) for model in paper_columns(config)},
                "scores": str(path),
            }
        )
    return {"suite": suite, "conditions": rows, MEASURED_OF: measured_of}


def condition_rows(metrics):
    """Rows of Tables 4 and 6: (condition, class, files, F1, published F1 of each model)."""
    return [
        (row["condition"], row["class"], row["files"], metric_cell(row, "f1"), *map(percent, row["paper"].values()))
        for row in metrics["conditions"]
    ]


def evaluate_conditions(config, suite):
    """Print what measure_conditions() gives under its title in SUITE_TITLES, and write it to the file of --json."""
    metrics = measure_conditions(config, suite)
    print(SUITE_TITLES[suite])
    print_table(("condition", "class", "files", "F1 (%)", *paper_titles(config)), condition_rows(metrics))
    print_legend(config)
    write_metrics(config, metrics)
