"""A plot of one Prediction: waveform, log-mel spectrogram, timeline of sources, and the fingerprint if there is one."""

import math

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data.audio import SAMPLE_RATE
from prediction.peaks import HERTZ_OF_BIN
from prediction.verdict import SILENCE, UNKNOWN, UNSURE
from utils.colours import INK, PALETTE
from utils.fonts import use_fonts_of_all_scripts

use_fonts_of_all_scripts()

PLOT_COLUMNS = 700  # of waveform and spectrogram, for a file of any length
PLOT_MEL_BANDS = 80
DECIBEL_RANGE = 70  # dB below the maximum that the spectrogram shows
HATCHES = ("", "\\\\", "xx", "--", "||", "++", "oo", "**")  # a source gets a hatch when all colours are used
NO_SOURCE_STYLES = {UNKNOWN: ("#4a4a4a", "///"), UNSURE: ("#c8c8c8", ""), SILENCE: ("#f2f2f2", "...")}
LEGEND_LETTERS = 130  # that a line of the legend holds
FINGERPRINT_INCHES = 2.6  # height of its part of the plot
LABELLED_PEAKS = 6
LABEL_HERTZ = 330  # width of the label of a peak
MARK_ABOVE = 0.35  # of the mark of a peak above its top, in units of the fingerprint
MARK_LETTERS = 8  # width of the coloured mark and the space beside it


def gather(ufunc, totals, index, values):
    """Combine `values` [n, ...] by `ufunc` into the rows of `totals` that `index` [n], in rising order, names."""
    starts = np.flatnonzero(np.diff(index, prepend=-1))  # ufunc.at() takes ten times as long
    rows = index[starts]
    totals[rows] = ufunc(totals[rows], ufunc.reduceat(values, starts))


def summarise_recording(recording, seconds):
    """(low, high, decibel) of a Recording of `seconds`, which is read in blocks.

    `low` and `high` [columns] are the lowest and highest samples, `decibel` [80, columns] is the log-mel power in dB.
    """
    from torchaudio.transforms import MelSpectrogram  # slow to import

    samples = round(seconds * SAMPLE_RATE)
    hop = 256
    mel = MelSpectrogram(SAMPLE_RATE, n_fft=1024, hop_length=hop, n_mels=PLOT_MEL_BANDS)
    points = min(PLOT_COLUMNS, samples)
    columns = min(PLOT_COLUMNS, samples // hop + 1)
    low, high = np.zeros(points), np.zeros(points)
    power = np.zeros((columns, PLOT_MEL_BANDS))
    frames = np.zeros((columns, 1))
    position = 0
    for block in recording.stream():
        place = (position + np.arange(len(block))) / samples
        point = (place * points).astype(int)
        gather(np.minimum, low, point, block)
        gather(np.maximum, high, point, block)
        spectrum = mel(torch.from_numpy(np.resize(block, max(len(block), 1024)))).numpy().T
        column = (place[: len(spectrum) * hop : hop] * columns).astype(int)
        gather(np.add, power, column, spectrum[: len(column)])
        gather(np.add, frames, column, np.ones((len(column), 1)))
        position += len(block)
    decibel = 10 * np.log10(power / np.maximum(frames, 1) + 1e-10).T
    return low, high, np.maximum(decibel, decibel.max() - DECIBEL_RANGE)


def mel_band(hertz):
    """The mel band of a frequency, as a number that may lie between two bands."""
    return PLOT_MEL_BANDS * np.log1p(hertz / 700) / np.log1p(SAMPLE_RATE / 2 / 700)


def source_styles(prediction):
    """{source: (colour, hatch)} of all sources that may occur, the same in every plot of a model."""
    named = [*prediction.probabilities, *(segment.source for segment in prediction.timeline)]
    named = [name for name in dict.fromkeys(named) if name not in NO_SOURCE_STYLES]
    styles = {}
    for number, name in enumerate(named):
        repeat, colour = divmod(number, len(PALETTE))
        styles[name] = PALETTE[colour], HATCHES[repeat % len(HATCHES)] + "/" * (repeat // len(HATCHES))
    return styles | NO_SOURCE_STYLES


def needs_legend(segment, seconds):
    """Whether the bar of a segment, in a plot of `seconds`, is too narrow for the name of its source."""
    return (segment.end - segment.start) / seconds <= 0.012 * len(segment.source)


def legend_names(prediction):
    """The sources in the timeline of a Prediction that need a legend, in the order of source_styles()."""
    narrow = {segment.source for segment in prediction.timeline if needs_legend(segment, prediction.seconds)}
    return [name for name in source_styles(prediction) if name in narrow]


def legend_columns(names):
    """How many of `names` a line of the legend holds."""
    return max(1, min(6, LEGEND_LETTERS // (max(map(len, names), default=0) + MARK_LETTERS)))


def draw_timeline(axes, prediction):
    """Draw the timeline as bars; the names of sources are on the bars, or in a legend where bars are too narrow."""
    styles = source_styles(prediction)
    for segment in prediction.timeline:
        colour, hatch = styles[segment.source]
        width = segment.end - segment.start
        axes.barh(0, width, left=segment.start, height=0.8, color=colour, hatch=hatch, edgecolor="white")
        if not needs_legend(segment, prediction.seconds):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
            middle = segment.start + width / 2
            axes.text(middle, 0, segment.source, ha="center", va="center", fontsize=9, color=INK, bbox=box)
    if names := legend_names(prediction):
        patches = [
            Patch(facecolor=styles[name][0], hatch=styles[name][1], edgecolor="white", label=name) for name in names
        ]
        axes.legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.85),
            ncols=legend_columns(names),
            handleheight=1.1,
            fontsize=8,
            frameon=False,
        )
    axes.set(yticks=[], ylim=(-0.5, 0.5), xlabel="time (s)")
    axes.set_ylabel("source", rotation=0, ha="right", va="center")


def draw_recording(wave, mel, recording, seconds):
    """Draw the waveform and the log-mel spectrogram of a Recording into the axes `wave` and `mel`."""
    low, high, decibel = summarise_recording(recording, seconds)
    wave.fill_between(np.linspace(0, seconds, len(low)), low, high, color=INK, linewidth=0.6)
    limit = max(1e-3, *np.abs([low.min(), high.max()])) * 1.05
    wave.set(ylim=(-limit, limit), ylabel="amplitude", xlim=(0, seconds))
    extent = (0, seconds, 0, PLOT_MEL_BANDS)
    mel.imshow(decibel, origin="lower", aspect="auto", cmap="magma", extent=extent, interpolation="nearest")
    ticks = np.array([250, 500, 1000, 2000, 4000, 8000])
    mel.set_yticks(mel_band(ticks), ticks)
    mel.set_ylabel("Hz, mel scale")


def label_peaks(axes, prediction):
    """Mark the peaks of a Prediction, the highest ones with their frequency. Gives the height of the highest."""
    colour = PALETTE[5]
    spectrum = prediction.spectrum
    named = spectrum.source == prediction.verdict
    name = f"peaks that speak for {spectrum.source}" if named else "high peaks of this file"
    hertz = np.array([peak.hz for peak in prediction.peaks])
    heights = spectrum.fingerprint[np.round(hertz / HERTZ_OF_BIN).astype(int)]
    axes.plot(hertz, heights + MARK_ABOVE, "v", markersize=5, color=colour, label=name)
    labelled = []
    for place, height in zip(hertz, heights, strict=True):
        if len(labelled) < LABELLED_PEAKS and all(abs(place - other) > LABEL_HERTZ for other in labelled):
            labelled.append(place)
            axes.text(place, height + 2 * MARK_ABOVE, f"{place:.0f}", ha="center", fontsize=8, color=colour)
    return heights.max()


def draw_fingerprint(axes, prediction):
    """Draw the fingerprint of a file, and the mean and the spread of the class that it is compared with."""
    spectrum = prediction.spectrum
    hertz = HERTZ_OF_BIN * np.arange(len(spectrum.fingerprint))
    axes.plot(hertz, spectrum.fingerprint, color=INK, linewidth=0.7, label="this file")
    speech = int(300 / HERTZ_OF_BIN)  # below are high peaks of any voice, which may be cut off
    top = spectrum.fingerprint[speech:].max()
    if spectrum.mean is not None:
        name = f"mean and spread of training clips of {spectrum.source}"
        name += " (most probable class)" if spectrum.source != prediction.verdict else ""
        low, high = spectrum.mean - spectrum.spread, spectrum.mean + spectrum.spread
        axes.fill_between(hertz, low, high, color=PALETTE[4], alpha=0.4, linewidth=0)
        axes.plot(hertz, spectrum.mean, color=PALETTE[0], linewidth=1, label=name)
        top = max(top, high[speech:].max())
    if prediction.peaks:
        top = max(top, label_peaks(axes, prediction))
    axes.set(xlim=(0, SAMPLE_RATE / 2), ylim=(-2.5, top + 4 * MARK_ABOVE), xlabel="frequency (Hz)")
    axes.set_ylabel("fingerprint")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)


def draw_prediction(prediction, output):
    """Write the plot of a Prediction and its recording to `output`, a path or an open file, as PNG.

    Raises InputError as stream_wave() does.
    """
    names = legend_names(prediction)
    lines = math.ceil(len(names) / legend_columns(names))
    height = 5 + 0.2 * max(0, lines - 2)  # inches
    if not prediction.spectrum:
        figure = Figure(figsize=(9, height), layout="constrained")
        wave, mel, bars = figure.subplots(3, 1, height_ratios=(1, 2, 0.45))
    else:
        figure = Figure(figsize=(9, height + FINGERPRINT_INCHES), layout="constrained")
        wave, mel, bars, lowest = figure.subplots(4, 1, height_ratios=(1, 2, 0.45, 2))
        draw_fingerprint(lowest, prediction)
    for axes in (wave, mel):
        axes.sharex(bars)
        axes.tick_params(labelbottom=False)
    draw_recording(wave, mel, prediction.recording, prediction.seconds)
    draw_timeline(bars, prediction)
    name = prediction.file.replace("\\", "/").rpartition("/")[2]
    shown = name if len(name) <= 50 else f"{name[:30]}...{name[-17:]}"
    p = prediction
    figure.suptitle(f"{shown}: {p.verdict}", color=INK, fontsize=12, parse_math=False)
    wave.set_title(
        f"fit to known sources: percentile {p.percentile:.1f} of development files, p = {p.p_value:.3g};"
        f" {p.agreement:.0%} of {p.windows} windows agree",
        fontsize=9,
        color=INK,
    )
    figure.savefig(output, format="png", dpi=100, metadata={"Software": None})
