"""Treatments keep speech what it is, and remove what they say."""

import numpy as np
import pytest

from data.audio import SAMPLE_RATE
from data.laundering import (
    AUDITS,
    LAUNDERING,
    UNTREATED,
    at_level,
    fixed_duration,
    in_room,
    louder,
    only_silence,
    resampled,
    trimmed,
    with_noise,
    without_offset,
)
from data.measures import root_mean_square
from demo.recoding import RECODINGS

TREATMENTS = LAUNDERING | RECODINGS
RNG = np.random.default_rng(0)


def tone(seconds=1.0, gain=0.2):
    """A tone after a quarter of a second of silence."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = gain * np.sin(2 * np.pi * 440 * time) * (time > 0.25)
    return wave.astype(np.float32)


def decibel_between(wave, other):
    return 20 * np.log10(root_mean_square(wave) / root_mean_square(other))


def level_above(wave, hertz):
    """Power above a frequency in dB, relative to all of it."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return 10 * np.log10(power[round(hertz * len(wave) / SAMPLE_RATE) :].sum() / power.sum() + 1e-20)


@pytest.mark.parametrize("name", TREATMENTS)
def test_laundering_keeps_length_and_tone_and_repeats(name):
    wave = tone()
    copies = [TREATMENTS[name](wave, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*copies) and copies[0].shape == wave.shape and copies[0].dtype == np.float32
    spectrum = np.abs(np.fft.rfft(copies[0]))
    assert abs(int(spectrum.argmax()) - 440) <= 3
    assert (name == UNTREATED) == np.array_equal(copies[0], wave)


@pytest.mark.parametrize("name", TREATMENTS)
def test_laundering_delays_nothing(name):
    """The lag of the highest correlation with a noise in three bursts; a coder's delay is some hundred samples."""
    wave = np.random.default_rng(5).standard_normal(40_000) * np.repeat([0, 1, 0.1, 1, 0], 8000) * 0.1
    wave = wave.astype(np.float32)
    copy = TREATMENTS[name](wave, np.random.default_rng(3))
    size = 2 * len(wave)
    correlation = np.fft.irfft(np.fft.rfft(copy, size) * np.conj(np.fft.rfft(wave, size)))
    lag = int(np.abs(correlation).argmax())
    assert min(lag, size - lag) <= 1


@pytest.mark.parametrize("table,name", [(table, name) for table in (TREATMENTS, AUDITS) for name in table])
@pytest.mark.parametrize("wave", [np.zeros(16_000, np.float32), np.full(1, 0.5, np.float32)], ids=["silence", "sample"])
def test_nothing_breaks_on_silence_or_one_sample(table, name, wave):
    copy = table[name](wave, np.random.default_rng(3))
    assert len(copy) and np.isfinite(copy).all()


def test_what_laundering_does():
    wave = np.random.default_rng(5).standard_normal(32_000).astype(np.float32) * 0.1
    for snr in (20, 0):
        noise = with_noise(wave, np.random.default_rng(1), snr) - wave
        assert decibel_between(wave, noise) == pytest.approx(snr, abs=0.2)
    for rate in (8000, 11_025):
        assert level_above(resampled(wave, RNG, rate), rate / 2 + 200) < -40 < level_above(wave, rate / 2 + 200)
    for name in ("gsm", "mu-law"):
        assert level_above(TREATMENTS[name](wave, RNG), 4200) < -40
    assert level_above(LAUNDERING["mp3"](wave, RNG), 7700) < level_above(wave, 7700) - 6
    click = np.zeros(16_000, np.float32)
    click[1000] = 0.5
    heard = in_room(click, np.random.default_rng(1))
    assert np.abs(heard[:1000]).max() < 1e-6 and heard[1000] == pytest.approx(0.5)
    assert decibel_between(click, heard - click * (click > 0)) == pytest.approx(6, abs=0.1)
    assert decibel_between(heard[5000:5500], heard[2000:2500]) == pytest.approx(-60 * 3000 / 6400, abs=3)
    assert decibel_between(louder(wave, RNG, -20), wave) == pytest.approx(-20, abs=0.01)
    assert np.abs(louder(wave, RNG, 20)).max() == 1
    by_codec = [TREATMENTS[name](tone(), np.random.default_rng(1)) for name in ("codec-larch", "codec-cedar")]
    assert not np.allclose(*by_codec) and decibel_between(by_codec[0], tone()) == pytest.approx(0, abs=0.01)


def test_what_the_audit_takes_away():
    wave = tone()
    assert len(trimmed(wave, RNG)) == pytest.approx(12_000, abs=40)
    assert np.abs(only_silence(wave, RNG)).max() < 0.02 and 3900 < len(only_silence(wave, RNG)) < 4100
    pause = np.concatenate((tone(gain=0.2)[4200:], np.zeros(1000, np.float32), tone(gain=0.2)[4200:]))
    assert np.abs(only_silence(pause, RNG)).max() == 0 and len(only_silence(pause, RNG)) == 800
    assert 20 * np.log10(root_mean_square(at_level(wave, RNG))) == pytest.approx(-26, abs=0.01)
    assert abs(without_offset(wave + np.float32(0.1), RNG).mean()) < 1e-6
    assert len(fixed_duration(wave, RNG)) == len(fixed_duration(tone(9), RNG)) == 24_000
