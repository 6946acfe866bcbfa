"""An augmentation is one row: a dummy that is registered from outside is what training hears."""

import json

import numpy as np
import pytest
import torch

import main_train_taxonomy
from data.audio import fit_length, load_wave
from data.augmentation import AUGMENTATIONS
from engine import training
from utils.errors import InputError


@pytest.fixture
def reverse(monkeypatch):
    """An augmentation that reverses a waveform and adds one random offset to it; the list of its draws."""
    draws = []

    def reverse_wave(wave, rng):
        draws.append(rng.random())
        return wave[::-1] + draws[-1]

    monkeypatch.setitem(AUGMENTATIONS, "reverse", reverse_wave)
    return draws


def flags(corpus, folder, *more):
    common = ["--data_root", corpus, "--num_workers", 0, "--SSL_path", "tiny-random", "--num_epochs", 1]
    return [str(part) for part in (*common, "--sampling_strategy", "VQ", "-o", folder, *more)]


def test_training_uses_an_added_row(reverse, taxonomy_corpus, tmp_path):
    main_train_taxonomy.main(flags(taxonomy_corpus, tmp_path / "model", "--augment", "reverse"))
    clips = 4  # of the training list: two utterances and a coded version of each
    assert len(reverse) == len(set(reverse)) == clips
    assert sorted(reverse) == sorted(np.random.default_rng((1234, 1, position)).random() for position in range(clips))
    assert json.loads((tmp_path / "model/args.json").read_text())["config"]["augment"] == "reverse"
    assert (tmp_path / "model/anti-spoofing_feat_model.pt").exists()


def test_a_clip_is_augmented_whole_before_it_is_cut(reverse, taxonomy_corpus, tmp_path, monkeypatch):
    seen = {}

    def train_model(config, description, setup, accelerator):
        seen.update(train=setup.train, dev=setup.dev)

    monkeypatch.setattr(training, "train_model", train_model)
    main_train_taxonomy.main(flags(taxonomy_corpus, tmp_path / "model", "--augment", "reverse"))
    _, wave, _ = seen["train"][2]
    expected = load_wave(seen["train"].clips[2].path)[::-1] + reverse[-1]
    np.testing.assert_array_equal(wave, fit_length(expected.astype(np.float32), len(wave)))
    _, wave, _ = seen["dev"][0]
    assert torch.equal(wave, torch.from_numpy(fit_length(load_wave(seen["dev"].clips[0].path), len(wave))))


def test_an_unknown_name_is_refused(taxonomy_corpus, tmp_path):
    with pytest.raises(InputError, match=r"--augment echo: expected one of none, channel, rawboost:0, .*rawboost:8"):
        main_train_taxonomy.main(flags(taxonomy_corpus, tmp_path / "model", "--augment", "echo"))
