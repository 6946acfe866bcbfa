"""Simple measures of a waveform, one number each: in a fair corpus none of them separates the classes.

audit_shortcuts.py tests that. A measure is a function (wave [n], at least one sample; sample rate in Hz) -> number; a
row of MEASURES gives it a name.
"""

import numpy as np

SILENT_POWER = 1e-10  # mean square of digital silence, -100 dB of full scale
SPEECH_LEVEL_DB = -26  # dB of full scale, the level of speech material in ITU-T P.56
RANGE_FRAME = 320  # samples: 20 ms at 16 kHz
RANGE_LOWEST_BIN = 60  # 3 kHz
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


def high_level_range(wave):
    """Level of the loud frames of `wave` [n] at 16 kHz above 3 kHz, in dB over that of the quiet ones.

    It is small in noise, which fills the pauses. A frame has 20 ms, or all of a shorter wave; loud and quiet are the
    percentiles 95 and 10.
    """
    count = max(1, len(wave) // RANGE_FRAME)
    whole = wave[: count * RANGE_FRAME] if len(wave) >= RANGE_FRAME else np.resize(wave, RANGE_FRAME)
    frames = whole.reshape(count, RANGE_FRAME) * np.hanning(RANGE_FRAME).astype(np.float32)
    spectrum = np.fft.rfft(frames)[:, RANGE_LOWEST_BIN:]
    power = np.square(np.abs(spectrum), dtype=np.float64).mean(axis=1)  # huge waves overflow float32
    low, high = np.percentile(10 * np.log10(power + 1e-12), (10, 95))
    return float(high - low)


MEASURES = {
    "duration (s)": lambda wave, rate: len(wave) / rate,
    "level (dB)": lambda wave, rate: decibel(root_mean_square(wave)),
    "peak (dB)": lambda wave, rate: decibel(np.abs(wave).max()),
    "leading silence (s)": lambda wave, rate: first_loud(wave) / rate,
    "bandwidth (Hz)": roll_off,
    "DC offset": lambda wave, rate: float(np.mean(wave, dtype=np.float64)),
    "sample rate (Hz)": lambda wave, rate: rate,
}
