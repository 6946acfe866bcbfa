"""The plot of probe_layers.py: F1 against the layer, with its interval."""

from reporting.drawing import KNOWN_COLOUR, UNSEEN_COLOUR, write_png
from utils.colours import INK

INCHES = (5, 3.4)


def draw_layers(axes, metrics):
    """Draw F1 in % and the intervals of what probe_layers() gives; a line shows what guessing gives."""
    layers = [row["layer"] for row in metrics["layers"]]
    low, high = zip(*(row["macro_f1_interval"] for row in metrics["layers"]), strict=True)
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
    axes.fill_between(layers, low, high, color=KNOWN_COLOUR, alpha=0.2, linewidth=0)
    axes.plot(layers, [row["macro_f1"] for row in metrics["layers"]], "o-", color=KNOWN_COLOUR, markersize=4)
    axes.vlines(layers, low, high, color=KNOWN_COLOUR, linewidth=1)
    axes.axhline(100 / metrics["classes"], color=UNSEEN_COLOUR, linestyle="--", linewidth=1, label="guessing")
    axes.set(xlabel="layer", ylabel="macro F1 (%)", ylim=(0, 101))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def write_layer_plot(path, metrics):
    """Write the plot of what probe_layers() gives to `path`, as PNG."""
    write_png(path, lambda axes: draw_layers(axes, metrics), INCHES)
