"""The peaks of a file's fingerprint that speak for a source, and the frame rates that they are multiples of.

A peak is a narrow maximum of the first view of the fingerprint (models/fingerprint.py). It speaks for a source when the
mean of the source's training clips is high there too, against the means of all other classes.

Each upsampling step of a decoder copies the spectrum around every multiple of the rate that it raises (Pons et al.,
arXiv 2010.14356). So the peaks of a decoder are multiples of its frame rate and of the rates between its steps. A bin
has 7.8 Hz. Every frequency is near a multiple of 12.5 Hz, and one in ten is near a multiple of 75 Hz. A single peak
shows nothing about such rates. So all peaks of a file are tested together.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import find_peaks
from scipy.stats import binom

from data.audio import SAMPLE_RATE
from data.classes import CLASSES, REAL
from models.fingerprint import BINS
from prediction.results import Peak

HERTZ_OF_BIN = SAMPLE_RATE / 2 / BINS  # 7.8125
SURROUNDINGS = 31  # bins, whose median a peak is compared with
HIGH_PEAK = 5.0  # robust standard deviations above the surroundings; white noise hardly ever has such a peak
LOW_PEAK = 3.0  # is high enough where the source has a line, too
STANDS_OUT = 0.3  # standard deviations of the source by which its mean is above that of the others
SMALLEST_SPREAD = 0.1  # of a class of few clips
LOWEST_HERTZ = 300.0  # below, the pitch of a voice leaves peaks, too
LOWEST_UNNAMED_HERTZ = 500.0  # below, the second partial of a high voice does, too
EDGE_HERTZ = 100.0  # below half of the sample rate, where resampling filters end
MOST_PEAKS = 12
SIGNIFICANCE = 0.01  # of a frame rate, after Bonferroni's correction for the number of rates

# Frames a second, and the factors of the upsampling steps of the decoder
DECODER_STEPS = {
    "EnCodec, DAC and HiFi-Codec at 24 kHz (arXiv 2210.13438, 2306.06546, 2305.02765)": (75, (8, 5, 4, 2)),
    "SoundStream, SpeechTokenizer and DAC at 16 kHz (arXiv 2107.03312, 2308.16692)": (50, (8, 5, 4, 2)),
    "DAC at 44.1 kHz (arXiv 2306.06546)": (44100 / 512, (8, 8, 4, 2)),
    "Mimi (arXiv 2410.00037)": (12.5, (2, 8, 6, 5, 4)),
    "SNAC at 24 kHz (arXiv 2410.14411)": (24000 / 512, (8, 8, 4, 2)),
    "BigCodec (arXiv 2409.05377)": (80, (5, 5, 2, 2, 2)),
    "WavTokenizer, 40 tokens a second (arXiv 2408.16532)": (40, ()),
    "TAAE (arXiv 2411.19842)": (25, (2,)),
    "HiFi-GAN of AudioLDM, which SemantiCodec uses (arXiv 2301.12503, 2405.00233)": (100, (5, 4, 2, 2, 2)),
}


def rates_between_steps(frame_rate, factors):
    """The frame rate of a decoder and the rates after each of its upsampling steps, in Hz, below half of 16 kHz."""
    rates = frame_rate * np.cumprod((1, *factors))
    return rates[rates < SAMPLE_RATE / 2].tolist()


FRAME_RATES = sorted({rate for steps in DECODER_STEPS.values() for rate in rates_between_steps(*steps)})


@dataclass(frozen=True)
class FileSpectrum:
    """What the plot shows of a file's fingerprint: arrays [BINS], the first view, in standard deviations of it."""

    fingerprint: np.ndarray
    source: str  # the class to compare with: the verdict, or the most probable class where the verdict is no class
    mean: np.ndarray | None  # of the training clips of `source`; None where the model does not have them
    spread: np.ndarray | None  # their standard deviation


def stand_out(mean, spread, source):
    """How far the mean of class `source` is above the mean of the other classes [BINS], in its standard deviations.

    `mean` and `spread` [classes, BINS] are those of each class. A bin also counts where one beside it stands out.
    """
    others = np.delete(mean, source, axis=0).mean(axis=0)
    above = np.pad((mean[source] - others) / np.maximum(spread[source], SMALLEST_SPREAD), 1, mode="edge")
    return np.maximum.reduce([above[:-2], above[1:-1], above[2:]])


def peak_hertz(fingerprint, bins):
    """The frequencies [n] in Hz of the peaks at `bins` [n], from a parabola through a peak and its two neighbours."""
    before, top, after = (fingerprint[bins + step] for step in (-1, 0, 1))
    curve = before - 2 * top + after
    return HERTZ_OF_BIN * (bins + 0.5 * (before - after) / np.where(curve < 0, curve, -np.inf))


def near_multiple(hertz, rate):
    """Whether each frequency [n] is within half a bin of a multiple of `rate`; all in Hz."""
    multiple = np.maximum(1, np.round(hertz / rate)) * rate
    return np.abs(hertz - multiple) <= HERTZ_OF_BIN / 2


def explain_by_rates(hertz):
    """The frame rates of FRAME_RATES that frequencies [n] are multiples of more often than by chance, best first.

    A rate is near a random frequency with a probability of one bin / rate. The binomial test asks how probable so many
    multiples are by chance. The rate with the smallest p-value is taken, and its multiples are put aside. The same is
    done with what is left, until no rate is significant.
    """
    fits = {rate: near_multiple(hertz, rate) for rate in FRAME_RATES}
    left = np.ones(len(hertz), bool)
    chosen = []
    while left.any():
        chance = {rate: min(1.0, HERTZ_OF_BIN / rate) for rate in fits}
        p_values = {rate: binom.sf((fits[rate] & left).sum() - 1, left.sum(), chance[rate]) for rate in fits}
        best = min(p_values, key=p_values.get)
        if p_values[best] * len(fits) >= SIGNIFICANCE:
            break
        chosen.append(best)
        left &= ~fits[best]
    return chosen


def describe_peaks(fingerprint, mean=None, spread=None, source=None, band=SAMPLE_RATE / 2):
    """The peaks of a `fingerprint` [BINS], the first view, that speak for the class number `source`; highest first.

    Each is a Peak, with the rates of explain_by_rates() that it is a multiple of. At most MOST_PEAKS are listed; all of
    them count for the rates. `mean` and `spread` [classes, BINS] are of the training clips of each class. Without
    them, or without a `source`, peaks need only be high, and those below LOWEST_UNNAMED_HERTZ are left out. `band` is
    half of the sample rate of the file, in Hz.
    """
    above = fingerprint - median_filter(fingerprint, SURROUNDINGS)
    scale = max(1e-6, 1.4826 * float(np.median(np.abs(above))))
    bins, _ = find_peaks(fingerprint)
    if mean is None or source is None:
        lowest = LOWEST_UNNAMED_HERTZ
        chosen = above[bins] >= HIGH_PEAK * scale
    else:
        lowest = LOWEST_HERTZ
        chosen = (above[bins] >= LOW_PEAK * scale) & (stand_out(mean, spread, source)[bins] >= STANDS_OUT)
    highest = min(band, SAMPLE_RATE / 2) - EDGE_HERTZ
    bins = bins[chosen & (bins * HERTZ_OF_BIN >= lowest) & (bins * HERTZ_OF_BIN <= highest)]
    hertz = peak_hertz(fingerprint, bins)
    fits = {rate: near_multiple(hertz, rate) for rate in explain_by_rates(hertz)}
    return tuple(
        Peak(
            hz=round(float(hertz[row]), 1),
            height=round(float(above[bins[row]]), 3),
            frame_rates=[round(rate, 2) for rate, fit in fits.items() if fit[row]],
        )
        for row in np.argsort(-above[bins], kind="stable")[:MOST_PEAKS]
    )


def compare_with_source(fingerprint, verdict, probabilities, references, sample_rate=SAMPLE_RATE):
    """(FileSpectrum, Peaks) of a file's `fingerprint` [BINS].

    `probabilities` is {class: probability}. `references` are the mean and the spread [classes, BINS] of the classes, or
    None. `sample_rate` is that of the file. Where the verdict is a class, the peaks speak for it; else all high peaks
    are listed. Real speech is recognised by the lines that it lacks, so a file with this verdict has no peaks.
    """
    names = list(probabilities)
    named = verdict in probabilities
    source = verdict if named else max(probabilities, key=probabilities.get)
    row = names.index(source)
    mean, spread = references or (None, None)
    spectrum = FileSpectrum(fingerprint, source, *(None if table is None else table[row] for table in (mean, spread)))
    if verdict == CLASSES[REAL]:
        return spectrum, ()
    return spectrum, describe_peaks(fingerprint, mean, spread, row if named else None, sample_rate / 2)
