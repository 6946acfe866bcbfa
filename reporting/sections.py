"""The sections of the report: each function gives the pieces of HTML of one, of what the evaluations found."""

import audit_shortcuts
import evaluate_laundering
from data.conditions import CONDITIONS
from evaluation.detection import DETECTION_METRICS
from evaluation.f1 import cell, percent
from evaluation.intervals import INTERVAL_LEVEL
from evaluation.known_sources import closed_set_rows, condition_rows, paper_titles
from reporting import plots
from reporting.page import details, paragraph, table

SUITES = {  # evaluation, heading, suites of its conditions
    "id_config": ("Other configurations of known codecs (Table 4)", "config"),
    "id_source": ("Known codecs on other sources of speech (Table 4)", "source"),
    "id_unseenreal": ("Unseen real speech (Table 4)", "unseen_real"),
    "alm": ("Audio language models (Table 6)", "alm"),
}


def legend(config):
    """What the numbers in brackets are, and the columns of the paper."""
    text = (
        f"[low, high] are {INTERVAL_LEVEL} % bootstrap intervals. The files of a speaker or utterance are resampled"
        f" together, where file names say it (--cluster {config.cluster}). The intervals hold for this one trained"
        " model."
    )
    if paper_titles(config):
        text += " The columns of the paper are its published values."
    return text


def closed_set(found, config):
    """Table 3 and the confusion matrix."""
    titles = paper_titles(config)
    rows = closed_set_rows(found)
    rows += [("accuracy", found["files"], cell(found, "accuracy"), *[None] * len(titles))]
    caption = f"{found['files']} test files, from {found['scores']}"
    header = ("class", "files", "F1 (%)", *titles)
    return [table(header, rows, caption), plots.confusion(found["confusion"], found["classes"])]


def lacking(suite, rows):
    """The conditions of `suite` that no row is of, named; nothing when all are there."""
    there = {row["condition"] for row in rows}
    absent = [row.name for row in CONDITIONS if row.suite == suite and row.name not in there]
    return [paragraph(f"Not traced: {', '.join(absent)}.")] if absent else []


def shifted(found, model, config):
    """Tables 4 and 6, and the bars of all their conditions."""
    pieces, rows = [], []
    for name, (heading, suite) in SUITES.items():
        if name not in found:
            continue
        measured = found[name]["conditions"]
        rows += measured
        header = ("condition", "class", "files", "F1 (%)", *paper_titles(config))
        pieces.append(table(header, condition_rows(found[name]), heading))
        pieces += lacking(suite, measured)
    return [*pieces, plots.conditions(rows, model)] if rows else []


def by_condition(rows):
    """{condition: its rows}, in their order."""
    return {
        name: [row for row in rows if row["condition"] == name] for name in dict.fromkeys(r["condition"] for r in rows)
    }


def first_open(number, header, rows, caption):
    """A table under its caption; all but the first of several are folded."""
    return details(caption, table(header, rows)) if number else table(header, rows, caption)


def detection(found):
    """Table 5: a table for each condition, and the AUC of all detectors."""
    pieces = lacking("ood", found["figures"])
    header = [column for name in DETECTION_METRICS for column in (f"{name.upper()} (%)", "paper W2V2-AASIST")]
    for number, (condition, measured) in enumerate(by_condition(found["figures"]).items()):
        rows = [
            (
                row["detector"],
                *(
                    value
                    for name in DETECTION_METRICS
                    for value in (cell(row, name), percent((row["paper"] or {}).get(name)))
                ),
            )
            for row in measured
        ]
        caption = f"{condition}: {found['clips'][condition]} unseen clips, {found['clips']['known']} known ones"
        pieces.append(first_open(number, ("detector", *header), rows, caption))
    return [*pieces, plots.detectors(found["figures"])]


def open_set(found):
    """Figures at the threshold that development data gave."""
    error = found["calibration_error"]
    pieces = [
        paragraph(
            f"Thresholds keep {100 * found['tpr']:g} % of known development clips; here is what they do on test clips."
            f" Calibration error of the probabilities: {error['before']:.2f} % before the temperature,"
            f" {error['after']:.2f} % after."
        )
    ]
    header = ("detector", "threshold", "known accepted (%)", "unseen rejected (%)", "open-set F1 (%)", "OSCR (%)")
    for number, (condition, measured) in enumerate(by_condition(found["figures"]).items()):
        rows = [
            (
                row["detector"],
                f"{row['threshold']:.4g}",
                *(cell(row, name) for name in ("accepted", "rejected", "open_set_f1")),
                percent(row["oscr"]),
            )
            for row in measured
        ]
        pieces.append(first_open(number, header, rows, condition))
    if found["shifted"]:
        rows = [(row["condition"], row["files"], cell(row, "accepted"), cell(row, "right")) for row in found["shifted"]]
        caption = "Known sources under other conditions, at the threshold of msp"
        pieces.append(table(("condition", "files", "accepted (%)", "right class (%)"), rows, caption))
    return pieces


def taxonomy(name, found):
    """EER of spoof detection, and F1 of each task, of a taxonomy system."""
    rows, pieces = [], []
    for task, measured in found["tasks"].items():
        figures_of = [cell(measured, key) if key in measured else None for key in ("eer", "weighted_f1", "macro_f1")]
        rows.append((task.upper(), measured["files"], *figures_of))
        if "confusion" in measured:
            f1, around = measured["class_f1"], measured.get("class_f1_interval", {})
            cells = [
                (label, percent(f1[label], around.get(label)), *counts)
                for label, counts in zip(f1, measured["confusion"], strict=True)
            ]
            header = ("class", "F1 (%)", *(f"as {label}" for label in f1))
            pieces.append(details(f"{task.upper()}: each class", table(header, cells)))
    caption = f"{name}: {found['dataset']}, {found['list']}"
    header = ("task", "files", "EER (%)", "weighted F1 (%)", "macro F1 (%)")
    return [table(header, rows, caption), *pieces]


def seeds(name, found):
    """Mean and standard deviation of every figure over runs of several seeds."""
    names = found["runs"]
    rows = [
        (row["figure"], percent(row["mean"]), percent(row["sd"]), *(percent(row["values"][name]) for name in names))
        for row in found["figures"]
    ]
    return [table(("figure", "mean", "standard deviation", *names), rows)]


def treated(found, shown):
    """A table of the figures {key: head} `shown` of rows of treated speech; those that no row has are left out."""
    shown = {key: head for key, head in shown.items() if key in found[0]}
    rows = [(row["treatment"], row["clips"], *(cell(row, key) for key in shown)) for row in found]
    return table(("treatment", "clips", *shown.values()), rows)


def audit(name, found):
    """What one number a file tells, and the model without it."""
    cells = {(row["measure"], row["class"]): cell(row, "auc") for row in found["measures"]}
    measures, classes = (list(dict.fromkeys(row[key] for row in found["measures"])) for key in ("measure", "class"))
    rows = [(measure, *(cells[measure, label] for label in classes)) for measure in measures]
    whole = details(f"{name}: AUC (%) with intervals", table(("measure", *classes), rows))
    pieces, bars = [plots.shortcuts("shortcuts", found["measures"])], found["treatments"]
    if not bars:
        return [*pieces, whole]
    title, shown = "The model without a shortcut, or with nothing else", {"macro_f1": "macro F1", "same": "same answer"}
    return [*pieces, plots.treatments("audit", title, bars, shown), whole, treated(bars, audit_shortcuts.SHOWN)]


def laundering(name, found):
    """What is left of the closed set after coding, noise, rooms and a second codec."""
    labels = {"macro_f1": "macro F1", "unknown": "unknown", "real_as_real": "real called real"}
    shown = {key: label for key, label in labels.items() if key in found["treatments"][0]}
    words = (
        f"Unknown: below the threshold of {found['detector']}, which keeps {100 * found['tpr']:g} % of development"
        " clips. After a second neural codec the first one still counts as right."
    )
    bars = plots.treatments("laundering", "The closed set after laundering", found["treatments"], shown)
    return [paragraph(words), bars, treated(found["treatments"], evaluate_laundering.SHOWN)]


def in_cells(row):
    """The figures of a dict that fit into a row of a table: {column: value}, a dict within by its columns."""
    cells = {}
    for key, value in row.items():
        if isinstance(value, dict):
            cells |= {f"{key} {name}": inner for name, inner in in_cells(value).items()}
        elif isinstance(value, list) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value):
            cells[key] = f"[{value[0]:.2f}, {value[1]:.2f}]"
        elif not isinstance(value, list):
            cells[key] = value
    return cells


def anything(name, found):
    """Tables of what another script wrote with --json: one for each list of rows in it, and one for the rest."""
    if isinstance(found, list):
        rows = [in_cells(row) for row in found if isinstance(row, dict)]
        header = [*dict.fromkeys(column for row in rows for column in row)]
        return [table(header, [[row.get(column) for column in header] for row in rows], name)] if rows else []
    pieces, single = [], in_cells(found)
    if single:
        pieces.append(table(("figure", "value"), single.items(), name))
    for key, value in found.items():
        if isinstance(value, list):
            pieces += anything(f"{name}: {key}", value)
    return pieces


def origin(described, made_on):
    """Configuration, versions, data and hardware of the run of args.json, and the machine of the report."""
    hardware = described.get("hardware") or {"hardware": "not recorded by this run"}
    pieces = [
        table(("part", "trained on"), [*hardware.items(), *described.get("versions", {}).items()]),
        table(("part", "this report was made on"), made_on.items()),
        table(("file", "SHA-256"), described.get("data", {}).items(), "Data"),
        details(
            "Configuration", table(("flag", "value"), [(k, str(v)) for k, v in described.get("config", {}).items()])
        ),
    ]
    return [f'<div class="wrap">{piece}</div>' for piece in pieces]
