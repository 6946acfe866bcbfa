"""Draw a run in one picture: confusion matrix of the closed set, and scores of known and unseen codecs.

    python plot_results.py --data_root st-codecfake --result result --save_feats save_feats

Reads result/result_id.txt and save_feats/*.pt, writes result/overview.png. --ood_detector_name chooses the detector
whose scores are shown (default here: knn).
"""

from config import EVALUATION, Config
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "save_feats", "ood_detector_name")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from data.classes import evaluated_class_names
    from data.conditions import CONDITIONS
    from evaluation.detection import KNOWN_SET, read_sets, score_sets, single_detector
    from evaluation.known_sources import read_traced
    from evaluation.metrics import auc, confusion
    from reporting.plots import bins_of, draw_confusion, draw_histogram
    from utils.files import replacing

    detector = single_detector(config.ood_detector_name)
    train, known, unseen = read_sets(config)
    condition = next(row for row in CONDITIONS if row.suite == "id")
    _, _, truth, predicted = read_traced(config, condition)
    classes = evaluated_class_names(config)
    counts = confusion(truth, predicted, len(classes))

    scores = score_sets(detector, train, {KNOWN_SET: known, **unseen})
    target, edges = scores[KNOWN_SET], bins_of(list(scores.values()))
    figure = pyplot.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    draw_confusion(left.subplots(), counts, classes)
    panels = right.subplots(len(unseen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, unseen, strict=True):
        title = f"{name}: AUC {100 * auc(target, scores[name]):.1f} %"
        draw_histogram(axes, target, scores[name], edges, title)
    panels[0].legend(fontsize=8)
    panels[-1].set_xlabel(f"{detector} score, higher for known codecs")
    output = config.result / "overview.png"
    with replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    print(f"wrote {output}")


if __name__ == "__main__":
    run(main)
