"""The sections of the report that evaluations fill: each function returns the pieces of one.

Its arguments are {name: metrics} of the evaluations of the section (reporting/evaluations.py), and the ReportedRun.
"""

from data.conditions import CONDITIONS
from evaluation.intervals import INTERVAL_LEVEL
from evaluation.known_sources import SUITE_TITLES, closed_set_rows, condition_rows, paper_titles
from evaluation.metrics import DETECTION_METRICS
from evaluation.tables import metric_cell, percent
from reporting.pieces import Bullets, Folded, Paragraph, Table, Tiles
from reporting.plots import plot_conditions, plot_confusion, plot_detectors


def headlines(metrics, detector):
    """The few metrics that matter most, of {name: metrics}: {what: value with its interval}."""
    values = {}
    if "id_f1" in metrics:
        values["macro F1 of the closed set (%)"] = metric_cell(metrics["id_f1"], "macro_f1")
    shifted = [row for measured in metrics.values() for row in measured.get("conditions", ())]
    if shifted:
        lowest = min(shifted, key=lambda row: row["f1"])
        values[f"lowest F1 of a known source, {lowest['condition']} (%)"] = metric_cell(lowest, "f1")
    for name, metric, words in (
        ("ood", "auc", "lowest AUC of {}, {} (%)"),
        ("open_set", "rejected", "fewest unseen rejected by {}, {} (%)"),
    ):
        rows = [row for row in metrics.get(name, {}).get("figures", ()) if row["detector"] == detector]
        if rows:
            lowest = min(rows, key=lambda row: row[metric])
            values[words.format(detector, lowest["condition"])] = metric_cell(lowest, metric)
            if "accepted" in lowest:
                values[f"known clips accepted by {detector} (%)"] = metric_cell(lowest, "accepted")
    return values


def overview_section(metrics, detector, config):
    """The headlines, and what the numbers in brackets and the columns of the paper are."""
    words = (
        f"[low, high] are {INTERVAL_LEVEL} % bootstrap intervals. The files of a speaker or utterance are resampled"
        f" together, where file names say which they are (--cluster {config.cluster}). The intervals hold for this one"
        " trained model."
    )
    if paper_titles(config):
        words += " The columns of the paper are its published values."
    return [Tiles(headlines(metrics, detector)), Paragraph(words)]


def closed_set_section(metrics, run):
    """Table 3 and the confusion matrix."""
    pieces = []
    for measured in metrics.values():
        titles = paper_titles(run.config)
        caption = f"{measured['files']} test files, from {measured['scores']}"
        pieces.append(Table(("class", "files", "F1 (%)", *titles), closed_set_rows(measured), caption))
        pieces.append(plot_confusion(measured["confusion"], measured["classes"]))
    return pieces


def untraced_conditions(suite, rows):
    """[a Paragraph] that names the conditions of `suite` of which there is no row; [] when all are there."""
    traced = {row["condition"] for row in rows}
    absent = [row.name for row in CONDITIONS if row.suite == suite and row.name not in traced]
    return [Paragraph(f"Not traced: {', '.join(absent)}.")] if absent else []


def shifted_section(metrics, run):
    """Tables 4 and 6, and the bars of all their conditions."""
    pieces = []
    rows = []
    for measured in metrics.values():
        suite = measured["suite"]
        header = ("condition", "class", "files", "F1 (%)", *paper_titles(run.config))
        pieces.append(Table(header, condition_rows(measured), SUITE_TITLES.get(suite, suite)))
        pieces += untraced_conditions(suite, measured["conditions"])
        rows += measured["conditions"]
    return [*pieces, plot_conditions(rows, run.model)]


def by_condition(rows):
    """{condition: its rows}, in their order."""
    names = dict.fromkeys(row["condition"] for row in rows)
    return {name: [row for row in rows if row["condition"] == name] for name in names}


def folded_tables(tables):
    """Tables of which all but the first one are folded under their captions."""
    return tables[:1] + [Folded(table.caption, table._replace(caption="")) for table in tables[1:]]


def detection_section(metrics, run):
    """Table 5: a table for each condition, and the AUC of all detectors."""
    pieces = []
    for measured in metrics.values():
        rows = measured["figures"]
        published = bool(paper_titles(run.config)) and any(row["paper"] for row in rows)
        header = ["detector"]
        for metric in DETECTION_METRICS.values():
            header += [f"{metric.title} (%)", *["paper W2V2-AASIST"] * published]
        tables = []
        for condition, of_condition in by_condition(rows).items():
            cells = []
            for row in of_condition:
                cells.append([row["detector"]])
                for name in DETECTION_METRICS:
                    cells[-1] += [metric_cell(row, name), *[percent((row["paper"] or {}).get(name))] * published]
            clips = measured["clips"]
            caption = f"{condition}: {clips[condition]} unseen clips, {clips['known']} known ones"
            tables.append(Table(header, cells, caption))
        pieces += [*untraced_conditions("ood", rows), *folded_tables(tables), plot_detectors(rows)]
    return pieces


def open_set_tables(rows):
    """A Table for each condition: the metrics of each detector at its threshold."""
    header = ("detector", "threshold", "known accepted (%)", "unseen rejected (%)", "open-set F1 (%)", "OSCR (%)")
    tables = []
    for condition, of_condition in by_condition(rows).items():
        cells = [
            (
                row["detector"],
                f"{row['threshold']:.4g}",
                *(metric_cell(row, name) for name in ("accepted", "rejected", "open_set_f1")),
                percent(row["oscr"]),
            )
            for row in of_condition
        ]
        tables.append(Table(header, cells, condition))
    return tables


def open_set_section(metrics, run):
    """Metrics at the threshold that development data gave."""
    pieces = []
    for measured in metrics.values():
        error = measured["calibration_error"]
        words = (
            f"Each threshold keeps {100 * measured['tpr']:g} % of the known development clips. The tables show its"
            f" effect on test clips. Calibration error of the probabilities: {error['before']:.2f} % before the"
            f" temperature, {error['after']:.2f} % after."
        )
        pieces += [Paragraph(words), *folded_tables(open_set_tables(measured["figures"]))]
        if measured["shifted"]:
            cells = [
                (row["condition"], row["files"], metric_cell(row, "accepted"), metric_cell(row, "right"))
                for row in measured["shifted"]
            ]
            caption = "Known sources under other conditions, at the threshold of msp"
            pieces.append(Table(("condition", "files", "accepted (%)", "right class (%)"), cells, caption))
    return pieces


def layers_section(shares):
    """The learned weights of the hidden states of the front end, {what for: {number: weight}}."""
    columns = list(shares.values())
    rows = [(number, *(f"{column[number]:.3f}" for column in columns)) for number in columns[0]]
    caption = "Learned weights of the hidden states of the front end; 0 is what enters its first layer"
    return [Table(("hidden state", *(f"weight{purpose}" for purpose in shares)), rows, caption)]


def origin_section(training, made_on):
    """Configuration, versions, data and hardware of the run of args.json, and the machine of the report."""
    trained_on = training.get("hardware") or {"hardware": "not recorded by this run"}
    trained_on = {**trained_on, **training.get("versions", {})}
    flags = [(name, str(value)) for name, value in training.get("config", {}).items()]
    return [
        Table(("part", "trained on"), list(trained_on.items()), wrap=True),
        Table(("part", "this report was made on"), list(made_on.items()), wrap=True),
        Table(("file", "SHA-256"), list(training.get("data", {}).items()), "Data", wrap=True),
        Folded("Configuration", Table(("flag", "value"), flags, wrap=True)),
    ]


def missing_section(missing):
    """What the report lacks, {name: reason}."""
    return [Bullets([f"{name}: {reason}" for name, reason in missing.items()])]
