"""Macro and per-class F1 of the closed-set test (paper, Table 3), from result/result_id.txt.

python evaluate_id_f1.py --data_root st-codecfake --result result --json result/id_f1.json
"""

from config import parse_config
from errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from data.conditions import CONDITIONS, PAPER_CLASS_F1, PAPER_MODELS, class_names
    from evaluation import percent, print_table, write_figures
    from metrics import accuracy, class_f1, confusion, macro_f1
    from scores import find_scores, pair, read_scores

    condition = next(row for row in CONDITIONS if row.suite == "id")
    path = find_scores(config.result, condition.result)
    truth, predicted = pair(read_scores(path, config.num_classes), condition.clips(config), path)
    per_class = class_f1(truth, predicted, config.num_classes)
    macro = macro_f1(truth, predicted)

    names, paper = class_names(config), [*zip(*PAPER_CLASS_F1.values(), strict=True)]
    rows = [
        (f"{label} {names[label]}", truth.count(label), percent(100 * value), *map(percent, paper[label]))
        for label, value in enumerate(per_class)
    ]
    rows.append(("macro", len(truth), percent(100 * macro), *map(percent, condition.paper)))
    print("Closed set (Table 3)")
    print_table(("class", "files", "F1 (%)", *(f"paper {name}" for name in PAPER_MODELS.values())), rows)
    figures = {
        "scores": str(path),
        "files": len(truth),
        "macro_f1": 100 * macro,
        "class_f1": [100 * value for value in per_class],
        "accuracy": 100 * accuracy(truth, predicted),
        "confusion": confusion(truth, predicted, config.num_classes).tolist(),
        "paper": dict(zip(PAPER_MODELS, condition.paper, strict=True)),
    }
    write_figures(config, figures)


if __name__ == "__main__":
    run(main)
