"""Figures of a run: each is drawn on axes, becomes an SVG whose ink is the page's, and comes with its numbers.

Colours are Okabe and Ito's, which the colour-blind tell apart. plot_results.py draws with the same functions.
"""

import io
import re
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from evaluation.metrics import roc
from utils.colours import PALETTE as COLOURS

INK = "#1a1a2e"  # becomes the text colour of the page
KNOWN, UNSEEN = COLOURS[0], COLOURS[5]  # blue and vermilion
SHADES = LinearSegmentedColormap.from_list("shades", [f"{KNOWN}00", KNOWN])  # from nothing, on paper of any colour
MARKERS = "osD^vP*Xp<>hd"
STYLE = {name: INK for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")} | {
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    **{"font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8, "legend.frameon": False, "svg.fonttype": "none"},
}
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # of the ROC's table
TICKS = (0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999)  # of the DET curve
BINS = 40


class Figure(NamedTuple):
    """A figure of the report: an SVG element, and the numbers that it shows as a table."""

    name: str
    title: str
    svg: str
    header: tuple
    rows: list


def to_svg(canvas, name, words):
    """`canvas` as the text of an SVG element; ids begin with `name`, `words` say what is seen to who cannot see it."""
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


def make(name, title, words, header, rows, draw, size=(4.8, 3.6), panels=1):
    """The Figure that `draw`, given one pair of axes or a list of them, one above the other, makes."""
    with rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        draw(axes[0] if panels == 1 else axes)
        return Figure(name, title, to_svg(canvas, name, f"{title}. {words}"), header, rows)


# ---- what plot_results.py draws too ---------------------------------------------------------------------------------


def draw_matrix(axes, shares, rows, columns, least=0.0):
    """Draw `shares` [rows, columns] as cells with their value in %, shaded from `least` to 1."""
    axes.pcolormesh(shares, cmap=SHADES, vmin=least, vmax=1, edgecolors="face", linewidth=0)
    for row, column in np.ndindex(*np.shape(shares)):
        colour = "white" if shares[row][column] > least + 0.6 * (1 - least) else INK
        words = f"{100 * shares[row][column]:.0f}"
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


def bins_of(scores):
    """Edges [BINS + 1] of bins for the scores of all sets; what lies further out belongs to the first or last."""
    edges = np.linspace(*np.percentile(np.concatenate(scores), (0.5, 99.5)), BINS + 1)
    return edges if edges[0] < edges[-1] else edges[0] + np.linspace(-0.5, 0.5, BINS + 1)


def shares_in(scores, edges):
    """Share [bins] of `scores` in each bin."""
    return np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)


def draw_histogram(axes, known, unseen, edges, title):
    """Draw the scores of known [n] and unseen [m] clips as two histograms of equal area."""
    for scores, colour, label in ((known, KNOWN, "known"), (unseen, UNSEEN, "unseen")):
        axes.stairs(shares_in(scores, edges), edges, fill=True, alpha=0.5, color=colour, label=label)
    axes.set_title(title, fontsize=9)
    axes.set_yticks([])


def draw_bars(axes, named, series):
    """Draw {label: ([value], [[low, high]])} in % as bars with intervals, those of all labels side by side."""
    thick = 0.8 / len(series)
    for place, (label, (values, around)) in enumerate(series.items()):
        reach = np.abs(np.transpose(around) - np.array(values))
        where, style = np.arange(len(named)) + place * thick - 0.4, {"color": COLOURS[place], "alpha": 0.75}
        line = {"ecolor": INK, "elinewidth": 1}
        axes.barh(where, values, thick, align="edge", xerr=reach, error_kw=line, label=label, **style)
    axes.set_yticks(np.arange(len(named)), named)
    axes.set(xlim=(0, 101), ylim=(len(named) - 0.4, -0.6))


# ---- figures of the report ------------------------------------------------------------------------------------------


def confusion(counts, names):
    rows = [(name, *of_class) for name, of_class in zip(names, counts, strict=True)]
    words = "Matrix of true against predicted classes; the counts are in the table."
    header = ("true class", *(f"as {name}" for name in names))
    return make(
        "confusion",
        "Confusion of the closed set",
        words,
        header,
        rows,
        lambda axes: draw_confusion(axes, counts, names),
        (4.8, 4.4),
    )


def conditions(found, paper):
    """F1 of `found`, rows {"condition", "class", "files", "f1", "f1_interval", "paper"}, with that of model `paper`."""
    named = [row["condition"] for row in found]
    f1 = [row["f1"] for row in found]
    around = [row["f1_interval"] or (row["f1"], row["f1"]) for row in found]
    published = [(row["paper"].get(paper), place) for place, row in enumerate(found)]

    def draw(axes):
        draw_bars(axes, named, {"F1": (f1, around)})
        points = [point for point in published if point[0] is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), "D", color=UNSEEN, markeredgecolor=INK, clip_on=False, label="published"
            )
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
        axes.set_xlabel("F1 (%)")

    rows = [
        (name, value, *ends, point[0]) for name, value, ends, point in zip(named, f1, around, published, strict=True)
    ]
    title = "F1 of known sources under other conditions"
    words = "Bars with 95 % intervals; diamonds are the published figures of this model."
    header = ("condition", "F1 (%)", "from", "to", "published")
    return make("conditions", title, words, header, rows, draw, (4.8, 0.9 + 0.24 * len(found)))


def detectors(found):
    """AUC of every detector under every unseen condition, of rows {"detector", "condition", "auc"}."""
    rows, columns = (list(dict.fromkeys(row[key] for row in found)) for key in ("detector", "condition"))
    auc = {(row["detector"], row["condition"]): row["auc"] for row in found}
    table = [[auc[row, column] for column in columns] for row in rows]
    return make(
        "detectors",
        "AUC in % of every detector",
        "A cell for each detector and condition, the fuller the higher; 50, without colour, is chance.",
        ("detector", *columns),
        [(row, *values) for row, values in zip(rows, table, strict=True)],
        lambda axes: draw_matrix(axes, np.array(table) / 100, rows, columns, least=0.5),
        (4.8, 0.9 + 0.24 * len(rows)),
    )


def histograms(detector, known, unseen):
    """Scores [n] of known clips against those of each condition of `unseen`."""
    edges = bins_of([known, *unseen.values()])

    def draw(panels):
        for axes, (name, scores) in zip(np.atleast_1d(panels), unseen.items(), strict=True):
            draw_histogram(axes, known, scores, edges, name)
        panel = np.atleast_1d(panels)
        panel[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
        panel[-1].set_xlabel(f"{detector} score, higher for known sources")

    columns = [100 * shares_in(scores, edges) for scores in (known, *unseen.values())]
    rows = [tuple(map(float, row)) for row in zip(edges[:-1], edges[1:], *columns, strict=True)]
    return make(
        "histograms",
        f"Scores of {detector}: known and unseen clips",
        "A pair of histograms for each condition; the further apart, the better unseen codecs are told.",
        ("score from", "to", "known (%)", *(f"{name} (%)" for name in unseen)),
        rows,
        draw,
        (4.8, 0.9 + 0.85 * len(unseen)),
        len(unseen),
    )


def curves(detector, known, unseen):
    """The ROC and the DET Figure of scores [n] of known clips against those of each condition of `unseen`."""
    from scipy.stats import norm

    rates = {name: roc(known, scores)[1:] for name, scores in unseen.items()}
    least = np.clip(0.5 / min(len(known), *map(len, unseen.values())), 0.0005, 0.1)

    def draw_roc(axes):
        for (name, (tpr, fpr)), colour in zip(rates.items(), COLOURS, strict=False):
            axes.plot(100 * fpr, 100 * tpr, color=colour, label=name)
        axes.plot((0, 100), (0, 100), ":", color=INK, linewidth=0.8)
        axes.set(xlabel="unseen clips accepted (%)", ylabel="known clips accepted (%)", aspect="equal")
        axes.legend(loc="lower right")

    def draw_det(axes):
        for (name, (tpr, fpr)), colour in zip(rates.items(), COLOURS, strict=False):
            ends = (norm.ppf(np.clip(rate, least, 1 - least)) for rate in (fpr, 1 - tpr))
            axes.plot(*ends, color=colour, label=name)
        ticks = [rate for rate in TICKS if least <= rate <= 1 - least]
        words = [f"{100 * rate:g}" for rate in ticks]
        axes.set_xticks(norm.ppf(ticks), words)
        axes.set_yticks(norm.ppf(ticks), words)
        axes.set(xlabel="unseen clips accepted (%)", ylabel="known clips rejected (%)", aspect="equal")
        axes.legend(loc="upper right")

    def rows(tpr_to_x):
        found = [[100 * float(np.interp(rate, tpr, fpr)) for tpr, fpr in rates.values()] for rate in RATES]
        return [(100 * tpr_to_x(rate), *row) for rate, row in zip(RATES, found, strict=True)]

    header = tuple(f"{name}: accepted (%)" for name in unseen)
    words = "A curve for each condition; the table gives points of it."
    first = ("known accepted (%)", *header), rows(lambda rate: rate)
    second = ("known rejected (%)", *header), rows(lambda rate: 1 - rate)
    return [
        make("roc", f"ROC of {detector}", words, *first, draw_roc, (4.8, 4.4)),
        make("det", f"DET of {detector}, normal deviate scale", words, *second, draw_det, (4.8, 4.4)),
    ]


def embeddings(train, known, unseen, names, each=40, seed=0):
    """Maps of embeddings on the two main directions of those of `train`: classes of `known`, conditions of `unseen`.

    All are Outputs, `unseen` a dict of them; `names` are those of the classes. At most `each` clips of a class or
    condition are drawn, chosen by `seed`.
    """
    from sklearn.decomposition import PCA

    plane = PCA(2, svd_solver="full").fit(train.features.double().numpy())
    rng = np.random.default_rng(seed)

    def some(features):
        points = plane.transform(features.double().numpy())
        return points[np.sort(rng.permutation(len(points))[:each])]

    classes = {names[label]: some(known.features[known.labels == label]) for label in known.labels.unique().tolist()}
    conditions = {name: some(outputs.features) for name, outputs in unseen.items()}
    shares = 100 * plane.explained_variance_ratio_

    def draw(panels):
        for axes, sets, title in zip(panels, (classes, conditions), ("known", "unseen, known in grey"), strict=True):
            if sets is conditions:
                axes.scatter(*np.concatenate(list(classes.values())).T, 8, color="#888888", alpha=0.5, linewidth=0)
            for number, (name, points) in enumerate(sets.items()):
                colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
                axes.scatter(*points.T, 14, color=colour, marker=marker, alpha=0.85, linewidth=0, label=name)
            axes.set(title=title, ylabel=f"{shares[1]:.0f} % of the variance")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set_xlabel(f"{shares[0]:.0f} % of the variance")

    sets = [
        (kind, name, points) for kind, of in (("known", classes), ("unseen", conditions)) for name, points in of.items()
    ]
    return make(
        "embeddings",
        f"Embeddings on the two main directions of the training set, at most {each} clips of a set",
        "Each point is a clip; classes, and below conditions, differ in colour and marker.",
        ("clips", "set", "x", "y"),
        [(kind, name, *map(float, point)) for kind, name, points in sets for point in points],
        draw,
        (4.8, 6.4),
        2,
    )


def treatments(name, title, found, shown):
    """Bars of the figures {key: label} `shown`, of rows {"treatment", key, key_interval}."""
    named = [row["treatment"] for row in found]
    series = {
        label: ([row[key] for row in found], [row[f"{key}_interval"] or (row[key], row[key]) for row in found])
        for key, label in shown.items()
    }

    def draw(axes):
        draw_bars(axes, named, series)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(series))
        axes.set_xlabel("%")

    header = ("treatment", *(part for label in shown.values() for part in (f"{label} (%)", "from", "to")))
    rows = [
        (name, *(part for values, around in series.values() for part in (values[place], *around[place])))
        for place, name in enumerate(named)
    ]
    words = "Bars with 95 % intervals for each treatment."
    return make(name, title, words, header, rows, draw, (4.8, 0.9 + (0.12 + 0.07 * len(shown)) * len(found)))


def shortcuts(name, found):
    """How well one number a file parts a class from the rest, of rows {"measure", "class", "auc"}."""
    rows, columns = (list(dict.fromkeys(row[key] for row in found)) for key in ("measure", "class"))
    auc = {(row["measure"], row["class"]): row["auc"] for row in found}
    table = [[max(auc[row, column], 100 - auc[row, column]) for column in columns] for row in rows]
    return make(
        name,
        "One number a file: AUC in % of each class against the rest, turned round below 50",
        "A cell for each measure and class, the fuller the more it tells; 50, without colour, tells nothing.",
        ("measure", *columns),
        [(row, *values) for row, values in zip(rows, table, strict=True)],
        lambda axes: draw_matrix(axes, np.array(table) / 100, rows, columns, least=0.5),
        (4.8, 0.9 + 0.24 * len(rows)),
    )


def training(log):
    """Losses and development figures of each epoch, of the rows of log.jsonl."""
    epochs = [row["epoch"] for row in log]
    losses = [name for name in log[0] if name.endswith("loss")]
    shares = [name for name in log[0] if name.startswith("dev_") and name not in losses]

    def draw(panels):
        for axes, names, factor, unit in ((panels[0], losses, 1, "loss"), (panels[1], shares, 100, "%")):
            for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
                values = [factor * row[name] for row in log]
                axes.plot(epochs, values, marker=marker, markersize=3, color=colour, label=name.replace("_", " "))
            axes.set_ylabel(unit)
            axes.legend()
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)

    rows = [tuple(row.get(name) for name in log[0]) for row in log]
    return make(
        "training",
        "Training",
        "Losses above, figures on the development set below.",
        tuple(log[0]),
        rows,
        draw,
        (4.8, 4.4),
        2,
    )
