"""The plots of the report: each function returns a Plot, which is an SVG and its numbers."""

import numpy as np
from scipy.stats import norm
from sklearn.decomposition import PCA

from evaluation.metrics import roc
from reporting.drawing import (
    UNSEEN_COLOUR,
    draw_bars,
    draw_confusion,
    draw_histogram,
    draw_matrix,
    extra_inches,
    histogram_edges,
    line_style,
    make_plot,
    marker_style,
    shares_in_bins,
)
from utils.colours import INK

ROC_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)  # of the table
DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999)
LEGEND_ROWS = 14  # names in a column of the legend of the embeddings


def plot_confusion(counts, names):
    """The confusion matrix: `counts` [true, predicted] of the classes `names`."""
    extra = extra_inches(len(names))
    return make_plot(
        "confusion",
        "Confusion of the closed set",
        "Matrix of true against predicted classes; the counts are in the table.",
        ("true class", *(f"as {name}" for name in names)),
        [(name, *of_class) for name, of_class in zip(names, counts, strict=True)],
        lambda axes: draw_confusion(axes, counts, names),
        (4.8 + extra, 4.4 + extra),
    )


def plot_conditions(conditions, model):
    """F1 of rows {"condition", "f1", "f1_interval", "paper"}, beside the published values of `model` where known."""
    named = [row["condition"] for row in conditions]
    f1 = [row["f1"] for row in conditions]
    around = [row["f1_interval"] or (row["f1"], row["f1"]) for row in conditions]
    published = [(row["paper"] or {}).get(model) for row in conditions]
    points = [(value, place) for place, value in enumerate(published) if value is not None]

    def draw(axes):
        draw_bars(axes, named, {"F1": (f1, around)})
        if points:
            style = {"color": UNSEEN_COLOUR, "markeredgecolor": INK, "clip_on": False, "label": "published"}
            axes.plot(*zip(*points, strict=True), "D", **style)
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
        axes.set_xlabel("F1 (%)")

    rows = [(name, value, *ends) for name, value, ends in zip(named, f1, around, strict=True)]
    header = ("condition", "F1 (%)", "from", "to")
    words = "Bars with 95 % intervals."
    if points:
        rows = [(*row, value) for row, value in zip(rows, published, strict=True)]
        header = (*header, "published")
        words = "Bars with 95 % intervals; diamonds are the published values of this model."
    title = "F1 of known sources under other conditions"
    return make_plot("conditions", title, words, header, rows, draw, (4.8, 0.9 + 0.24 * len(conditions)))


def matrix_of(rows, row_key, column_key):
    """(names of the rows, names of the columns, [[AUC in %]]) of dicts with both keys and "auc"."""
    row_names = list(dict.fromkeys(row[row_key] for row in rows))
    columns = list(dict.fromkeys(row[column_key] for row in rows))
    auc = {(row[row_key], row[column_key]): row["auc"] for row in rows}
    return row_names, columns, [[auc[row, column] for column in columns] for row in row_names]


def plot_detectors(detections):
    """AUC of every detector under every unseen condition, of rows {"detector", "condition", "auc"}."""
    detectors, conditions, table = matrix_of(detections, "detector", "condition")
    return make_plot(
        "detectors",
        "AUC in % of every detector",
        "A cell for each detector and condition; a darker cell is a higher AUC. Chance, 50, has no colour.",
        ("detector", *conditions),
        [(name, *values) for name, values in zip(detectors, table, strict=True)],
        lambda axes: draw_matrix(axes, np.array(table) / 100, detectors, conditions, least=0.5),
        (4.8, 0.9 + 0.24 * len(detectors)),
    )


def plot_histograms(detector, known, unseen):
    """Scores [n] of known clips against those of each condition of `unseen`, {condition: [m]}."""
    edges = histogram_edges([known, *unseen.values()])

    def draw(axes):
        panels = np.atleast_1d(axes)
        for panel, (name, scores) in zip(panels, unseen.items(), strict=True):
            draw_histogram(panel, known, scores, edges, name)
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
        panels[-1].set_xlabel(f"{detector} score, higher for known sources")

    columns = [100 * shares_in_bins(scores, edges) for scores in (known, *unseen.values())]
    rows = [tuple(map(float, row)) for row in zip(edges[:-1], edges[1:], *columns, strict=True)]
    return make_plot(
        "histograms",
        f"Scores of {detector}: known and unseen clips",
        "Two histograms for each condition; the less they overlap, the better the detector finds unseen codecs.",
        ("score from", "to", "known (%)", *(f"{name} (%)" for name in unseen)),
        rows,
        draw,
        (4.8, 0.9 + 0.85 * len(unseen)),
        len(unseen),
    )


def plot_roc(detector, rates):
    """The ROC of {condition: (rates of accepted known clips, rates of accepted unseen clips)}."""

    def draw(axes):
        for number, (name, (tpr, fpr)) in enumerate(rates.items()):
            axes.plot(100 * fpr, 100 * tpr, **line_style(number), label=name)
        axes.plot((0, 100), (0, 100), ":", color=INK, linewidth=0.8)
        axes.set(xlabel="unseen clips accepted (%)", ylabel="known clips accepted (%)", aspect="equal")
        axes.legend(loc="lower right")

    rows = [(100 * rate, *accepted_unseen(rates, rate)) for rate in ROC_RATES]
    header = ("known accepted (%)", *(f"{name}: accepted (%)" for name in rates))
    words = "A curve for each condition; the table gives points of it."
    return make_plot("roc", f"ROC of {detector}", words, header, rows, draw, (4.8, 4.4))


def plot_det(detector, rates, least):
    """The DET curves of the rates of plot_roc(). Rates nearer to 0 or 1 than `least` are drawn there."""

    def draw(axes):
        for number, (name, (tpr, fpr)) in enumerate(rates.items()):
            ends = (norm.ppf(np.clip(rate, least, 1 - least)) for rate in (fpr, 1 - tpr))
            axes.plot(*ends, **line_style(number), label=name)
        ticks = [rate for rate in DET_TICKS if least <= rate <= 1 - least]
        words = [f"{100 * rate:g}" for rate in ticks]
        axes.set_xticks(norm.ppf(ticks), words)
        axes.set_yticks(norm.ppf(ticks), words)
        axes.set(xlabel="unseen clips accepted (%)", ylabel="known clips rejected (%)", aspect="equal")
        axes.legend(loc="upper right")

    rows = [(100 * (1 - rate), *accepted_unseen(rates, rate)) for rate in ROC_RATES]
    header = ("known rejected (%)", *(f"{name}: accepted (%)" for name in rates))
    words = "A curve for each condition; the table gives points of it."
    title = f"DET of {detector}, normal deviate scale"
    return make_plot("det", title, words, header, rows, draw, (4.8, 4.4))


def accepted_unseen(rates, accepted_known):
    """[% of unseen clips that are accepted], for each condition, where the share `accepted_known` of known ones is."""
    return [100 * float(np.interp(accepted_known, tpr, fpr)) for tpr, fpr in rates.values()]


def plot_curves(detector, known, unseen):
    """[ROC, DET] of scores [n] of known clips against those of each condition of `unseen`, {condition: [m]}."""
    rates = {name: roc(known, scores)[1:] for name, scores in unseen.items()}
    least = np.clip(0.5 / min(len(known), *map(len, unseen.values())), 0.0005, 0.1)
    return [plot_roc(detector, rates), plot_det(detector, rates, least)]


def plot_embeddings(train, known, unseen, names, each=40, seed=0):
    """Two maps of embeddings, of the classes of `known` and of the conditions of `unseen`.

    The axes are the first two principal components of the embeddings of `train`. All sets are Outputs, `unseen` a dict
    of them; `names` are those of the classes. At most `each` clips of a class or condition are drawn, chosen by `seed`.
    """
    plane = PCA(2, svd_solver="full").fit(train.features.double().numpy())
    rng = np.random.default_rng(seed)

    def some_points(features):
        points = plane.transform(features.double().numpy())
        return points[np.sort(rng.permutation(len(points))[:each])]

    labels = known.labels.unique().tolist()
    classes = {names[label]: some_points(known.features[known.labels == label]) for label in labels}
    conditions = {name: some_points(outputs.features) for name, outputs in unseen.items()}
    shares = 100 * plane.explained_variance_ratio_
    legend_columns = [-(-len(sets) // LEGEND_ROWS) for sets in (classes, conditions)]

    def draw(panels):
        panels[1].scatter(*np.concatenate(list(classes.values())).T, 8, color="#888888", alpha=0.5, linewidth=0)
        titles = ("known", "unseen, known in grey")
        for axes, sets, title, columns in zip(panels, (classes, conditions), titles, legend_columns, strict=True):
            for number, (name, points) in enumerate(sets.items()):
                axes.scatter(*points.T, 14, **marker_style(number), alpha=0.85, linewidth=0, label=name)
            axes.set(title=title, ylabel=f"{shares[1]:.0f} % of the variance")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)
        panels[-1].set_xlabel(f"{shares[0]:.0f} % of the variance")

    rows = [
        (kind, name, *map(float, point))
        for kind, sets in (("known", classes), ("unseen", conditions))
        for name, points in sets.items()
        for point in points
    ]
    return make_plot(
        "embeddings",
        f"Embeddings on the two main directions of the training set, at most {each} clips of a set",
        "Each point is a clip; classes, and below conditions, differ in colour and marker.",
        ("clips", "set", "x", "y"),
        rows,
        draw,
        (4.8 + 1.2 * (max(legend_columns) - 1), 6.4),
        2,
    )


def plot_treatments(name, title, treatments, shown):
    """Bars of the metrics {key: label} `shown`, of rows {"treatment", key, key_interval}."""
    named = [row["treatment"] for row in treatments]
    series = {
        label: (
            [row[key] for row in treatments],
            [row[f"{key}_interval"] or (row[key], row[key]) for row in treatments],
        )
        for key, label in shown.items()
    }

    def draw(axes):
        draw_bars(axes, named, series)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(series))
        axes.set_xlabel("%")

    header = ("treatment", *(part for label in shown.values() for part in (f"{label} (%)", "from", "to")))
    rows = [
        (treatment, *(part for values, around in series.values() for part in (values[place], *around[place])))
        for place, treatment in enumerate(named)
    ]
    words = "Bars with 95 % intervals for each treatment."
    size = (4.8, 0.9 + (0.12 + 0.07 * len(shown)) * len(treatments))
    return make_plot(name, title, words, header, rows, draw, size)


def plot_shortcuts(measures):
    """How well each measure separates each class from the rest, of rows {"measure", "class", "auc"}."""
    names, classes, table = matrix_of(measures, "measure", "class")
    table = [[max(auc, 100 - auc) for auc in row] for row in table]
    return make_plot(
        "shortcuts",
        "One number per file: AUC in % of each class against the rest; below 50, 100 minus the AUC",
        "A cell for each measure and class; a darker cell says more about the class. 50 says nothing, without colour.",
        ("measure", *classes),
        [(name, *values) for name, values in zip(names, table, strict=True)],
        lambda axes: draw_matrix(axes, np.array(table) / 100, names, classes, least=0.5),
        (4.8 + extra_inches(len(classes)), 0.9 + 0.24 * len(names)),
    )


def plot_training(log):
    """Losses and development metrics of each epoch, of the rows of log.jsonl."""
    epochs = [row["epoch"] for row in log]
    losses = [name for name in log[0] if name.endswith("loss")]
    shares = [name for name in log[0] if name.startswith("dev_") and name not in losses]

    def draw(panels):
        for axes, names, factor, unit in ((panels[0], losses, 1, "loss"), (panels[1], shares, 100, "%")):
            for number, name in enumerate(names):
                values = [factor * row[name] for row in log]
                axes.plot(epochs, values, markersize=3, **marker_style(number), label=name.replace("_", " "))
            axes.set_ylabel(unit)
            axes.legend()
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)

    return make_plot(
        "training",
        "Training",
        "Losses above, metrics on the development set below.",
        tuple(log[0]),
        [tuple(row.get(name) for name in log[0]) for row in log],
        draw,
        (4.8, 4.4),
        2,
    )
