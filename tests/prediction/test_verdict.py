"""From windows to a verdict and its reason."""

import numpy as np
import pytest

from prediction.recordings import About
from prediction.verdict import UNKNOWN, UNSURE, Limits, agreement_with, decide_verdict, name_sources, why_withheld

NAMES = ["real", "larch", "rowan"]


def test_a_window_is_of_the_most_probable_class_unless_unsure_or_unknown():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    found = name_sources(probabilities, np.array([2.0, 1.0, 1.5, 0.9]), np.full(4, 40.0), NAMES, Limits(1.0, 0.5, 0.5))
    assert found.tolist() == ["real", "larch", UNSURE, UNKNOWN]


def test_real_speech_has_limits_of_its_own():
    names = ["real", "larch", "other codec"]
    probabilities = np.array(
        [[0.65, 0.3, 0.05], [0.75, 0.2, 0.05], [0.35, 0.6, 0.05], [0.1, 0.5, 0.4], [0.2, 0.4, 0.4], [0.01, 0.09, 0.9]]
    )
    sources = name_sources(
        probabilities, np.ones(6), np.full(6, 40.0), names, Limits(0.0, codec=0.6, real=0.7, not_real=0.1)
    )
    assert sources.tolist() == [UNSURE, "real", "larch", UNKNOWN, UNSURE, UNKNOWN]


def test_the_reason_says_that_real_speech_is_excluded():
    shares = {"real": 0.02, "larch": 0.4, "other codec": 0.58}
    verdict, reason = decide_verdict(UNKNOWN, [], shares, 0.5, 50, 1, 40, Limits(0.0, 0.6, 0.7, 0.05), 0.6)
    assert verdict == UNKNOWN and reason == (
        "it does not sound like real speech, which has 2.0%, and no known codec is probable enough: larch has 40%, the"
        " limit is 60%"
    )


def test_real_speech_is_not_named_in_noise():
    limits = Limits(0.0, 0.5, 0.5, level_range=27)
    probabilities = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    sources = name_sources(probabilities, np.ones(3), np.array([40, 15, 15]), NAMES, limits)
    assert sources.tolist() == ["real", UNSURE, "larch"]
    shares = dict(zip(NAMES, probabilities[1], strict=True))
    verdict, reason = decide_verdict(UNSURE, [], shares, 0.5, 50, 1, 15, limits, 0.6)
    assert verdict == UNSURE and reason == (
        "real has 90.0%, but the recording is noisy, and noise hides the traces of a codec: above 3 kHz its level"
        " varies by 15 dB, at least 27 dB are needed"
    )


@pytest.mark.parametrize("shares", [{"real": 0.01, "larch": 0.99}, {"real": 0.01, "other codec": 0.99}])
def test_a_probable_codec_is_unknown_only_because_it_fits_badly(shares):
    _, reason = decide_verdict(UNKNOWN, [], shares, 0.003, 0.3, 1, 40, Limits(0.5, 0.6, 0.7, 0.05), 0.6)
    assert reason.startswith("99.7 % of the development files fit the known sources better (p = 0.003)")


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
    found, reason = decide_verdict(source, others, shares, 0.01, 0.9, agreement, 40, Limits(1.0, 0.5, 0.5), 0.6)
    assert found == verdict and words in reason


def test_agreement_is_the_share_of_the_verdict_or_of_what_most_windows_say():
    sources = np.array(["real", "larch", "larch", UNKNOWN], object)
    assert agreement_with("real", sources) == 0.25 and agreement_with(UNSURE, sources) == 0.5
    assert agreement_with("real", sources[:0]) == 0


def test_windows_that_cannot_tell_do_not_contradict_a_whole_file():
    sources = np.array(["larch", UNSURE, UNSURE, UNKNOWN], object)
    assert agreement_with("larch", sources, whole=True) == 1
    assert agreement_with("real", sources, whole=True) == 0
    assert agreement_with(UNKNOWN, sources, whole=True) == 0.5
    assert agreement_with("larch", sources[1:3], whole=True) == 1
    assert agreement_with(UNSURE, sources, whole=True) == 0.5


@pytest.mark.parametrize(
    ("verdict", "about", "seconds", "words"),
    [
        ("real", About(48_000, "opus"), 4, "the file is compressed with opus, which hides the traces of a codec"),
        ("larch", About(48_000, "opus"), 4, ""),
        ("real", About(16_000, "pcm_16"), 4, ""),
        ("real", About(8_000, "pcm_16"), 0.6, ""),
        ("real", About(8_000, "gsm610"), 4, "the file is compressed with GSM, whose traces look like those of other"),
        ("larch", About(8_000, "amrnb"), 4, "the file is compressed with AMR, whose traces look like those of other"),
        (UNKNOWN, About(16_000, "amrwb"), 4, "the file is compressed with AMR, whose traces look like those of other"),
        (
            UNKNOWN,
            About(16_000),
            1.9,
            "in less than 2 s, real speech is often taken for an unknown codec: give a longer part",
        ),
        (UNKNOWN, About(16_000), 2, ""),
        (UNKNOWN, About(8_000), 4, "in a file with few samples a second, real speech is often taken for a codec"),
        ("rowan", About(8_000), 4, "in a file with few samples a second, real speech is often taken for a codec"),
        ("larch", About(8_000), 4, ""),
        ("an enrolled source", About(8_000, "amrnb"), 1, ""),
    ],
)
def test_a_recording_that_misleads_the_fingerprint_gets_no_verdict(verdict, about, seconds, words):
    shares = {"real": 0.02, "larch": 0.7, "rowan": 0.28}
    found = why_withheld(verdict, shares, about, seconds)
    assert found.startswith(words) and bool(found) == bool(words)
