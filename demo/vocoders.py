"""Classical ways to make speech artificial, for the spoofed rows of the unseen-real corpora: wave [n] -> wave [n]."""

import io

import numpy as np
import soundfile
from scipy.linalg import solve_toeplitz
from scipy.signal import istft, lfilter, stft

from data.audio import SAMPLE_RATE


def griffin_lim(wave, rng, steps=16):
    """From the magnitudes of 64 mel bands, phase by iteration (Griffin and Lim, 1984)."""
    from torchaudio.functional import melscale_fbanks  # slow to import

    frame = dict(nperseg=512, noverlap=384)
    bank = melscale_fbanks(257, 0.0, 8000.0, 64, SAMPLE_RATE).numpy().astype(float)
    mel = bank.T @ np.abs(stft(wave, **frame)[2])
    magnitude = np.maximum(np.linalg.pinv(bank.T) @ mel, 0)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    for _ in range(steps):
        copy = istft(magnitude * phase, **frame)[1]
        phase = np.exp(1j * np.angle(stft(copy, **frame)[2][:, : magnitude.shape[1]]))
    return np.resize(istft(magnitude * phase, **frame)[1], len(wave))


def linear_prediction(wave, rng, order=18, hop=160):
    """Linear predictive vocoder: pulses at the pitch, or noise, through an all-pole filter every 10 ms (Atal, 1971)."""
    padded = np.pad(wave, hop)
    window = np.hanning(3 * hop)
    copy = np.zeros(len(wave))
    state = np.zeros(order)
    wait = 0
    for start in range(0, len(wave) - hop + 1, hop):
        segment = padded[start : start + 3 * hop] * window
        correlation = np.correlate(segment, segment, "full")[len(segment) - 1 :]
        correlation[0] = correlation[0] * 1.0001 + 1e-9
        predictor = solve_toeplitz(correlation[:order], correlation[1 : order + 1])
        period = 40 + int(np.argmax(correlation[40:320]))  # 50 to 400 Hz
        power = max(correlation[0] - predictor @ correlation[1 : order + 1], 0) / np.square(window).sum()
        excitation = rng.standard_normal(hop)
        if correlation[period] > 0.35 * correlation[0]:
            excitation[:] = 0
            places = np.arange(wait, hop, period)
            excitation[places] = np.sqrt(period)
            wait = (places[-1] + period if len(places) else wait) - hop
        else:
            wait = 0
        filtered, state = lfilter([np.sqrt(power)], np.append(1, -predictor), excitation, zi=state)
        copy[start : start + hop] = filtered
    return copy


def gsm(wave, rng):
    """GSM 06.10 full rate, run at 16 kHz (26 kbit/s)."""
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="WAV", subtype="GSM610")
    file.seek(0)
    return np.resize(soundfile.read(file)[0], len(wave))


VOCODERS = {"griffin-lim": griffin_lim, "linear-prediction": linear_prediction, "gsm": gsm}
