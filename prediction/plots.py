"""One picture of a Prediction: waveform, log-mel spectrogram and the timeline of sources."""

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data.audio import SAMPLE_RATE, stream_wave
from prediction.verdict import SILENCE, UNKNOWN, UNSURE

COLUMNS = 700  # of waveform and spectrogram, however long the file
BANDS, RANGE = 80, 70  # mel bands, and dB that the spectrogram shows below its maximum
INK = "#22223b"
# Okabe and Ito's colours, which the colour-blind tell apart; a source that comes late takes one again, hatched
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
PLAIN = {UNKNOWN: ("#4a4a4a", "///"), UNSURE: ("#c8c8c8", ""), SILENCE: ("#f2f2f2", "...")}


def overview(path, seconds):
    """Lowest and highest sample [columns], and log-mel power in dB [80, columns], of a file of `seconds`."""
    from torchaudio.transforms import MelSpectrogram  # slow to import

    samples, hop = round(seconds * SAMPLE_RATE), 256
    mel = MelSpectrogram(SAMPLE_RATE, n_fft=1024, hop_length=hop, n_mels=BANDS)
    points, columns = min(COLUMNS, samples), min(COLUMNS, samples // hop + 1)
    low, high, power, frames = np.zeros(points), np.zeros(points), np.zeros((columns, BANDS)), np.zeros((columns, 1))
    position = 0
    for block in stream_wave(path):
        place = (position + np.arange(len(block))) / samples
        np.minimum.at(low, (place * points).astype(int), block)
        np.maximum.at(high, (place * points).astype(int), block)
        spectrum = mel(torch.from_numpy(np.resize(block, max(len(block), 1024)))).numpy().T
        column = (place[: len(spectrum) * hop : hop] * columns).astype(int)
        np.add.at(power, column, spectrum[: len(column)])
        np.add.at(frames, column, 1)
        position += len(block)
    decibel = 10 * np.log10(power / np.maximum(frames, 1) + 1e-10).T
    return low, high, np.maximum(decibel, decibel.max() - RANGE)


def band_of(hertz):
    """The mel band, perhaps between two, of a frequency."""
    return BANDS * np.log1p(hertz / 700) / np.log1p(SAMPLE_RATE / 2 / 700)


def styles(prediction):
    """{source: (colour, hatch)} of every source that may occur, the same in every picture of a model."""
    named = [*prediction.probabilities, *dict.fromkeys(s["source"] for s in prediction.timeline)]
    named = [name for name in dict.fromkeys(named) if name not in PLAIN]
    count = len(COLOURS)
    return {name: (COLOURS[n % count], "\\\\" * (n // count)) for n, name in enumerate(named)} | PLAIN


def draw_timeline(axes, prediction):
    """Bars of the timeline, named where there is room for it, else in a legend."""
    style, crowded = styles(prediction), set()
    for segment in prediction.timeline:
        colour, hatch = style[segment["source"]]
        width = segment["end"] - segment["start"]
        axes.barh(0, width, left=segment["start"], height=0.8, color=colour, hatch=hatch, edgecolor="white")
        if width / prediction.seconds > 0.012 * len(segment["source"]):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
            middle = segment["start"] + width / 2
            axes.text(middle, 0, segment["source"], ha="center", va="center", fontsize=9, color=INK, bbox=box)
        else:
            crowded.add(segment["source"])
    if crowded:
        patches = [
            Patch(facecolor=style[name][0], hatch=style[name][1], label=name) for name in style if name in crowded
        ]
        axes.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.7), ncols=6, fontsize=8, frameon=False)
    axes.set(yticks=[], ylim=(-0.5, 0.5), xlabel="time (s)")
    axes.set_ylabel("source", rotation=0, ha="right", va="center")


def draw(path, prediction, output):
    """Write the picture of the recording in `path` and its Prediction to `output`, a path or an open file, as PNG.

    Raises InputError as stream_wave() does.
    """
    low, high, decibel = overview(path, prediction.seconds)
    extent = (0, prediction.seconds)
    figure = Figure(figsize=(9, 5), layout="constrained")
    wave, mel, bars = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 0.45))
    wave.fill_between(np.linspace(*extent, len(low)), low, high, color=INK, linewidth=0.6)
    limit = max(1e-3, *np.abs([low.min(), high.max()])) * 1.05
    wave.set(ylim=(-limit, limit), ylabel="amplitude", xlim=extent)
    mel.imshow(
        decibel, origin="lower", aspect="auto", cmap="magma", extent=(*extent, 0, BANDS), interpolation="nearest"
    )
    ticks = np.array([250, 500, 1000, 2000, 4000, 8000])
    mel.set_yticks(band_of(ticks), ticks)
    mel.set_ylabel("Hz, mel scale")
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
