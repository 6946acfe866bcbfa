"""The evaluations of the report: their metrics are read from the JSON files in --result, or measured where needed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from evaluation.detection import measure_detection
from evaluation.freshness import (
    ITSELF,
    MEASURED_OF,
    changes,
    digest_of_metrics,
    of_detection,
    of_known_sources,
    of_open_set,
)
from evaluation.known_sources import measure_closed_set, measure_conditions
from evaluation.metric_files import read_metrics
from evaluation.open_set import measure_open_set
from evaluation.tables import write_metrics
from reporting.sections import closed_set_section, detection_section, open_set_section, shifted_section
from utils.errors import InputError


class Evaluation(NamedTuple):
    """One evaluation of a run. Evaluations with the same heading share a section of the page."""

    name: str  # its metrics are in NAME.json of --result
    measure: Callable  # configuration -> dict of metrics
    heading: str
    section: Callable  # ({name: metrics} of the evaluations with this heading, ReportedRun) -> pieces of the section
    inputs: Callable = lambda config: {}  # what its metrics are measured of, which they hold as MEASURED_OF


def shifted(name, suite):
    """The Evaluation of the conditions of `suite`, which shift the speech of known sources."""
    measure, inputs = partial(measure_conditions, suite=suite), partial(of_known_sources, suite=suite)
    return Evaluation(name, measure, "Other conditions", shifted_section, inputs)


EVALUATIONS = [
    Evaluation("id_f1", measure_closed_set, "Closed set", closed_set_section, partial(of_known_sources, suite="id")),
    shifted("id_config", "config"),
    shifted("id_source", "source"),
    shifted("id_unseenreal", "unseen_real"),
    shifted("alm", "alm"),
    Evaluation("ood", measure_detection, "Unseen codecs", detection_section, of_detection),
    Evaluation("open_set", measure_open_set, "Known or unknown", open_set_section, of_open_set),
]


def kept_metrics(path, inputs):
    """(metrics in the file `path`, "") where they are those of `inputs`; otherwise (None, why they are not)."""
    if not path.is_file():
        return None, "there was no such file"
    try:
        metrics = read_metrics(path)
    except InputError:
        return None, "it is damaged"
    if not isinstance(metrics, dict):
        return None, "it is damaged"
    reason = changes(metrics.get(MEASURED_OF), inputs | {ITSELF: digest_of_metrics(metrics)})
    return (None, reason) if reason else (metrics, "")


def read_or_measure(evaluation, config):
    """The metrics of an evaluation; they are measured, and written, where their file is absent or of other inputs.

    Prints why they are measured. Raises InputError when the evaluation is not possible.
    """
    path = config.result / f"{evaluation.name}.json"
    # All detectors and conditions are measured, whichever the plots show.
    config = replace(config, ood_detector_name="all", condition=("all",), skip_missing=True, json=path)
    metrics, reason = kept_metrics(path, evaluation.inputs(config))
    if metrics is None:
        write_metrics(config, evaluation.measure(config))
        print(f"{path.name} is measured anew: {reason}")
        metrics = read_metrics(path)
    return metrics


def measure_all(config):
    """({name: metrics} of EVALUATIONS, {name: reason} of those that are not possible)."""
    metrics = {}
    missing = {}
    for evaluation in EVALUATIONS:
        try:
            measured = read_or_measure(evaluation, config)
        except InputError as error:
            missing[evaluation.name] = str(error)
            continue
        if measured.get("conditions") == []:
            missing[evaluation.name] = "there is no score file of these conditions"
        else:
            metrics[evaluation.name] = measured
    return metrics, missing
