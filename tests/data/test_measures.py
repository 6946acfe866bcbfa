"""The level range above 3 kHz: large with clean pauses, small in noise, the same at every level."""

import numpy as np
import pytest

from data.measures import high_level_range


def bursts(noise):
    """Half a second of noise, half a second of pause, four times, with stationary noise at this level in it."""
    rng = np.random.default_rng(0)
    loud = np.tile(np.repeat((1, 0), 8000), 4)
    return 0.1 * loud * rng.standard_normal(64_000) + noise * rng.standard_normal(64_000)


def test_noise_fills_the_pauses():
    assert high_level_range(bursts(0.0001)) == pytest.approx(60, abs=4)
    assert high_level_range(bursts(0.01)) == pytest.approx(20, abs=4)


def test_it_does_not_depend_on_the_level_and_takes_any_length():
    wave = bursts(0.001)
    assert high_level_range(0.01 * wave) == pytest.approx(high_level_range(wave), abs=0.5)
    assert np.isfinite(high_level_range(wave[:100])) and high_level_range(np.zeros(1000)) == 0
