"""Known or unknown at the threshold that calibrate.py found on development data, beside threshold-free figures.

    python evaluate_open_set.py --model_folder models/w2v --json result/open_set.json
    python evaluate_open_set.py --model_folder models/w2v --ood_detector_name knn --condition single7 multi8

Reads calibration.json of the model, evaldict_id.pt and an evaldict_*.pt a condition, as ood_detector_e2e.py does, and
the score files of known sources in other corpora, configurations and language models. A clip is accepted as known when
its score reaches the threshold. Open-set F1 is the macro F1 over the known classes and one more, unknown; OSCR the area
under the rate of accepted and rightly traced known clips over that of accepted unknown ones.
"""

from config import EVALUATION, Config
from ood_detector_e2e import KNOWN, chosen, read_sets
from utils.errors import MissingInput, run
from utils.flags import parse_flags

THRESHOLD, FREE = ("rejected", "open_set_f1"), ("oscr", "auc", "fpr95", "eer")  # columns: at it, and without any


def calibration_errors(calibrated, known):
    """Expected calibration error in % on the known test clips, before and after the temperature."""
    from evaluation.calibration import softmax_error

    temperatures = {"before": 1, "after": calibrated.temperature}
    return {when: 100 * softmax_error(known.logits, known.labels, t) for when, t in temperatures.items()}


def answers(calibrated, detector, sets, scores, by_class):
    """{set: (true classes, answers, whether accepted)}, where unknown is the class after the known ones."""
    import numpy as np

    found, unknown = {}, len(calibrated.class_names)
    for which, outputs in sets.items():
        predicted = outputs.logits.argmax(dim=1).numpy()
        accepted = scores[which] >= calibrated.threshold(detector, predicted if by_class else None)
        truth = outputs.labels.numpy() if which == KNOWN else np.full(len(predicted), unknown)
        found[which] = truth, np.where(accepted, predicted, unknown), accepted
    return found


def at_threshold(answered, condition, resampling):
    """{figure: (rate, replicates [resamples])} of the answers on the known clips and on those of a condition."""
    import numpy as np

    from evaluation.intervals import f1_replicates, share_replicates
    from evaluation.metrics import macro_f1

    pair = {which: answered[which][:2] for which in (KNOWN, condition)}
    truth, answer = (np.concatenate(column) for column in zip(*pair.values(), strict=True))
    accepted, rejected = answered[KNOWN][2], ~answered[condition][2]
    return {
        "accepted": (accepted.mean(), share_replicates(resampling, KNOWN, accepted)),
        "rejected": (rejected.mean(), share_replicates(resampling, condition, rejected)),
        "open_set_f1": (macro_f1(truth, answer), f1_replicates(resampling, pair, truth.max() + 1)["macro_f1"]),
    }


def in_percent(figures):
    """{name: value in %, name_interval: [low, high]} of {name: (value, replicates)}."""
    from evaluation.intervals import interval

    values = {name: 100 * float(value) for name, (value, _) in figures.items()}
    return values | {f"{name}_interval": interval(replicates) for name, (_, replicates) in figures.items()}


def measure(calibrated, detector, sets, resampling):
    """{condition: figures in %} of a detector, with intervals; those at the threshold also for one a class."""
    from evaluation.intervals import detection
    from evaluation.metrics import oscr

    scores = {which: calibrated.score(detector, outputs) for which, outputs in sets.items()}
    one, each = (answers(calibrated, detector, sets, scores, by_class) for by_class in (False, True))
    right = (sets[KNOWN].logits.argmax(dim=1) == sets[KNOWN].labels).numpy()
    figures = {}
    for condition, free in detection(resampling, scores, KNOWN).items():
        figures[condition] = {
            "threshold": calibrated.threshold(detector),
            **in_percent(at_threshold(one, condition, resampling) | free),
            "oscr": 100 * oscr(scores[KNOWN], right, scores[condition]),
            "class_thresholds": in_percent(at_threshold(each, condition, resampling)),
        }
    return figures


def shifted_sources(config, calibrated):
    """Figures of each condition whose clips are of a known class, at the threshold of msp: what a verdict would be."""
    from data.conditions import CONDITIONS, SHIFTED
    from engine.score_files import find_scores, read_scores
    from evaluation.f1 import resample
    from evaluation.intervals import interval, share_replicates

    rows = []
    if not config.result.is_dir() or "msp" not in calibrated.detectors:
        return rows
    for condition in [row for row in CONDITIONS if row.suite in SHIFTED]:
        try:
            scores = read_scores(find_scores(config.result, condition.result), config.num_classes)
        except MissingInput as absent:
            print(f"skipped {condition.name}: {absent}")
            continue
        accepted = [confidence >= calibrated.threshold("msp") for _, confidence in scores.values()]
        right = [label == condition.label for label, _ in scores.values()]
        resampling, row = resample(config, {"clips": list(scores)}), {"condition": condition.name, "files": len(scores)}
        for name, flags in (("accepted", accepted), ("right", right)):
            row[name] = 100 * sum(flags) / len(flags)
            row[f"{name}_interval"] = interval(share_replicates(resampling, "clips", flags))
        rows.append(row)
    return rows


def show_detectors(figures, sets):
    """Print the figures of every detector: on known clips, then a table a condition."""
    from evaluation.f1 import cell, percent, print_table

    by_condition = {name: [row for row in figures if row["condition"] == name] for name in sets if name != KNOWN}
    print(f"\nKnown test clips ({len(sets[KNOWN].logits)})")
    once = next(iter(by_condition.values()))
    rows = [(row["detector"], f"{row['threshold']:.4g}", cell(row, "accepted")) for row in once]
    print_table(("detector", "threshold", "accepted (%)"), rows)
    for condition, found in by_condition.items():
        print(f"\n{condition} ({len(sets[condition].logits)} unseen clips)")
        rows = [
            (row["detector"], *(cell(row, name) for name in THRESHOLD), *(percent(row[name]) for name in FREE))
            for row in found
        ]
        print_table(("detector", "rejected (%)", "open-set F1 (%)", "OSCR", "AUC", "FPR95", "EER"), rows)


def show_shifted(rows):
    """Print what becomes of known sources under other conditions."""
    from evaluation.f1 import cell, print_table

    print("\nKnown sources under other conditions, at the threshold of msp")
    rows = [(row["condition"], row["files"], cell(row, "accepted"), cell(row, "right")) for row in rows]
    print_table(("condition", "files", "accepted (%)", "right class (%)"), rows)


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "save_feats", "model_folder", "ood_detector_name")
    from tqdm import tqdm

    from evaluation import calibration
    from evaluation.f1 import print_legend, resample, write_metrics

    calibrated = calibration.read(config.model_folder)
    names = chosen(config.ood_detector_name, calibrated.scores)
    _, known, unseen = read_sets(config, calibrated.train)
    sets = {KNOWN: known, **unseen}
    resampling = resample(config, {which: outputs.names or len(outputs.logits) for which, outputs in sets.items()})
    figures = [
        {"detector": name, "condition": condition, **row}
        for name in tqdm(names, desc="detectors", unit="detector")
        for condition, row in measure(calibrated, name, sets, resampling).items()
    ]
    errors, shifted = calibration_errors(calibrated, known), shifted_sources(config, calibrated)
    print(f"Thresholds that keep {100 * calibrated.tpr:g} % of {len(calibrated.predicted)} known development clips")
    print(f"Calibration error on known test clips: {errors['before']:.2f} % before, {errors['after']:.2f} % after")
    show_detectors(figures, sets)
    if shifted:
        show_shifted(shifted)
    print_legend(config)
    clips = {which: len(outputs.logits) for which, outputs in sets.items()}
    found = {"tpr": calibrated.tpr, "calibration_error": errors, "clips": clips}
    write_metrics(config, {**found, "figures": figures, "shifted": shifted})


if __name__ == "__main__":
    run(main)
