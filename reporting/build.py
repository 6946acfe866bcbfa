"""build_report() gathers the sections of the report of a run, write_report() writes them."""

import importlib.metadata
import json
import platform
from typing import NamedTuple

from matplotlib.figure import Figure

from data.classes import evaluated_class_names, with_traced_lists
from evaluation.detection import single_detector
from evaluation.metric_files import REPORT_JSON
from reporting.evaluations import EVALUATIONS, measure_all
from reporting.files import REPORT_HTML, read_other_metrics
from reporting.other_sections import find_section
from reporting.overview import draw_overview, write_overview
from reporting.page import render_page
from reporting.plots import plot_curves, plot_embeddings, plot_histograms, plot_training
from reporting.run import ReportedRun, read_layer_shares, read_scored_sets, read_training
from reporting.sections import layers_section, missing_section, origin_section, overview_section
from utils.errors import InputError, MissingInput
from utils.files import write_text
from utils.hardware import hardware
from utils.model_files import LOG, RUN_JSON

REPORTED_LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy", "matplotlib")
OVERVIEW_NAME = "overview.png"
EMBEDDINGS = "curves and embeddings"  # what they are called where they are missing


class Report(NamedTuple):
    """All that write_report() writes."""

    sections: dict  # {heading: pieces}
    content: dict  # of report.json
    overview: Figure | None  # the run in one picture, where there is enough to draw


class SectionCollector:
    """Collects {heading: pieces} in `sections`; what cannot be shown goes to `missing` with the reason."""

    def __init__(self, missing):
        self.missing = missing
        self.sections = {}

    def attempt(self, name, function, *arguments):
        """What `function` gives; None where it raises an error for its input, which is then missing as `name`."""
        try:
            return function(*arguments)
        except InputError as error:
            self.missing[name] = str(error)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            reason = f"its file is not what this version writes ({error!r}): delete it or write it again"
            self.missing[name] = reason
        return None

    def add(self, heading, name, section, *arguments):
        """Add the pieces that `section` gives for its arguments, which are called `name`, under `heading`."""
        pieces = self.attempt(name, section, *arguments)
        if pieces:
            self.sections.setdefault(heading, []).extend(pieces)

    def add_evaluations(self, heading, metrics, run):
        """Add what the evaluations with this heading show of {name: metrics}."""
        rows = [row for row in EVALUATIONS if row.heading == heading and row.name in metrics]
        for section in dict.fromkeys(row.section for row in rows):
            measured = {row.name: metrics[row.name] for row in rows if row.section is section}
            self.add(heading, " ".join(measured), section, measured, run)

    def add_files(self, files):
        """Add the other files of metrics, {name: content}."""
        for name, content in files.items():
            row = find_section(content)
            self.add(row.heading, name, row.section, name, content)


def embedding_plots(detector, scored, config):
    """The plots of embeddings and of the detector's scores, of ScoredSets."""
    return [
        plot_histograms(detector, scored.known_scores, scored.unseen_scores),
        *plot_curves(detector, scored.known_scores, scored.unseen_scores),
        plot_embeddings(scored.train, scored.known, scored.unseen, evaluated_class_names(config)),
    ]


def overview_of(metrics, detector, scored):
    """The overview of a run. Raises MissingInput when its closed set or its embeddings are missing."""
    if "id_f1" not in metrics or not scored:
        raise MissingInput("it needs score files of the closed set, and embeddings")
    closed_set = metrics["id_f1"]
    arguments = detector, scored.known_scores, scored.unseen_scores
    return draw_overview(closed_set["confusion"], closed_set["classes"], *arguments)


def check_taxonomy(config, collector):
    """Note in `missing` that score files of a taxonomy system are there, but not their metrics."""
    if "Taxonomy" not in collector.sections and any(config.result.glob("taxonomy/*.txt")):
        path = config.result / "taxonomy/metrics.json"
        collector.missing["taxonomy"] = f"its score files have no metrics: run evaluate_taxonomy.py --json {path}"


def build_report(config):
    """The Report of the run that `config` names.

    Raises InputError for an unknown --ood_detector_name, MissingInput when there is nothing at all to report.
    """
    config = with_traced_lists(config)
    detector = single_detector(config.ood_detector_name)
    metrics, missing = measure_all(config)
    collector = SectionCollector(missing)
    training, log = collector.attempt("training", read_training, config.model_folder) or ({}, [])
    run = ReportedRun(config, training, log)
    files = read_other_metrics(config, [row.name for row in EVALUATIONS], missing)
    scored = collector.attempt(EMBEDDINGS, read_scored_sets, config, detector)
    if not metrics and not scored:
        raise MissingInput(
            f"{config.result} and {config.save_feats} hold nothing of a run to report: run the source_tracing scripts"
            " first, or give their folders as --result and --save_feats"
        )
    overview = collector.attempt(OVERVIEW_NAME, overview_of, metrics, detector, scored)

    collector.add("Overview", "overview", overview_section, metrics, detector, config)
    for heading in dict.fromkeys(row.heading for row in EVALUATIONS):
        collector.add_evaluations(heading, metrics, run)
        if heading == "Unseen codecs" and scored:
            collector.add(heading, EMBEDDINGS, embedding_plots, detector, scored, config)
    if log:
        collector.add("Training", LOG, lambda: [plot_training(log)])
    shares = collector.attempt("weights of the layers", read_layer_shares, config.model_folder, training)
    if shares:
        collector.add("Layers of the front end", "weights of the layers", layers_section, shares)
    collector.add_files(files)
    check_taxonomy(config, collector)
    versions = {name: importlib.metadata.version(name) for name in REPORTED_LIBRARIES}
    made_on = {**hardware(), "python": platform.python_version(), **versions}
    collector.add("How it was made", RUN_JSON, origin_section, training, made_on)
    if missing:
        collector.add("What is missing", "missing", missing_section, missing)
    content = {
        "evaluations": metrics,
        "other": files,
        "figures": plot_numbers(collector.sections),
        "run": training,
        "report": made_on,
        "missing": missing,
    }
    return Report(collector.sections, content, overview)


def plot_numbers(sections):
    """{name of a plot: {"title", "header", "rows"}} of all plots in {heading: pieces}."""
    plots = [piece for pieces in sections.values() for piece in pieces if piece.kind == "plot"]
    return {plot.name: {"title": plot.title, "header": plot.header, "rows": plot.rows} for plot in plots}


def write_report(config, report):
    """Write report.html, report.json and overview.png into --result; print their paths, and what they lack."""
    parts = {"model": report.content["run"].get("config", {}).get("model"), "score files": config.result}
    subtitle = " · ".join(f"{what} {value}" for what, value in parts.items() if value)
    page = render_page("CodecTrace: what the run shows", subtitle, report.sections)
    write_text(config.result / REPORT_JSON, json.dumps(report.content, indent=1) + "\n")
    write_text(config.result / REPORT_HTML, page)
    if report.overview:
        write_overview(config.result / OVERVIEW_NAME, report.overview)
        print(f"wrote {config.result / OVERVIEW_NAME}")
    for part, reason in report.content["missing"].items():
        print(f"not in the report: {part}: {reason}")
    print(f"wrote {config.result / REPORT_HTML} and {REPORT_JSON}")
