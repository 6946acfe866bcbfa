"""Which windows a file is cut into, and which of them are silent."""

import numpy as np
import pytest

from data.audio import SAMPLES
from prediction.windows import hop_samples, is_audible
from utils.errors import InputError


def test_a_window_is_audible_when_half_of_it_is():
    wave = np.zeros(SAMPLES, np.float32)
    assert not is_audible(wave)
    wave[: SAMPLES // 3] = 0.01
    assert not is_audible(wave)
    wave[: SAMPLES // 2 + 1600] = 0.01
    assert is_audible(wave)


def test_windows_leave_no_gap():
    assert hop_samples(None, SAMPLES) == SAMPLES // 2 and hop_samples(1.5, SAMPLES) == 24_000
    assert hop_samples(None, SAMPLES, reads_views=True) == 3 * SAMPLES // 4
    assert hop_samples(1.5, SAMPLES, reads_views=True) == 24_000
    with pytest.raises(InputError, match=r"--hop 5 leaves gaps: a window has 4.04 s, give at most that"):
        hop_samples(5, SAMPLES)
