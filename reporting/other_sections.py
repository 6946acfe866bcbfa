"""The sections of the report for other JSON files in --result: each function returns the pieces of one.

It is given the name and the content of the file. OTHER_SECTIONS finds the function by the keys of the content.
"""

from collections.abc import Callable
from typing import NamedTuple

from evaluation.laundering_matrix import LAUNDERING_COLUMNS
from evaluation.metric_files import AGAIN
from evaluation.seeds import SeedSummary
from evaluation.shortcuts import AUDIT_COLUMNS
from evaluation.tables import metric_cell, percent
from reporting.held_out_section import held_out_section
from reporting.pieces import Folded, Paragraph, Table
from reporting.plots import plot_shortcuts, plot_treatments
from utils.reading import check_content


def taxonomy_section(name, metrics):
    """EER of spoof detection, and F1 of each task, of a taxonomy system."""
    rows = []
    pieces = []
    for task, measured in metrics["tasks"].items():
        values = [metric_cell(measured, key) if key in measured else None for key in ("eer", "weighted_f1", "macro_f1")]
        rows.append((task.upper(), measured["files"], *values))
        if "confusion" in measured:
            f1 = measured["class_f1"]
            around = measured.get("class_f1_interval", {})
            cells = [
                (label, percent(f1[label], around.get(label)), *counts)
                for label, counts in zip(f1, measured["confusion"], strict=True)
            ]
            header = ("class", "F1 (%)", *(f"as {label}" for label in f1))
            pieces.append(Folded(f"{task.upper()}: each class", Table(header, cells)))
    caption = f"{name}: {metrics['dataset']}, {metrics['list']}"
    header = ("task", "files", "EER (%)", "weighted F1 (%)", "macro F1 (%)")
    return [Table(header, rows, caption), *pieces]


def seeds_section(name, summary):
    """Mean and standard deviation of every metric over runs of several seeds."""
    check_content(summary, SeedSummary, name, AGAIN)
    runs = summary["runs"]
    rows = [
        (row["figure"], percent(row["mean"]), percent(row["sd"]), *(percent(row["values"][run]) for run in runs))
        for row in summary["figures"]
    ]
    return [Table(("metric", "mean", "standard deviation", *runs), rows)]


def treatments_table(treatments, columns):
    """A Table of the metrics {key: title} `columns` after each treatment, less those that no row has."""
    columns = {key: title for key, title in columns.items() if key in treatments[0]}
    rows = [(row["treatment"], row["clips"], *(metric_cell(row, key) for key in columns)) for row in treatments]
    return Table(("treatment", "clips", *columns.values()), rows)


def shortcuts_section(name, metrics):
    """How well simple measures separate the classes, and the model without a shortcut."""
    cells = {(row["measure"], row["class"]): metric_cell(row, "auc") for row in metrics["measures"]}
    measures = dict.fromkeys(row["measure"] for row in metrics["measures"])
    classes = dict.fromkeys(row["class"] for row in metrics["measures"])
    rows = [(measure, *(cells[measure, label] for label in classes)) for measure in measures]
    table = Folded(f"{name}: AUC (%) with intervals", Table(("measure", *classes), rows))
    pieces = [plot_shortcuts(metrics["measures"])]
    treatments = metrics["treatments"]
    if not treatments:
        return [*pieces, table]
    title = "The model without a shortcut, or with nothing else"
    bars = plot_treatments("audit", title, treatments, {"macro_f1": "macro F1", "same": "same answer"})
    return [*pieces, bars, table, treatments_table(treatments, AUDIT_COLUMNS)]


def laundering_section(name, metrics):
    """What remains of the closed set after coding, noise, rooms and a second codec."""
    treatments = metrics["treatments"]
    labels = {"macro_f1": "macro F1", "unknown": "unknown", "real_as_real": "real called real"}
    labels = {key: label for key, label in labels.items() if key in treatments[0]}
    words = (
        f"Unknown: below the threshold of {metrics['detector']}, which keeps {100 * metrics['tpr']:g} % of the"
        " development clips. After a second neural codec, the first codec still counts as the right answer."
    )
    bars = plot_treatments("laundering", "The closed set after laundering", treatments, labels)
    return [Paragraph(words), bars, treatments_table(treatments, LAUNDERING_COLUMNS)]


def table_cells(row):
    """The values of a dict that fit into a row of a table: {column: value}; those of a dict in it get columns too."""
    cells = {}
    for key, value in row.items():
        if isinstance(value, dict):
            cells |= {f"{key} {name}": inner for name, inner in table_cells(value).items()}
        elif isinstance(value, list) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value):
            cells[key] = f"[{value[0]:.2f}, {value[1]:.2f}]"
        elif not isinstance(value, list):
            cells[key] = value
    return cells


def any_section(name, content):
    """Tables of what another script wrote with --json: one for each list of rows in it, and one for the rest."""
    if isinstance(content, list):
        rows = [table_cells(row) for row in content if isinstance(row, dict)]
        header = [*dict.fromkeys(column for row in rows for column in row)]
        return [Table(header, [[row.get(column) for column in header] for row in rows], name)] if rows else []
    pieces = []
    single = table_cells(content)
    if single:
        pieces.append(Table(("metric", "value"), list(single.items()), name))
    for key, value in content.items():
        if isinstance(value, list):
            pieces += any_section(f"{name}: {key}", value)
    return pieces


class OtherSection(NamedTuple):
    """A section for files whose content has all of these keys."""

    keys: set
    heading: str
    section: Callable  # (name of the file, its content) -> pieces


OTHER_SECTIONS = [
    OtherSection({"tasks"}, "Taxonomy", taxonomy_section),
    OtherSection({"runs", "figures"}, "Seeds", seeds_section),
    OtherSection({"measures", "treatments"}, "Shortcuts", shortcuts_section),
    OtherSection({"detector", "treatments"}, "Laundering", laundering_section),
    OtherSection({"groups", "macro_f1", "labels"}, "Held-out groups", held_out_section),
    OtherSection(set(), "Other metrics", any_section),
]


def find_section(content):
    """The first row of OTHER_SECTIONS whose keys the content of a file has."""
    keys = content.keys() if isinstance(content, dict) else set()
    return next(row for row in OTHER_SECTIONS if row.keys <= keys)
