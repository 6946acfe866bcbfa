"""The evaluations of the report: their metrics are read from the JSON files in --result, or measured where needed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from data.conditions import paper_columns
from evaluation.detection import measure_detection
from evaluation.known_sources import measure_closed_set, measure_conditions
from evaluation.open_set import measure_open_set
from evaluation.tables import write_metrics
from reporting.files import newest_input, read_json
from reporting.sections import closed_set_section, detection_section, open_set_section, shifted_section
from utils.errors import InputError


class Evaluation(NamedTuple):
    """One evaluation of a run. Evaluations with the same heading share a section of the page."""

    name: str  # its metrics are in NAME.json of --result
    measure: Callable  # configuration -> dict of metrics
    heading: str
    section: Callable  # ({name: metrics} of the evaluations with this heading, ReportedRun) -> pieces of the section


EVALUATIONS = [
    Evaluation("id_f1", measure_closed_set, "Closed set", closed_set_section),
    Evaluation("id_config", partial(measure_conditions, suite="config"), "Other conditions", shifted_section),
    Evaluation("id_source", partial(measure_conditions, suite="source"), "Other conditions", shifted_section),
    Evaluation("id_unseenreal", partial(measure_conditions, suite="unseen_real"), "Other conditions", shifted_section),
    Evaluation("alm", partial(measure_conditions, suite="alm"), "Other conditions", shifted_section),
    Evaluation("ood", measure_detection, "Unseen codecs", detection_section),
    Evaluation("open_set", measure_open_set, "Known or unknown", open_set_section),
]


def is_current(metrics, config):
    """Whether metrics name their classes, and have published values exactly where those apply.

    Files of older versions have published values beside every corpus.
    """
    if not isinstance(metrics, dict):
        return False
    published = list(paper_columns(config))
    rows = [metrics] if "class_f1" in metrics else metrics.get("conditions", [])
    named = "class_f1" not in metrics or "classes" in metrics
    return named and all(list(row.get("paper") or {}) == published for row in rows)


def read_or_measure(evaluation, config, newest):
    """The metrics of an evaluation; they are measured, and written, where their file is absent, older or outdated.

    `newest` is newest_input(). Raises InputError when the file is damaged or the evaluation not possible.
    """
    path = config.result / f"{evaluation.name}.json"
    if path.is_file() and path.stat().st_mtime >= newest:
        metrics = read_json(path)
        if is_current(metrics, config):
            return metrics
    # All detectors and conditions are measured, whichever the plots show.
    config = replace(config, ood_detector_name="all", condition=("all",), skip_missing=True, json=path)
    write_metrics(config, evaluation.measure(config))
    return read_json(path)


def measure_all(config):
    """({name: metrics} of EVALUATIONS, {name: reason} of those that are not possible)."""
    metrics = {}
    missing = {}
    newest = newest_input(config)
    for evaluation in EVALUATIONS:
        try:
            measured = read_or_measure(evaluation, config, newest)
        except InputError as error:
            missing[evaluation.name] = str(error)
            continue
        if measured.get("conditions") == []:
            missing[evaluation.name] = "there is no score file of these conditions"
        else:
            metrics[evaluation.name] = measured
    return metrics, missing
