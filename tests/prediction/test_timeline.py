"""The timeline of windows that overlap."""

import numpy as np
import pytest

from data.audio import SAMPLE_RATE
from prediction.timeline import make_timeline
from prediction.verdict import SILENCE, UNKNOWN

NAMES = ["real", "larch", "rowan"]


def windows(sources, scores, hop=2 * SAMPLE_RATE, length=4 * SAMPLE_RATE, last=None):
    """The table of windows `hop` apart whose sources are given, with a probability of 0.9 each."""
    start = hop * np.arange(len(sources))
    if last is not None:
        start[-1] = last
    column = [NAMES.index(source) if source in NAMES else 0 for source in sources]
    probabilities = np.full((len(sources), len(NAMES)), 0.05)
    probabilities[np.arange(len(sources)), column] = 0.9
    audible = np.array([source != SILENCE for source in sources])
    return {
        "start": start,
        "stop": start + length,
        "audible": audible,
        "scores": np.array(scores, float),
        "probabilities": probabilities,
    }


def segments(sources, scores, **layout):
    found = make_timeline(windows(sources, scores, **layout), np.array(sources, object), NAMES)
    return [(segment.start, segment.end, segment.source) for segment in found]


def test_the_timeline_merges_equal_neighbours():
    assert segments(["real"] * 4, [1, 2, 3, 4]) == [(0, 10, "real")]


def test_a_splice_in_the_middle_of_a_window_is_found_where_it_is():
    # The third window is half real, half larch and fits neither.
    found = segments(["real", "real", UNKNOWN, "larch", "larch"], [5, 5, 0, 5, 5])
    assert found == [(0, 6, "real"), (6, 12, "larch")]


def test_an_unknown_stretch_is_where_every_window_is_unknown():
    found = segments(["real", UNKNOWN, UNKNOWN, UNKNOWN, "larch"], [5, 1, 1, 1, 5])
    assert found == [(0, 4, "real"), (4, 8, UNKNOWN), (8, 12, "larch")]


def test_silence_is_where_every_window_is_silent():
    found = segments(["real", SILENCE, SILENCE, "real"], [5, 9, 9, 5])
    assert found == [(0, 4, "real"), (4, 6, SILENCE), (6, 10, "real")]


def test_of_two_sources_the_better_fitting_window_counts():
    assert segments(["real", "larch"], [1, 2]) == [(0, 2, "real"), (2, 6, "larch")]
    assert segments(["real", "larch"], [2, 1]) == [(0, 4, "real"), (4, 6, "larch")]


def test_what_no_window_can_resolve_joins_its_neighbour():
    last = 2 * SAMPLE_RATE + 800  # the last window begins 0.05 s after the second
    assert segments(["real", "real", "larch"], [1, 1, 0], last=last) == [(0, 6.05, "real")]
    found = make_timeline(windows(["rowan", "larch"], [0, 1], hop=1600), np.array(["rowan", "larch"], object), NAMES)
    assert [(s.start, s.source) for s in found] == [(0, "larch")]  # the first tenth of a second too


def test_segments_have_the_probability_of_their_source():
    table = windows(["real", "larch", UNKNOWN], [1, 2, 0])
    found = make_timeline(table, np.array(["real", "larch", UNKNOWN], object), NAMES)
    assert [segment.probability for segment in found] == [pytest.approx(0.9), pytest.approx(0.9), None]
