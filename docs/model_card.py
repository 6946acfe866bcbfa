"""The tables of the card of the shipped model, from the metrics that evaluate_held_out.py wrote beside it."""

import json
from functools import partial
from pathlib import Path

from reporting.held_out_tables import HELD_OUT_TABLES

CARD = "pretrained/real-codecs/README.md"
METRICS = Path(__file__).resolve().parents[1] / "pretrained/real-codecs/held_out.json"


def lines_of(table):
    """The lines of `table`, a name of HELD_OUT_TABLES, for the shipped model."""
    return HELD_OUT_TABLES[table](json.loads(METRICS.read_text(encoding="utf-8")))


# Name of a table in the card: the function that gives its lines, the header first
CARD_TABLES = {name: partial(lines_of, name) for name in HELD_OUT_TABLES}
