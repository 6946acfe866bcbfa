"""The run in one picture: the confusion matrix of the closed set, and the scores of known and unseen clips."""

from matplotlib.figure import Figure

from evaluation.metrics import auc
from reporting.drawing import draw_confusion, draw_histogram, extra_inches, histogram_edges
from utils.files import replacing


def draw_overview(counts, names, detector, known, unseen):
    """The picture as a matplotlib Figure.

    `counts` [true, predicted] and the `names` of the classes make the matrix. `known` [n] and `unseen`, {condition:
    [m]}, are scores of `detector`, higher for known codecs.
    """
    extra = extra_inches(len(names))
    canvas = Figure(figsize=(11 + extra, 4.6 + extra), layout="constrained")
    left, right = canvas.subfigures(1, 2, width_ratios=(1.15 + extra / 5, 1))
    draw_confusion(left.subplots(), counts, names)
    edges = histogram_edges([known, *unseen.values()])
    panels = right.subplots(len(unseen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, scores) in zip(panels, unseen.items(), strict=True):
        draw_histogram(axes, known, scores, edges, f"{name}: AUC {100 * auc(known, scores):.1f} %")
    panels[0].legend(fontsize=8)
    panels[-1].set_xlabel(f"{detector} score, higher for known codecs")
    return canvas


def write_overview(path, canvas):
    """Write a matplotlib Figure as a PNG file."""
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=110)
