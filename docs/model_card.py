"""The tables of the card of the shipped model, from the metrics that evaluate_held_out.py wrote beside it."""

import json
from pathlib import Path

CARD = "pretrained/real-codecs/README.md"
METRICS = Path(__file__).resolve().parents[1] / "pretrained/real-codecs/held_out.json"
ANSWERS = {  # key in held_out.json: head of its column
    "right": "its own name",
    "real": "`real`",
    "unknown codec": "`unknown codec`",
    "cannot tell": "`cannot tell`",
    "wrong codec": "another codec",
}
RATES = {
    "known_right": "known: right",
    "known_wrong": "known: wrong name",
    "known_called_real": "known: called real",
    "real_kept": "real: called real",
    "real_called_codec": "real: called a known codec",
    "unseen_called_real": "unseen: called real",
    "unseen_named": "unseen: called a known codec",
}


def read_metrics():
    return json.loads(METRICS.read_text(encoding="utf-8"))


def one_decimal(row, key):
    """The metric `key` of a dict, with its interval where there is one."""
    around = row.get(f"{key}_interval")
    return f"{row[key]:.1f}" + (f" [{around[0]:.1f}, {around[1]:.1f}]" if around else "")


def labels_rows():
    metrics = read_metrics()
    yield "label", "pages", "clips", "F1 (%)", "called real (%)"
    for row in metrics["labels"]:
        yield (
            row["label"],
            *map(str, (row["groups"], row["clips"])),
            *(one_decimal(row, key) for key in ("f1", "called_real")),
        )
    yield "macro", str(metrics["groups"]), str(metrics["clips"]), one_decimal(metrics, "macro_f1"), ""


def verdicts_rows():
    verdicts = read_metrics()["verdicts"]
    yield "clips of", "clips", *ANSWERS.values()
    for kind in ("known codec", "real", "unseen codec"):
        row = verdicts[kind]
        shares = {answer: one_decimal(row, answer) for answer in ANSWERS}
        if kind != "known codec":
            shares["right"] = "-"
        yield kind, str(row["clips"]), *shares.values()


def treatments_rows():
    yield "treatment", "macro F1", *RATES.values()
    for row in read_metrics()["treatments"]:
        yield row["treatment"], *(one_decimal(row, key) for key in ("macro_f1", *RATES))


def coverage_rows():
    rows = read_metrics()["risk_coverage"]
    yield "answered (% of the clips)", *(str(row["coverage"]) for row in rows)
    yield "right (% of the answers)", *(one_decimal(row, "right") for row in rows)


def enrolment_rows():
    keys = ("eer", "accuracy", "recognised", "taken")
    yield "K", "codecs", "clips", "EER (%)", *(f"{key} (%)" for key in keys[1:])
    for row in read_metrics()["enrolment"]:
        yield *(str(row[key]) for key in ("k", "codecs", "clips")), *(one_decimal(row, key) for key in keys)


# Name of a table in the card: the function that gives its lines, the header first
CARD_TABLES = {
    "held-out-labels": labels_rows,
    "held-out-verdicts": verdicts_rows,
    "held-out-treatments": treatments_rows,
    "held-out-coverage": coverage_rows,
    "held-out-enrolment": enrolment_rows,
}
