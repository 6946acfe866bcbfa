"""Input of the networks on waves: the level of a recording, the log mel spectrogram, and SpecAugment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import save_run

from config import Config
from data.laundering import at_level
from models.building import build_network, check_network_flags, load_model
from models.lcnn import log_mel
from models.levels import at_speech_level
from utils.errors import InputError

GAINS_DB = (-40, -20, 12)
FREE_OF_LEVEL = [
    ("mellcnn", {"mel": "log"}),
    ("mellcnn", {"level": "normalise"}),
    ("Rawaasist", {"level": "normalise"}),
]


@pytest.fixture
def wave():
    """Two clips [2, 64600] of coloured noise with a silent part, at -30 dB and -50 dB."""
    noise = torch.randn(2, 64601, generator=torch.Generator().manual_seed(1))
    wave = (noise[:, 1:] + 0.9 * noise[:, :-1]) * torch.tensor([[0.03], [0.003]])
    wave[:, 30_000:40_000] = 0
    return wave


@pytest.mark.parametrize(("name", "options"), FREE_OF_LEVEL)
def test_scores_do_not_depend_on_the_level(name, options, wave):
    torch.manual_seed(0)
    network = build_network(name, 5, **options).eval()
    with torch.inference_mode():
        _, expected = network(wave)
        for gain in GAINS_DB:
            _, logits = network(wave * 10 ** (gain / 20))
            torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)


def test_as_published_they_do(wave):
    torch.manual_seed(0)
    network = build_network("mellcnn", 5).eval()
    with torch.inference_mode():
        assert (network(wave)[1] - network(4 * wave)[1]).abs().max() > 1e-3


def test_the_level_is_that_of_the_audit(wave):
    expected = np.stack([at_level(row, None) for row in wave.numpy()])
    np.testing.assert_allclose(at_speech_level(wave).numpy(), expected, rtol=1e-5)
    assert not at_speech_level(torch.zeros(1, 100)).any()


def test_a_log_mel_spectrogram_against_a_plain_computation(wave):
    mel = build_network("mellcnn", 5).mel
    row = wave[0].numpy().astype(np.float64)
    row = row * 10 ** (-26 / 20) / np.sqrt(np.mean(row**2))
    padded = np.pad(row, 256, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::128] * np.hanning(513)[:-1]
    level = np.log(np.abs(np.fft.rfft(frames)) ** 2 @ mel.mel_scale.fb.numpy().astype(np.float64) + 1e-8).T
    expected = (level - level.mean()) / level.std()
    np.testing.assert_allclose(log_mel(mel, wave)[0].numpy(), expected, atol=2e-3)
    assert log_mel(mel, torch.zeros(1, 64600)).isfinite().all()


def test_masks_are_only_of_training_and_follow_the_seed(wave):
    torch.manual_seed(0)
    network = build_network("mellcnn", 5, mel="log", spec_augment=True)
    seen = []
    network.conv1.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0]))
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        network.train()(wave)
    network.eval()(wave)
    first, again, other, plain = seen
    assert torch.equal(first, again) and not torch.equal(first, other)
    masked = (first == 0) & (plain != 0)
    assert masked.any() and torch.equal(first[~masked], plain[~masked])
    assert not torch.equal(masked[0], masked[1])  # each clip has masks of its own
    assert masked[0, 0].all(1).sum() <= 30 and masked[0, 0].all(0).sum() <= 140  # of 80 bands and 505 frames


def test_the_flags_travel_with_a_run(tmp_path):
    config = Config(model="mellcnn", num_classes=3, mel="log", level="normalise", spec_augment=True)
    save_run(tmp_path, build_network("mellcnn", 3), config)
    assert load_model(tmp_path, Config()).logarithmic
    old = replace(config, mel="power", level="none")
    save_run(tmp_path, build_network("mellcnn", 3), old, without=("mel", "level", "spec_augment"))
    assert not load_model(tmp_path, Config(mel="log")).logarithmic  # such a run was trained as published


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "Rawaasist", "mel": "log"}, "--mel is only for --model mellcnn, not for Rawaasist: leave it out"),
        (
            {"model": "mellcnn", "ssl_layer": 3},
            "--ssl_layer is only for --model W2VAASIST, not for mellcnn: leave it out",
        ),
        ({"level": "normalise"}, "--level is only for --model Rawaasist, mellcnn, not for W2VAASIST: leave it out"),
    ],
)
def test_a_flag_of_another_network_is_refused(options, line):
    with pytest.raises(InputError) as caught:
        check_network_flags(Config(**options))
    assert str(caught.value) == line
