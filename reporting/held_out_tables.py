"""Tables of the metrics that evaluate_held_out.py writes, for the card of a model: lines of text cells."""

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


def one_decimal(row, key):
    """The metric `key` of a dict, with its interval where there is one."""
    around = row.get(f"{key}_interval")
    return f"{row[key]:.1f}" + (f" [{around[0]:.1f}, {around[1]:.1f}]" if around else "")


def labels_rows(metrics):
    yield "label", "pages", "clips", "F1 (%)", "called real (%)"
    for row in metrics["labels"]:
        yield (
            row["label"],
            *map(str, (row["groups"], row["clips"])),
            *(one_decimal(row, key) for key in ("f1", "called_real")),
        )
    yield "macro", str(metrics["groups"]), str(metrics["clips"]), one_decimal(metrics, "macro_f1"), ""


def verdicts_rows(metrics):
    verdicts = metrics["verdicts"]
    yield "clips of", "clips", *ANSWERS.values()
    for kind in ("known codec", "real", "unseen codec"):
        row = verdicts[kind]
        shares = {answer: one_decimal(row, answer) for answer in ANSWERS}
        if kind != "known codec":
            shares["right"] = "-"
        yield kind, str(row["clips"]), *shares.values()


def treatments_rows(metrics):
    yield "treatment", "macro F1", *RATES.values()
    for row in metrics["treatments"]:
        yield row["treatment"], *(one_decimal(row, key) for key in ("macro_f1", *RATES))


def coverage_rows(metrics):
    rows = metrics["risk_coverage"]
    yield "answered (% of the clips)", *(str(row["coverage"]) for row in rows)
    yield "right (% of the answers)", *(one_decimal(row, "right") for row in rows)


def enrolment_rows(metrics):
    keys = ("eer", "accuracy", "recognised", "taken")
    yield "K", "codecs", "clips", "EER (%)", *(f"{key} (%)" for key in keys[1:])
    for row in metrics["enrolment"]:
        yield *(str(row[key]) for key in ("k", "codecs", "clips")), *(one_decimal(row, key) for key in keys)


# Name of a table: the function that gives its lines, the header first
HELD_OUT_TABLES = {
    "held-out-labels": labels_rows,
    "held-out-verdicts": verdicts_rows,
    "held-out-treatments": treatments_rows,
    "held-out-coverage": coverage_rows,
    "held-out-enrolment": enrolment_rows,
}
