"""Paired differences of two runs on the same clips: how large they are, and whether they hold.

    python compare.py runs/a runs/b --data_root st-codecfake --json compare.json
    python compare.py runs/a runs/b --ood_detector_name mahalanobis++ --condition id single7 multi8

A run is a folder that holds result/ and save_feats/, or the folder of score files itself with save_feats/ beside it.
The script compares the F1 of every condition with score files in both runs (macro F1 of `id`). Where both runs have
embeddings, it also compares AUC, FPR95 and EER of a detector (default here: knn). A difference holds when its 95 %
bootstrap interval excludes 0. Both runs are resampled alike: clips that are hard for both cancel.
"""

from dataclasses import dataclass
from pathlib import Path

from config import Config
from utils.errors import run
from utils.flags import opt, parse_flags
from utils.settings import Intervals

SHOWN = ("a", "b", "data_root", "num_classes", "seed", "condition", "ood_detector_name", "json", Intervals)


@dataclass(frozen=True)
class CompareConfig(Config):
    """Runs."""

    a: Path = opt(Path("a"), "folder of the first run", positional=True)
    b: Path = opt(Path("b"), "folder of the second run; a difference is its metric minus the first's", positional=True)


def main(argv=None):
    config = parse_flags(__doc__, argv, CompareConfig, *SHOWN)
    from evaluation.comparison import compare_runs, print_comparison
    from evaluation.tables import write_metrics

    metrics = compare_runs(config)
    print_comparison(metrics, config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
