"""Simple measures of a waveform, one number each: in a fair corpus none of them separates the classes.

audit_shortcuts.py tests that. A measure is a function (wave [n], at least one sample; sample rate in Hz) -> number; a
row of MEASURES gives it a name.
"""

import numpy as np

SILENT_POWER = 1e-10  # mean square of digital silence, -100 dB of full scale
ONSET_DB = 30  # speech begins with the first sample that is within so many dB of the peak


def decibel(amplitude):
    """An amplitude (1: full scale) in dB of full scale, at least -100."""
    return float(10 * np.log10(max(float(amplitude) ** 2, SILENT_POWER)))


def root_mean_square(wave):
    """Root of the mean square of a waveform, float64."""
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


def first_loud(wave):
    """The position of the first sample that is within ONSET_DB of the peak."""
    return int(np.argmax(np.abs(wave) >= np.abs(wave).max() * 10 ** (-ONSET_DB / 20)))


def roll_off(wave, rate, share=0.99):
    """Frequency in Hz below which `share` of the power lies."""
    power = np.cumsum(np.abs(np.fft.rfft(wave - wave.mean())) ** 2)
    return float(np.searchsorted(power, share * power[-1]) * rate / len(wave))


MEASURES = {
    "duration (s)": lambda wave, rate: len(wave) / rate,
    "level (dB)": lambda wave, rate: decibel(root_mean_square(wave)),
    "peak (dB)": lambda wave, rate: decibel(np.abs(wave).max()),
    "leading silence (s)": lambda wave, rate: first_loud(wave) / rate,
    "bandwidth (Hz)": roll_off,
    "DC offset": lambda wave, rate: float(np.mean(wave, dtype=np.float64)),
    "sample rate (Hz)": lambda wave, rate: rate,
}
