"""A waveform in memory, to be traced like a Recording."""

from typing import NamedTuple

import numpy as np

from data.audio import RATE_LIMITS, resample_wave
from prediction.recordings import About
from utils.errors import InputError


class Waveform(NamedTuple):
    """Samples in memory, float32 [n], with the methods of a Recording."""

    name: str
    wave: np.ndarray
    rate: int  # Hz
    channel: int | None = None

    @property
    def stem(self):
        """The name of a file made of it, without extension."""
        return self.name

    def stream(self, tell=lambda about: None):
        """Its waveform in one block, float32 at 16 kHz; then tell(About) is called."""
        yield resample_wave(self.wave, self.rate)
        tell(About(self.rate))

    def rename_in(self, message):
        """`message` as it is."""
        return str(message)


def checked_waveform(array, rate, name):
    """The Waveform of `array`, numbers [n] that a numpy array can be made of, at `rate` Hz.

    Raises InputError for integers, several channels, no samples, values that are not finite, and unusual rates.
    """
    wave = np.asarray(array)
    low, high = RATE_LIMITS
    if wave.ndim != 1:
        raise InputError(f"{name} has the shape {list(wave.shape)}, expected [samples]: give one channel, or the mean")
    if wave.dtype.kind != "f":
        raise InputError(f"{name} holds {wave.dtype}, expected floats from -1 to 1: divide int16 by 32768")
    if not len(wave):
        raise InputError(f"{name} holds no sample")
    if not np.isfinite(wave).all():
        raise InputError(f"{name} holds samples that are NaN or infinite: make it again")
    if int(rate) != rate or not low <= rate <= high:
        raise InputError(f"{name} has {rate} samples a second, expected a whole number from {low} to {high}")
    return Waveform(name, wave.astype(np.float32), int(rate))
