"""Predictions as text."""

import pytest

from prediction import output


@pytest.mark.parametrize("seconds,text", [(0, "0:00.0"), (75.5, "1:15.5"), (59.96, "1:00.0"), (36_000, "10:00:00.0")])
def test_times_are_shown_as_on_a_clock(seconds, text):
    assert output.clock(seconds) == text
