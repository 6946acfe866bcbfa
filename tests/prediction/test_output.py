"""Predictions as text."""

import pytest

from data.taxonomy import describe_codec
from prediction import Peak, output
from utils.console import print_table


@pytest.mark.parametrize("seconds,text", [(0, "0:00.0"), (75.5, "1:15.5"), (59.96, "1:00.0"), (36_000, "10:00:00.0")])
def test_times_are_shown_as_on_a_clock(seconds, text):
    assert output.clock(seconds) == text


@pytest.mark.parametrize(
    "name, text",
    [
        (
            "snac",
            "SNAC: VQ MVQ, AUX Trad, DEC TIME (from the table of codecs, not heard); used by Mini-Omni, Mini-Omni2",
        ),
        (
            "funcodec",
            "FunCodec: VQ MVQ, AUX Trad, DEC TIME or FREQ (from the table of codecs, not heard); used by LauraGPT",
        ),
        ("taae", "TAAE: VQ SQ (from the table of codecs, not heard)"),
        ("bicodec", "BiCodec: a neural codec (from the table of codecs, not heard); used by Spark-TTS"),
        ("speex", "Speex: a classical codec, not a neural one (from the table of codecs, not heard)"),
        ("MASKGCT", "VQ MVQ, AUX Trad, DEC FREQ (from the table of codecs, not heard)"),
    ],
)
def test_what_the_table_says_of_a_codec_in_words(name, text):
    assert output.codec_text(describe_codec(name)) == text


def test_peaks_are_listed_by_frequency_with_their_rates():
    peaks = [
        Peak(3000.4, height=5, frame_rates=[500]),
        Peak(1500.2, height=4, frame_rates=[500, 86.13]),
    ]
    assert output.list_peaks(peaks) == "1500, 3000 Hz; multiples of 86.13 and 500 Hz"
    many = [Peak(1000.0 + step, 9 - step, []) for step in range(9)]
    assert output.list_peaks(many) == "1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007 Hz and 1 more"


def test_no_answer_is_certain():
    assert output.list_shares({"real": 0.99951, "larch": 0.00049}) == "real over 99.9%"
    assert output.list_shares({"larch": 0.9994, "real": 0.0006}) == "larch 99.9%"


def test_columns_stand_below_each_other_in_every_script(capsys):
    print_table(("file", "verdict", "p"), [("コーデ.wav", "実", 1), ("e\u0301.wav", "larch", 2)])
    assert capsys.readouterr().out.splitlines() == [
        "file        verdict  p",
        "コーデ.wav       実  1",
        "e\u0301.wav         larch  2",
    ]
