"""The section of the report for the file that evaluate_held_out.py --json writes, and the plot of its --plot."""

import re

import numpy as np

from evaluation.tables import percent
from reporting.drawing import KNOWN_COLOUR, check_png, make_plot, write_png
from reporting.pieces import Paragraph, Table
from utils.colours import INK
from utils.errors import InputError

METRIC_TITLES = {"f1": "F1", "macro_f1": "macro F1", "eer": "EER", "right": "right codec"}  # of keys; others say it
CURVE_INCHES = (5, 3.4)


def metrics_table(rows, leading, caption):
    """A Table of dicts: the columns `leading` as they are, then every other key as a metric in % with its interval.

    A metric that a row does not have, or that is NaN, is a dash.
    """
    keys = dict.fromkeys(key for row in rows for key in row if key not in leading and not key.endswith("_interval"))
    header = (*leading, *(METRIC_TITLES.get(key, key.replace("_", " ")) for key in keys))
    cells = [(*map(row.get, leading), *(known_percent(row, key) for key in keys)) for row in rows]
    return Table(header, cells, caption)


def known_percent(row, key):
    """The metric `key` of a dict in % with its interval; a dash where the dict lacks it or has NaN."""
    value = row.get(key)
    return percent(None if value is None or np.isnan(value) else value, row.get(f"{key}_interval"))


def held_out_section(name, metrics):
    """F1 of each label, verdicts, treatments, enrolment and the risk-coverage curve, with whole groups held out."""
    macro = {key.removeprefix("macro_"): metrics[key] for key in ("macro_f1", "macro_f1_interval")}
    macro |= {"label": "macro", "groups": metrics["groups"], "clips": metrics["clips"]}
    caption = f"{name}: each of {metrics['groups']} groups held out in turn (metrics in %)"
    pieces = [metrics_table([*metrics["labels"], macro], ("label", "groups", "clips"), caption)]
    if "verdicts" in metrics:
        pieces += verdict_pieces(metrics["verdicts"])
    if "risk_coverage" in metrics:
        pieces.append(plot_risk_coverage(name, metrics["risk_coverage"]))
    if metrics.get("treatments"):
        caption = "After a treatment of the held-out clips (%)"
        pieces.append(metrics_table(metrics["treatments"], ("treatment",), caption))
    if metrics.get("enrolment"):
        caption = "Codecs that the reader has not learned, enrolled from k clips each (%)"
        pieces.append(metrics_table(metrics["enrolment"], ("k", "codecs", "clips"), caption))
    return pieces


def verdict_pieces(verdicts):
    """How often each verdict is given, for each kind of clips that there are."""
    kinds = [{"clips of": kind, **rates} for kind, rates in verdicts.items() if kind != "named_right"]
    kinds = [row for row in kinds if row["clips"]]
    pieces = [
        metrics_table(kinds, ("clips of", "clips"), "Verdicts that predict.py would give of the held-out clips (%)")
    ]
    if verdicts["named_right"] is not None:
        words = f"{verdicts['named_right']:.1f} % of the verdicts that name a codec are right."
        pieces.append(Paragraph(words))
    return pieces


# ---- the risk-coverage curve -----------------------------------------------------------------------------------------


def draw_risk_coverage(axes, points):
    """Draw rows {"coverage", "right"} in % as a line with points."""
    coverage = [point["coverage"] for point in points]
    right = [point["right"] for point in points]
    axes.grid(color=INK, alpha=0.15, linewidth=0.8)
    axes.plot(coverage, right, "o-", color=KNOWN_COLOUR, markersize=5, clip_on=False, zorder=3)
    ticks = range(0, 101, 20)
    axes.set(xlim=(0, 100), ylim=(0, 100), xticks=ticks, yticks=ticks)
    axes.set(xlabel="answered (% of clips)", ylabel="right (% of answers)")


def plot_risk_coverage(name, points):
    """The curve of rows {"coverage", "right"}, of the file `name`."""
    return make_plot(
        f"risk-coverage-{re.sub('[^a-zA-Z0-9_]+', '-', name.removesuffix('.json'))}",
        "How many answers are right when only the most probable ones are given",
        "The most probable answers come first. Every answer for a codec that the reader has not learned is wrong.",
        ("answered (% of clips)", "right (% of answers)"),
        [(point["coverage"], point["right"]) for point in points],
        lambda axes: draw_risk_coverage(axes, points),
        CURVE_INCHES,
    )


def check_curve_file(config):
    """Raise InputError when the file of --plot cannot be drawn: without --save, without .png, or write-protected."""
    if config.plot and not config.save:
        raise InputError("--plot draws a curve of the calibrated model: give --save too")
    check_png(config.plot)


def write_risk_coverage(path, metrics):
    """Write the risk-coverage curve of the metrics of evaluate_held_out.py to `path`, as PNG."""
    write_png(path, lambda axes: draw_risk_coverage(axes, metrics["risk_coverage"]), CURVE_INCHES)
