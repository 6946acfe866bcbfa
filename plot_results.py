"""Draw a run in one picture: confusion matrix of the closed set, and scores of known and unseen codecs.

    python plot_results.py --data_root st-codecfake --result result --save_feats save_feats

Reads result/result_id.txt and save_feats/*.pt, writes result/overview.png. --ood_detector_name chooses the detector
whose scores are shown (default here: knn).
"""

from config import parse_config
from errors import run

INK, KNOWN, UNSEEN = "#1a1a2e", "#3b6ea5", "#d1603d"  # blue and orange: told apart by the colour-blind too


def draw_confusion(axes, counts, names):
    """Draw `counts` [true, predicted] as shares of each true class."""
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in [(row, column) for row in range(len(names)) for column in range(len(names))]:
        colour = "white" if shares[row, column] > 0.5 else INK
        axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"Closed set: {counts.sum()} files, % of each true class")


def draw_histogram(axes, known, unseen, title):
    """Draw the scores of known [n] and unseen [m] clips as two histograms of equal area."""
    import numpy as np

    bins = np.linspace(*np.percentile(np.concatenate((known, unseen)), (0.5, 99.5)), 40)
    for scores, colour, label in ((known, KNOWN, "known"), (unseen, UNSEEN, "unseen")):
        axes.hist(np.clip(scores, bins[0], bins[-1]), bins, density=True, alpha=0.55, color=colour, label=label)
    axes.set_title(title, fontsize=9)
    axes.set_yticks([])


def main(argv=None):
    config = parse_config(__doc__, argv)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from data.conditions import CONDITIONS, class_names
    from evaluation import traced
    from files import replacing
    from metrics import auc, confusion
    from ood_detector_e2e import chosen_one, read_sets
    from ood_detectors import DETECTORS

    detector = chosen_one(config.ood_detector_name)
    train, known, unseen = read_sets(config)
    condition = next(row for row in CONDITIONS if row.suite == "id")
    _, _, truth, predicted = traced(config, condition)
    counts = confusion(truth, predicted, config.num_classes)

    fitted = DETECTORS[detector]().fit(train)
    target = fitted.score(known)
    figure = pyplot.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    draw_confusion(left.subplots(), counts, class_names(config)[: config.num_classes])
    panels = right.subplots(len(unseen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, outputs) in zip(panels, unseen.items(), strict=True):
        other = fitted.score(outputs)
        draw_histogram(axes, target, other, f"{name}: AUC {100 * auc(target, other):.1f} %")
    panels[0].legend(fontsize=8)
    panels[-1].set_xlabel(f"{detector} score, higher for known codecs")
    output = config.result / "overview.png"
    with replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    print(f"wrote {output}")


if __name__ == "__main__":
    run(main)
