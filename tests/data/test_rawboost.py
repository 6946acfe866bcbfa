"""data/rawboost.py: equal to the released code given the same draws (tests/fixtures/taxonomy/rawboost.npz)."""

import json

import numpy as np
import pytest
import soundfile
import torch
from helpers import FIXTURES

from data.augmentation import AUGMENTATIONS, AugmentedClips
from data.protocols import Clip
from data.rawboost import ALGORITHMS, notch_filter, rawboost

CASES = json.loads((FIXTURES / "taxonomy/rawboost.json").read_text())["cases"]


@pytest.fixture(scope="module")
def expected():
    return np.load(FIXTURES / "taxonomy/rawboost.npz")


@pytest.mark.parametrize("case", CASES)
def test_equals_the_released_code_given_the_same_draws(case, expected):
    name, _, algorithm = case.partition("_algo")
    wave = expected[{"x": "x_float32", "loud": "x_loud_float32"}[name]]
    rng = np.random.RandomState(CASES[case]["np_random_seed"])
    out = rawboost(int(algorithm), wave, rng)
    np.testing.assert_allclose(out, expected[case], rtol=0, atol=1e-6 * np.abs(expected[case]).max())
    assert rng.uniform() == CASES[case]["next_uniform_after"]  # as many draws, too


@pytest.mark.parametrize("number", range(3))
def test_notch_filter(number, expected):
    response = notch_filter(np.random.RandomState(500 + number), 0, 0)
    np.testing.assert_allclose(response, expected[f"notch{number}"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("algorithm", range(len(ALGORITHMS)))
def test_any_waveform_stays_finite_and_as_long(algorithm):
    for wave in (np.zeros(500, np.float32), np.ones(1, np.float32), np.full(7, -1.5, np.float32)):
        out = rawboost(algorithm, wave, np.random.default_rng(0))
        assert out.shape == wave.shape and np.isfinite(out).all()


def test_clips_draw_by_seed_epoch_and_position_alone(tmp_path):
    clips = []
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(900) / 5), 16_000)
        clips.append(Clip(name, tmp_path / name, 0, "here"))

    def item(position, epoch=0, seed=1, algorithm=5):
        dataset = AugmentedClips(clips, AUGMENTATIONS[f"rawboost:{algorithm}"], seed, 1000)
        dataset.epoch = epoch
        return dataset[position][1]

    assert item(0).shape == (1000,) and item(0).dtype == torch.float32
    assert torch.equal(item(0)[900:], item(0)[:100])  # boosted before it is repeated
    assert torch.equal(item(0), item(0))
    for other in (item(1), item(0, epoch=1), item(0, seed=2), item(0, algorithm=0)):
        assert not torch.equal(item(0), other)
    assert torch.equal(item(0, algorithm=0), item(1, algorithm=0))
