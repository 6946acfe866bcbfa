"""The parts of plots, drawn on matplotlib's axes, and make_plot(), which turns them into a Plot.

The ink of an SVG is the text colour of the page.
"""

import io
import re

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reporting.pieces import Plot
from utils.colours import INK, PALETTE
from utils.errors import InputError
from utils.files import replacing
from utils.fonts import use_fonts_of_all_scripts

use_fonts_of_all_scripts()

KNOWN_COLOUR = PALETTE[0]  # blue
UNSEEN_COLOUR = PALETTE[5]  # vermilion
SHADES = LinearSegmentedColormap.from_list("shades", [f"{KNOWN_COLOUR}00", KNOWN_COLOUR])  # begins transparent
MARKERS = "osD^vP*Xp<>hd"
LINE_STYLES = ("-", "--", ":", "-.")
PLOT_STYLE = {name: INK for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")}
PLOT_STYLE |= {f"axes.spines.{side}": False for side in ("top", "right")}
PLOT_STYLE |= {"font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8, "legend.frameon": False}
PLOT_STYLE |= {"svg.fonttype": "none"}
HISTOGRAM_BINS = 40
ROOMY_CLASSES = 12  # so many classes fit into a confusion matrix of ordinary size
INCHES_A_CLASS = 0.3  # by which a matrix grows for each class beyond
PNG_DPI = 200  # twice the pixels that a page needs
WIDE_INCHES = 7  # a plot that is wider takes the whole width of the page


def to_svg(canvas, name, words):
    """A matplotlib Figure as the text of an SVG element.

    Ids begin with `name`. `words` describe the plot to readers who cannot see it.
    """
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        canvas.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    element = text.getvalue()
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element[element.index("<svg") :])
    element = re.sub(r' (?:width|height)="[\d.]+pt"', "", element, count=2).replace(INK, "currentColor")
    words = words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return element.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)


def make_plot(name, title, words, header, rows, draw, size=(4.8, 3.6), panels=1):
    """The Plot that `draw` makes. It is given one pair of axes, or a list of `panels` of them, one below the other.

    `words` describe the plot; `header` and `rows` are the table of its numbers; `size` is in inches.
    """
    with rc_context(PLOT_STYLE):
        canvas = Figure(figsize=size, layout="constrained")
        axes = canvas.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        draw(axes[0] if panels == 1 else axes)
        return Plot(name, title, to_svg(canvas, name, f"{title}. {words}"), header, rows, size[0] > WIDE_INCHES)


def check_png(path):
    """Raise InputError for a value of --plot that does not end in .png."""
    if path and path.suffix.lower() != ".png":
        raise InputError(f"--plot {path}: expected a file name that ends in .png")


def write_png(path, draw, inches):
    """Write what draw(axes) draws to `path` as PNG, and print its name; `inches` are its width and height."""
    with rc_context(PLOT_STYLE):
        canvas = Figure(figsize=inches, layout="constrained")
        draw(canvas.subplots())
        with replacing(path) as temporary:
            canvas.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})
    print(f"wrote {path}")


def line_style(number):
    """How the line with this number is drawn: every colour of the palette, then all again with dashes."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": LINE_STYLES[number // len(PALETTE) % len(LINE_STYLES)],
    }


def marker_style(number):
    """How the points with this number are drawn: 91 pairs of colour and marker."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def extra_inches(classes):
    """By how many inches a plot with a matrix of `classes` is larger than with a few classes."""
    return INCHES_A_CLASS * max(0, classes - ROOMY_CLASSES)


def draw_matrix(axes, shares, rows, columns, least=0.0):
    """Draw `shares` [rows, columns] as cells with their value in %, shaded from `least` to 1.

    Zeros of a large matrix stay empty.
    """
    axes.pcolormesh(shares, cmap=SHADES, vmin=least, vmax=1, edgecolors="face", linewidth=0)
    large = len(columns) > ROOMY_CLASSES
    for row, column in np.ndindex(*np.shape(shares)):
        colour = "white" if shares[row][column] > least + 0.6 * (1 - least) else INK
        words = f"{100 * shares[row][column]:.0f}"
        if not (large and words == "0"):
            axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.invert_yaxis()


def draw_confusion(axes, counts, names):
    """Draw `counts` [true, predicted] as shares of each true class."""
    counts = np.asarray(counts)
    draw_matrix(axes, counts / counts.sum(axis=1, keepdims=True).clip(min=1), names, names)
    axes.set(xlabel="predicted", ylabel="true", title=f"Closed set: {counts.sum()} files, % of each true class")


def histogram_edges(scores):
    """Edges [HISTOGRAM_BINS + 1] of bins for the scores of all sets. The outer bins take what lies further out."""
    edges = np.linspace(*np.percentile(np.concatenate(scores), (0.5, 99.5)), HISTOGRAM_BINS + 1)
    return edges if edges[0] < edges[-1] else edges[0] + np.linspace(-0.5, 0.5, HISTOGRAM_BINS + 1)


def shares_in_bins(scores, edges):
    """Share [bins] of `scores` in each bin."""
    return np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)


def draw_histogram(axes, known, unseen, edges, title):
    """Draw the scores of known [n] and unseen [m] clips as two histograms of equal area."""
    for scores, colour, label in ((known, KNOWN_COLOUR, "known"), (unseen, UNSEEN_COLOUR, "unseen")):
        axes.stairs(shares_in_bins(scores, edges), edges, fill=True, alpha=0.5, color=colour, label=label)
    axes.set_title(title, fontsize=9)
    axes.set_yticks([])


def draw_bars(axes, named, series):
    """Draw {label: ([value], [[low, high]])} in % as bars with intervals, those of all labels side by side."""
    thick = 0.8 / len(series)
    for place, (label, (values, around)) in enumerate(series.items()):
        reach = np.abs(np.transpose(around) - np.array(values))
        where = np.arange(len(named)) + place * thick - 0.4
        style = {"color": PALETTE[place % len(PALETTE)], "alpha": 0.75}
        line = {"ecolor": INK, "elinewidth": 1}
        axes.barh(where, values, thick, align="edge", xerr=reach, error_kw=line, label=label, **style)
    axes.set_yticks(np.arange(len(named)), named)
    axes.set(xlim=(0, 101), ylim=(len(named) - 0.4, -0.6))
