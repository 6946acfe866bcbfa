"""Paired differences of two runs on the same clips: by how much, and whether the difference holds.

    python compare.py runs/a runs/b --data_root st-codecfake --json compare.json
    python compare.py runs/a runs/b --ood_detector_name mahalanobis++ --condition id single7 multi8

A run is a folder that holds result/ and save_feats/, or the folder of score files itself, with save_feats/ beside it.
Compared are the F1 of every condition with score files in both (macro F1 of `id`) and, where both have embeddings, AUC,
FPR95 and EER of a detector (default here: knn). A difference holds when its 95 % bootstrap interval excludes 0; both
runs are resampled alike, so that clips which are hard for both cancel.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from config import EVALUATION, Config
from utils.errors import InputError, MissingInput, run
from utils.flags import opt, parse_flags

LOWER_IS_BETTER = ("fpr95", "eer")


@dataclass(frozen=True)
class CompareConfig(Config):
    a: Path = opt(Path("a"), "folder of the first run", positional=True)
    b: Path = opt(Path("b"), "folder of the second run; differences are its figures less the first's", positional=True)


def side(config, folder):
    """`config` with the score files and embeddings of the run in `folder`. Raises InputError when it is no folder."""
    result = folder / "result" if (folder / "result").is_dir() else folder
    if not result.is_dir():
        raise InputError(f"{folder} is not a folder: give that of a run, which holds result/ and save_feats/")
    return replace(config, result=result, save_feats=result.parent / "save_feats")


def order(names, others, what):
    """Positions in `others` of the file `names`. Raises InputError unless both are of the same clips."""
    where = {name: row for row, name in enumerate(others)}
    lacking = set(names) ^ set(others)
    if lacking:
        raise InputError(
            f"{what}: the runs were traced on other clips ({len(lacking)} are in one alone, such as {min(lacking)}):"
            " trace both on the same corpus"
        )
    return [where[name] for name in names]


def compared(condition, figure, a, b):
    """A row of the comparison; a and b are (value, replicates [resamples]) of rates in [0, 1]."""
    from evaluation.intervals import interval

    low, high = interval(b[1] - a[1])
    winner = "b" if (b[0] > a[0]) != (figure.rpartition(" ")[2] in LOWER_IS_BETTER) else "a"
    values = {"a": 100 * float(a[0]), "b": 100 * float(b[0]), "difference": 100 * float(b[0] - a[0])}
    better = winner if low > 0 or high < 0 else None
    return {"condition": condition, "figure": figure, **values, "interval": [low, high], "better": better}


def compare_f1(configs, condition):
    """Rows of the F1 of a condition: macro F1 over true classes, or the F1 of its one class."""
    import numpy as np

    from data.classes import evaluated_class_names
    from evaluation.f1 import resample
    from evaluation.intervals import f1_replicates, share_replicates
    from evaluation.known_sources import read_traced
    from evaluation.metrics import accuracy, macro_f1

    (_, names, truth, first), (_, others, _, second) = (read_traced(config, condition) for config in configs)
    second, config = np.array(second)[order(names, others, condition.name)], configs[0]
    resampling, found = resample(config, {"clips": names}), []
    classes = len(evaluated_class_names(config))
    for predicted in (np.array(first), second):
        if condition.label is None:
            replicates = f1_replicates(resampling, {"clips": (truth, predicted)}, classes)["macro_f1"]
            found.append((macro_f1(truth, predicted), replicates))
        else:
            right = predicted == np.array(truth)
            found.append((accuracy(truth, predicted), share_replicates(resampling, "clips", right)))
    return [compared(condition.name, "macro f1" if condition.label is None else "f1", *found)]


def compare_detection(configs, name):
    """Rows of AUC, FPR95 and EER of the detector `name` for every unseen condition that both runs have."""
    from evaluation.detection import KNOWN_SET, read_sets, score_sets
    from evaluation.f1 import resample
    from evaluation.intervals import bootstrap_detection

    scores, names = [], []
    for config in configs:
        train, known, unseen = read_sets(config)
        sets = {KNOWN_SET: known, **unseen}
        scores.append(score_sets(name, train, sets))
        names.append({which: outputs.names or range(len(outputs.logits)) for which, outputs in sets.items()})
    shared = [which for which in scores[0] if which in scores[1]]
    first = {which: scores[0][which] for which in shared}
    second = {which: scores[1][which][order(names[0][which], names[1][which], which)] for which in shared}
    files = {which: len(found) if isinstance(found := names[0][which], range) else found for which in shared}
    resampling = resample(configs[0], files)
    a, b = (bootstrap_detection(resampling, of_run, KNOWN_SET) for of_run in (first, second))
    return [
        compared(which, f"{name} {figure}", a[which][figure], b[which][figure]) for which in a for figure in a[which]
    ]


def compare(config):
    """Every row of the comparison. What one of the runs lacks is named and passed over."""
    from data.conditions import SHIFTED, select
    from evaluation.detection import single_detector

    detector = single_detector(config.ood_detector_name)
    configs = [replace(side(config, folder), skip_missing=True) for folder in (config.a, config.b)]
    rows, unseen = [], []
    for condition in select(config, "id", *SHIFTED, "ood"):
        if condition.suite == "ood":
            unseen.append(condition.name)
            continue
        try:
            rows += compare_f1(configs, condition)
        except MissingInput as absent:
            print(f"skipped {condition.name}: {absent}")
    try:
        if unseen:
            rows += compare_detection([replace(config, condition=tuple(unseen)) for config in configs], detector)
    except MissingInput as absent:
        print(f"skipped unseen codecs: {absent}")
    return rows


def main(argv=None):
    config = parse_flags(__doc__, argv, CompareConfig, *EVALUATION, "a", "b", "ood_detector_name")
    if not config.resamples:
        raise InputError("--resamples 0: a difference cannot be judged without resamples")
    from evaluation.f1 import percent, print_legend, write_metrics
    from utils.console import print_table

    rows = compare(config)
    if not rows:
        raise MissingInput(f"{config.a} and {config.b} have no score file or embeddings of a condition in common")
    words = {"a": "A is better", "b": "B is better", None: "not told apart"}
    print(f"A = {config.a}, B = {config.b}; in %, differences B - A in points")
    table = [
        (
            f"{row['condition']} {row['figure']}",
            *(percent(row["a"]), percent(row["b"]), percent(row["difference"], row["interval"])),
            words[row["better"]],
        )
        for row in rows
    ]
    print_table(("figure", "A", "B", "B - A", ""), table)
    print_legend(config)
    hold = [row for row in rows if row["better"]]
    print(
        f"{len(hold)} of {len(rows)} differences hold: their interval excludes 0. Of {len(rows)} without any true"
        f" difference, about {0.05 * len(rows):.1f} would by chance."
    )
    write_metrics(config, {"a": str(config.a), "b": str(config.b), "differences": rows})


if __name__ == "__main__":
    run(main)
