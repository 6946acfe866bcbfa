"""The section of the report for the metrics of evaluate_held_out.py, and its risk-coverage curve as a picture."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from reporting.held_out_section import write_risk_coverage
from reporting.other_sections import find_section
from reporting.page import render_page
from utils.colours import PALETTE

RATES = {"clips": 20, "right": 60.0, "right_interval": [50.0, 70.0], "real": 40.0, "real_interval": [30.0, 50.0]}
MACRO = {"clips": 30, "groups": 3, "macro_f1": 61.5, "macro_f1_interval": [52.25, 71.75]}
LABELS = [
    {"label": "dac", "groups": 2, "clips": 20, "f1": 40.0, "called_real": 12.5},
    {"label": "real", "groups": 3, "clips": 10, "f1": 83.0, "called_real": 90.0},
]
VERDICTS = {"known codec": RATES, "real": RATES, "unseen codec": {"clips": 0}, "named_right": 94.25}
CURVE = [{"coverage": 10, "right": 100.0}, {"coverage": 50, "right": 90.0}, {"coverage": 100, "right": 57.5}]
TREATMENTS = [
    {"treatment": "none", "macro_f1": 61.5, "unseen_named": float("nan")},
    {"treatment": "mp3", "macro_f1": 55.0, "macro_f1_interval": [50.0, 60.0], "unseen_named": float("nan")},
]
ENROLMENT = [{"k": 1, "codecs": 2, "clips": 9, "eer": 26.0, "taken": 32.0}, {"k": 50, "codecs": 0, "clips": 0}]
WHOLE = MACRO | {"labels": LABELS, "verdicts": VERDICTS, "risk_coverage": CURVE}
WHOLE |= {"treatments": TREATMENTS, "enrolment": ENROLMENT}


def section_of(metrics, name="held_out.json"):
    row = find_section(metrics)
    assert row.heading == "Held-out groups"
    return row.section(name, metrics)


def test_labels_end_with_the_macro_f1():
    [labels] = section_of(MACRO | {"labels": LABELS})
    assert labels.caption == "held_out.json: each of 3 groups held out in turn (metrics in %)"
    assert labels.header == ("label", "groups", "clips", "F1", "called real")
    assert labels.rows == [
        ("dac", 2, 20, "40.00", "12.50"),
        ("real", 3, 10, "83.00", "90.00"),
        ("macro", 3, 30, "61.50 [52.2, 71.8]", "-"),
    ]


def test_every_part_of_the_file_has_its_piece():
    _, verdicts, named_right, curve, treatments, enrolment = section_of(WHOLE)
    assert verdicts.header == ("clips of", "clips", "right codec", "real")
    assert verdicts.rows == [  # a kind without clips has no row
        ("known codec", 20, "60.00 [50.0, 70.0]", "40.00 [30.0, 50.0]"),
        ("real", 20, "60.00 [50.0, 70.0]", "40.00 [30.0, 50.0]"),
    ]
    assert named_right.text == "94.2 % of the verdicts that name a codec are right."
    assert curve.header == ("answered (% of clips)", "right (% of answers)")
    assert curve.rows == [(10, 100.0), (50, 90.0), (100, 57.5)]
    assert treatments.header == ("treatment", "macro F1", "unseen named")
    assert treatments.rows == [("none", "61.50", "-"), ("mp3", "55.00 [50.0, 60.0]", "-")]
    assert enrolment.header == ("k", "codecs", "clips", "EER", "taken")
    assert enrolment.rows == [(1, 2, 9, "26.00", "32.00"), (50, 0, 0, "-", "-")]


def test_verdicts_that_never_name_a_codec_have_no_share_of_right_names():
    pieces = section_of(WHOLE | {"verdicts": VERDICTS | {"named_right": None}})
    assert [piece.kind for piece in pieces] == ["table", "table", "plot", "table", "table"]


def test_two_files_make_one_valid_page():
    pieces = section_of(WHOLE) + section_of(WHOLE, "other/held out.json")
    page = ElementTree.fromstring(render_page("page", "", {"Held-out groups": pieces}).partition("\n")[2])
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert {"plot-risk-coverage-held_out", "plot-risk-coverage-other-held-out"} <= set(ids)


def test_the_picture_has_the_line_where_the_metrics_are(tmp_path):
    path = tmp_path / "plots" / "curve.png"
    write_risk_coverage(path, WHOLE)
    pixels = imread(path)[..., :3]
    assert pixels.shape[1] == 1000
    colour = [int(PALETTE[0][place : place + 2], 16) / 255 for place in (1, 3, 5)]
    rows, columns = np.nonzero(np.abs(pixels - colour).max(axis=2) < 0.02)
    first, last = rows[columns == columns.min()].mean(), rows[columns == columns.max()].mean()
    a_tenth = (columns.max() - columns.min()) / 9  # of the clips: points are at 10, 50 and 100 %
    middle = rows[np.abs(columns - columns.min() - 4 * a_tenth) < 2].mean()
    assert (middle - first) / (last - first) == pytest.approx(10 / 42.5, abs=0.03)
    write_risk_coverage(tmp_path / "again.png", WHOLE)
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
