"""Macro and per-class F1 of the closed-set test (paper, Table 3), from result/result_id.txt.

python evaluate_id_f1.py --data_root st-codecfake --result result --json result/id_f1.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, *path_flags("id"))
    from data.conditions import CONDITIONS, PAPER_CLASS_F1, PAPER_MODELS, class_names
    from evaluation.f1 import percent, print_legend, resample, traced, write_metrics
    from evaluation.intervals import f1_replicates, interval, share_replicates
    from evaluation.metrics import accuracy, class_f1, confusion, macro_f1
    from utils.console import print_table

    condition = next(row for row in CONDITIONS if row.suite == "id")
    path, names, truth, predicted = traced(config, condition)
    per_class = class_f1(truth, predicted, config.num_classes)
    macro, right = macro_f1(truth, predicted), [predicted[row] == label for row, label in enumerate(truth)]
    resampling = resample(config, {"id": names})
    replicates = f1_replicates(resampling, {"id": (truth, predicted)}, config.num_classes)
    around = [interval(of_class) for of_class in replicates["class_f1"]]
    around_macro = interval(replicates["macro_f1"])

    classes, paper = class_names(config), [*zip(*PAPER_CLASS_F1.values(), strict=True)]
    rows = [
        (
            f"{label} {classes[label]}",
            truth.count(label),
            percent(100 * value, around[label]),
            *map(percent, paper[label]),
        )
        for label, value in enumerate(per_class)
    ]
    rows.append(("macro", len(truth), percent(100 * macro, around_macro), *map(percent, condition.paper)))
    print("Closed set (Table 3)")
    print_table(("class", "files", "F1 (%)", *(f"paper {name}" for name in PAPER_MODELS.values())), rows)
    print_legend(config)
    figures = {
        "scores": str(path),
        "files": len(truth),
        "macro_f1": 100 * macro,
        "macro_f1_interval": around_macro,
        "class_f1": [100 * value for value in per_class],
        "class_f1_interval": around,
        "accuracy": 100 * accuracy(truth, predicted),
        "accuracy_interval": interval(share_replicates(resampling, "id", right)),
        "confusion": confusion(truth, predicted, config.num_classes).tolist(),
        "paper": dict(zip(PAPER_MODELS, condition.paper, strict=True)),
    }
    write_metrics(config, figures)


if __name__ == "__main__":
    run(main)
