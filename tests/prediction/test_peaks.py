"""Peaks of fingerprints whose lines are known."""

import numpy as np
import pytest
import torch

from models.fingerprint import fingerprint_views
from prediction.peaks import (
    FRAME_RATES,
    HERTZ_OF_BIN,
    compare_with_source,
    describe_peaks,
    explain_by_rates,
    rates_between_steps,
)

CODEC = 1  # the class that has lines


def fingerprint_with(hertz, height=8.0, noise=0.5, seed=0):
    """Noise [1024], and lines of `height` at frequencies in Hz, spread over some bins as a spectrum spreads them."""
    fingerprint = noise * np.random.default_rng(seed).standard_normal(1024)
    for line in hertz:
        place = line / HERTZ_OF_BIN
        for bin_ in (int(place) - 1, int(place), int(place) + 1, int(place) + 2):
            fingerprint[bin_] += height * max(0, 1 - ((bin_ - place) / 2) ** 2)
    return fingerprint


def references_with(hertz):
    """(mean, spread) [2, 1024] of real speech, which has no lines, and of a codec that has lines at `hertz`."""
    mean = np.stack([np.zeros(1024), fingerprint_with(hertz, height=4.0, noise=0.05, seed=1)])
    return mean, np.ones((2, 1024))


def rounded(peaks, step=10):
    return sorted(step * round(peak.hz / step) for peak in peaks)


def test_lines_of_the_source_are_found_and_explained():
    lines = [600, 1800, 2400, 4200, 6600]
    peaks = describe_peaks(fingerprint_with(lines), *references_with(lines), CODEC)
    assert rounded(peaks) == lines
    assert all(peak.frame_rates == [600] for peak in peaks)
    heights = [peak.height for peak in peaks]
    assert heights == sorted(heights, reverse=True) and heights[-1] > 5


def test_a_line_that_the_source_lacks_does_not_speak_for_it():
    mean, spread = references_with([1500, 3000, 4500])
    file = fingerprint_with([1500, 3000, 4500, 5200])
    assert rounded(describe_peaks(file, mean, spread, CODEC)) == [1500, 3000, 4500]
    assert rounded(describe_peaks(file)) == [1500, 3000, 4500, 5200]  # without a source, every high peak


def test_a_line_that_all_classes_have_does_not_speak_for_one():
    mean, spread = references_with([1500, 3000])
    mean[0] = fingerprint_with([3000], height=4.0, noise=0.05, seed=2)
    assert rounded(describe_peaks(fingerprint_with([1500, 3000]), mean, spread, CODEC)) == [1500]


def test_a_class_without_spread_is_no_division_by_zero():
    mean, _ = references_with([1500])
    with np.errstate(all="raise"):
        peaks = describe_peaks(fingerprint_with([1500]), mean, np.zeros((2, 1024)), CODEC)
        assert describe_peaks(np.zeros(1024), mean, np.zeros((2, 1024)), CODEC) == ()
    assert 1500 in rounded(peaks)


def test_noise_has_no_peaks():
    torch.manual_seed(0)
    views = fingerprint_views(torch.randn(40, 64_600))
    assert [describe_peaks(view) for view in views[:, 0].numpy()] == [()] * 40


def test_the_pitch_of_a_voice_and_the_edges_of_the_band_are_left_out():
    lines = [100, 200, 400, 3950, 7950]
    assert describe_peaks(fingerprint_with(lines), band=4000) == ()
    assert rounded(describe_peaks(fingerprint_with(lines), *references_with(lines), CODEC)) == [400, 3950]


def test_at_most_twelve_peaks_are_listed():
    lines = [400 * step for step in range(2, 19)]
    peaks = describe_peaks(fingerprint_with(lines))
    assert len(peaks) == 12 and {rate for peak in peaks for rate in peak.frame_rates} == {400}


@pytest.mark.parametrize("rate", [25, 75, 100, 600])
def test_a_rate_is_found_from_many_of_its_multiples(rate):
    multiples = np.random.default_rng(0).permutation(np.arange(500 // rate + 1, 7500 // rate))[:16]
    assert explain_by_rates(rate * multiples + 1.0) == [rate]


def test_two_rates_explain_a_mixture():
    hertz = np.array([1200, 2400, 4800, 5400, 6600, 46.875 * 31, 46.875 * 47, 46.875 * 61, 46.875 * 103, 46.875 * 117])
    assert set(explain_by_rates(hertz)) == {600, 46.875}


@pytest.mark.parametrize("count", [1, 2, 6, 12, 30])
def test_multiples_by_chance_are_not_listed(count):
    rng = np.random.default_rng(0)
    listed = [bool(explain_by_rates(rng.uniform(300, 7900, count))) for _ in range(300)]
    assert np.mean(listed) < 0.02


def test_a_single_multiple_proves_nothing():
    assert explain_by_rates(np.array([6000.0])) == [] and explain_by_rates(np.array([])) == []


def test_frame_rates_are_those_between_the_steps_of_decoders():
    assert rates_between_steps(75, (8, 5, 4, 2)) == [75, 600, 3000]
    assert sorted(set(FRAME_RATES)) == FRAME_RATES and {12.5, 25, 50, 75, 80, 100, 400, 689.0625} < set(FRAME_RATES)


def test_real_speech_has_no_peaks_and_another_verdict_is_compared_with_the_most_probable_class():
    lines = [1500, 3000, 4500]
    file, references = fingerprint_with(lines), references_with(lines)
    shares = {"real": 0.3, "mimi": 0.7}
    assert compare_with_source(file, "real", shares, references)[1] == ()
    for verdict in ("unknown codec", "cannot tell", "enrolled"):
        spectrum, peaks = compare_with_source(file, verdict, shares, references)
        assert spectrum.source == "mimi" and (spectrum.mean == references[0][1]).all() and rounded(peaks) == lines
    spectrum, peaks = compare_with_source(file, "mimi", shares, None)
    assert spectrum.mean is None and rounded(peaks) == lines
