"""The spectral fingerprint: equal to a plain numpy computation, independent of the level, and read by a network."""

import numpy as np
import pytest
import torch
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from models.building import build_network
from models.fingerprint import BINS, VIEWS, fingerprint_views


def frames(wave, size):
    return np.lib.stride_tricks.sliding_window_view(wave, size)[:: size // 4]


def whitened(wave, size, smooth):
    """Frame by frame, as its definition says; float64."""
    window = np.hanning(size + 1)[:size]
    padded = np.pad(wave, (size, 2 * size))
    out = np.zeros(len(padded))
    for start in range(0, len(padded) - size + 1, size // 4):
        spectrum = np.fft.rfft(padded[start : start + size] * window)
        power = uniform_filter1d(np.abs(spectrum) ** 2, smooth) + 1e-14
        out[start : start + size] += np.fft.irfft(spectrum / np.sqrt(power)) * window
    return out[size : size + len(wave)]


def reference(wave):
    wave = wave.astype(np.float64)
    wave = wave / np.sqrt(np.mean(wave**2))
    views = []
    for view in VIEWS:
        white = whitened(wave, view.frame, view.smooth)
        power = np.abs(np.fft.rfft(frames(white, view.size) * np.hanning(view.size))) ** 2
        level = np.log(power + 1e-9).mean(0) if view.mean_of_log else np.log(power.mean(0) + 1e-9)
        lines = level - uniform_filter1d(minimum_filter1d(level, view.hull), view.hull)
        lines = lines[:-1].reshape(BINS, -1).mean(1)
        views.append((lines - lines.mean()) / lines.std())
    return np.stack(views)


def speech_like(samples=64_600, seed=0):
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.standard_normal(samples + 63), 0.9 ** np.arange(64), "valid")
    envelope = 0.05 + np.abs(np.sin(np.arange(samples) / 3000))
    return (0.02 * noise * envelope).astype(np.float32)


@pytest.mark.parametrize("samples", [64_600, 20_000, 4096])
def test_it_equals_a_plain_computation(samples):
    wave = speech_like(samples)
    views = fingerprint_views(torch.from_numpy(wave)[None].double())[0]
    np.testing.assert_allclose(views.numpy(), reference(wave), atol=1e-5)


def test_single_precision_is_enough():
    wave = torch.from_numpy(speech_like())[None]
    torch.testing.assert_close(fingerprint_views(wave), fingerprint_views(wave.double()).float(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("gain", [-40, -20, 12])
def test_the_level_does_not_matter(gain):
    wave = torch.from_numpy(speech_like())[None]
    torch.testing.assert_close(fingerprint_views(wave * 10 ** (gain / 20)), fingerprint_views(wave), atol=2e-3, rtol=0)


def test_a_clip_does_not_depend_on_its_neighbours():
    waves = torch.from_numpy(np.stack([speech_like(seed=seed) for seed in range(3)]))
    one_by_one = torch.cat([fingerprint_views(wave[None]) for wave in waves])
    torch.testing.assert_close(fingerprint_views(waves), one_by_one, atol=1e-4, rtol=0)


@pytest.mark.parametrize("wave", [torch.zeros(1, 64_600), torch.ones(1, 64_600), torch.zeros(1, 100)])
def test_silence_gives_finite_numbers(wave):
    features, logits = build_network("fingerprint", 7).eval()(wave)
    assert features.shape == (1, 128) and logits.shape == (1, 7)
    assert features.isfinite().all() and logits.isfinite().all()


def test_a_line_shows_at_its_frequency():
    wave = speech_like() + 0.002 * np.sin(2 * np.pi * 3000 * np.arange(64_600) / 16_000).astype(np.float32)
    views = fingerprint_views(torch.from_numpy(wave)[None])[0]
    assert all(abs(view.argmax().item() - 3000 / (8000 / BINS)) <= 1 for view in views)
