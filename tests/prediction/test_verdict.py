"""From windows to a verdict and its reason."""

import numpy as np
import pytest

from prediction.settings import TraceConfig
from prediction.verdict import UNKNOWN, UNSURE, agreement_with, decide_verdict, name_sources

NAMES = ["real", "larch", "rowan"]


def test_a_window_is_of_the_most_probable_class_unless_unsure_or_unknown():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    found = name_sources(probabilities, np.array([2.0, 1.0, 1.5, 0.9]), NAMES, threshold=1.0, min_probability=0.5)
    assert found.tolist() == ["real", "larch", UNSURE, UNKNOWN]


@pytest.mark.parametrize(
    "source,agreement,others,verdict,words",
    [
        ("larch", 0.9, [], "larch", "larch is the most probable of the known sources, with 70.0%"),
        (
            "real",
            0.9,
            ["larch", UNKNOWN],
            "real",
            "with 25.0%; the timeline also contains larch, unknown codec",
        ),
        ("larch", 0.5, [], UNSURE, "the windows disagree: only 50% of them give larch"),
        ("larch", 0.5, ["real"], UNSURE, "the recording seems to contain several sources, one after the other"),
        (UNSURE, 0.9, ["real", "larch"], UNSURE, "the recording seems to contain several sources, one after the other"),
        (UNSURE, 0.9, ["larch"], UNSURE, "no source is probable enough: larch has 70%, the limit is 50%"),
        (UNKNOWN, 0.9, [], UNKNOWN, "the codec is unknown, or the recording differs from the training data"),
        (UNKNOWN, 0.5, [], UNSURE, "the windows disagree"),
        ("willow", 0.9, [], "willow", "the recording is within the limit of the enrolled source willow"),
    ],
)
def test_the_verdict_abstains_rather_than_overstates(source, agreement, others, verdict, words):
    shares = {"real": 0.25, "larch": 0.7, "rowan": 0.05}
    found, reason = decide_verdict(source, others, shares, 0.01, 0.9, agreement, TraceConfig())
    assert found == verdict and words in reason


def test_agreement_is_the_share_of_the_verdict_or_of_what_most_windows_say():
    sources = np.array(["real", "larch", "larch", UNKNOWN], object)
    assert agreement_with("real", sources) == 0.25 and agreement_with(UNSURE, sources) == 0.5
    assert agreement_with("real", sources[:0]) == 0
