"""Mean and standard deviation of every metric over runs that differ only in their seed.

    python main_train.py --data_root st-codecfake -o models/w2v --seeds 1 2 3
    python summarise_seeds.py models/w2v --json models/w2v/seeds.json

Reads the metrics that the evaluation scripts wrote with --json into the `result` folder of each run. The runs are the
folders seed-*/ in the folder that is named, or several named folders. The standard deviation is that of the sample. It
says how much the metrics change from one training to the next; the interval of a single run does not show this.
"""

from dataclasses import dataclass
from pathlib import Path

from config import Config
from utils.errors import run
from utils.flags import opt, parse_flags


@dataclass(frozen=True)
class SeedsConfig(Config):
    """Runs."""

    runs: tuple[Path, ...] = opt((), "folder of seed-*/, or several runs", positional=True, nargs="+", type=Path)


def main(argv=None):
    config = parse_flags(__doc__, argv, SeedsConfig, "runs", "json")
    from evaluation.seeds import print_seed_summary, summarise_runs
    from evaluation.tables import write_metrics

    summary = summarise_runs(config)
    print_seed_summary(summary)
    write_metrics(config, summary)


if __name__ == "__main__":
    run(main)
