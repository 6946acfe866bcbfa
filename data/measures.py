"""One number a waveform: what may not tell the classes of a corpus apart (audit_shortcuts.py).

Each takes a waveform [n], not empty, and its sample rate in Hz.
"""

import numpy as np

QUIET = 1e-10  # mean square that counts as digital silence: -100 dB of full scale
ONSET_DB = 30  # speech begins where the wave first comes so close to its peak


def decibel(ratio):
    """An amplitude in dB of full scale, at least -100."""
    return float(10 * np.log10(max(float(ratio) ** 2, QUIET)))


def root_mean_square(wave):
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


def first_loud(wave):
    """The first sample that comes within ONSET_DB of the peak."""
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
