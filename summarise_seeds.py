"""Mean and standard deviation of every figure over runs that differ in their seed alone.

    python main_train.py --data_root st-codecfake -o models/w2v --seeds 1 2 3
    python summarise_seeds.py models/w2v --json models/w2v/seeds.json

Reads the figures that the evaluation scripts wrote with --json into the `result` folder of each run: those of the
folders seed-*/ in the folder that is named, or of several named folders. The standard deviation is that of the sample:
how far one training may lie from another, which no interval of one run tells.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from config import EVALUATION, Config
from utils.errors import InputError, MissingInput, run
from utils.flags import opt, parse_flags

FIGURES = {
    *("f1", "macro_f1", "weighted_f1", "accuracy", "auc", "fpr95", "eer", "oscr"),
    *("accepted", "rejected", "open_set_f1", "right"),
}
OF_EACH = ("class_f1", "calibration_error")  # hold a figure a class, or a moment
PASSED_OVER = ("paper", "class_thresholds")


@dataclass(frozen=True)
class SeedsConfig(Config):
    runs: tuple[Path, ...] = opt((), "folder of seed-*/, or several runs", positional=True, nargs="+", type=Path)


def flatten(found, name=()):
    """(name, figure) of every figure in what an evaluation wrote; a name is a tuple of words."""
    if isinstance(found, list):
        for item in found:
            yield from flatten(item, name)
    elif isinstance(found, dict):
        name = (*name, *(found[key] for key in ("detector", "condition") if key in found))
        for key, value in found.items():
            if key in OF_EACH:
                rows = value.items() if isinstance(value, dict) else enumerate(value)
                yield from (((*name, key, str(row)), figure) for row, figure in rows)
            elif key in FIGURES:
                yield (*name, key), value
            elif key not in PASSED_OVER:
                yield from flatten(value, (*name, key) if isinstance(value, dict) and key != "tasks" else name)


def read_figures(folder):
    """{name: figure} of every JSON file in a run's `result` folder.

    Raises MissingInput when there is none, InputError for one that is damaged.
    """
    paths = sorted((folder / "result").glob("*.json"))
    if not paths:
        raise MissingInput(f"{folder / 'result'} holds no .json file: run the evaluation scripts with --json into it")
    figures = {}
    for path in paths:
        try:
            found = dict(flatten(json.loads(path.read_text(encoding="utf-8")), (path.stem,)))
            figures |= {name: float(figure) for name, figure in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not what an evaluation script writes ({error!r}): write it again") from None
    return figures


def find_runs(folders):
    """The folders of the runs: those given, or the seed-*/ in the one that is given. Raises InputError below two."""
    found = sorted(folders[0].glob("seed-*/"), key=lambda path: (len(path.name), path.name))
    runs = found if len(folders) == 1 else list(folders)
    if len(runs) < 2:
        raise InputError(f"{folders[0]} holds {len(runs)} folders seed-*/: a standard deviation needs two runs or more")
    return runs


def summarise(runs):
    """[{"figure", "mean", "sd", "values": {run: figure}}] of each figure that every run has, in % as they are.

    Names what some of the runs lack. Raises InputError when the runs have no figure in common.
    """
    figures = {path.name: read_figures(path) for path in runs}
    if len(figures) < len(runs):
        raise InputError(f"{' and '.join(map(str, runs))} have the same name: give folders of different names")
    rows, lacking = [], set()
    for name in dict.fromkeys(name for of_run in figures.values() for name in of_run):
        values = {which: of_run[name] for which, of_run in figures.items() if name in of_run}
        if len(values) < len(runs):
            lacking.add(" ".join(name))
            continue
        mean, sd = statistics.fmean(values.values()), statistics.stdev(values.values())
        rows.append({"figure": " ".join(name), "mean": mean, "sd": sd, "values": values})
    if not rows:
        raise InputError(f"{' and '.join(map(str, runs))} have no figure in common: evaluate all of them alike")
    if lacking:
        print(f"{len(lacking)} figures are not in every run and are left out (first: {min(lacking)})")
    return rows


def main(argv=None):
    config = parse_flags(__doc__, argv, SeedsConfig, *EVALUATION, "runs", "ood_detector_name")
    from evaluation.f1 import percent, write_metrics
    from utils.console import print_table

    rows = summarise(find_runs(config.runs))
    names = list(rows[0]["values"])
    print(f"Mean and standard deviation over {len(names)} runs")
    table = [
        (row["figure"], f"{row['mean']:.2f} ± {row['sd']:.2f}", *(percent(row["values"][name]) for name in names))
        for row in rows
    ]
    print_table(("figure", "mean ± SD", *names), table)
    write_metrics(config, {"runs": names, "figures": rows})


if __name__ == "__main__":
    run(main)
