"""A random channel keeps a wave usable, and depends only on the random numbers that it is given."""

import numpy as np

from data.channels import through_random_channel


def test_the_same_random_numbers_give_the_same_wave():
    wave = 0.1 * np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    kinds = set()
    for seed in range(30):
        one, two = (through_random_channel(wave, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one, two) and one.dtype == np.float32 and np.isfinite(one).all()
        assert 15_000 < len(one) <= len(wave)
        assert not np.array_equal(one, wave[: len(one)])
        kinds.add((len(one), round(float(one.std()), 5)))
    assert len(kinds) > 20  # a resampling to the same rate may be drawn twice


def test_a_very_short_wave_goes_through():
    wave = np.full(100, 0.1, np.float32)
    for seed in range(20):
        assert len(through_random_channel(wave, np.random.default_rng(seed))) == 100
