"""Name the sources of your own clips by the spectral fingerprint, with whole groups held out of training.

    python evaluate_held_out.py clips.csv --group page --json result/held_out.json

clips.csv has a header and a line for each clip: the columns file (a path relative to the table), label (real, or the
name of a codec) and the one that --group names. Each group is held out in turn: no clip of it is in the training data
of the reader that judges it. The printed F1 says what to expect of recordings by other hands.
"""

from dataclasses import dataclass
from pathlib import Path

from utils.errors import run
from utils.flags import Flags, number, opt, parse_flags


@dataclass(frozen=True)
class HeldOut(Flags):
    """Held-out groups."""

    table: Path = opt(None, "CSV file with the columns file, label and that of --group", positional=True)
    group: str = opt("page", "column that names what is held out as a whole, such as a page, a speaker or a device")
    num_epochs: int = opt(25, "passes over the training clips of each reader", type=number(int, 1))
    lr: float = opt(3e-3, "largest step size of AdamW", type=number(float, 0))
    seed: int = opt(688, "random seed", type=number(int, 0, 2**32))
    json: Path = opt(None, "also write the metrics to this file")


def main(argv=None):
    config = parse_flags(__doc__, argv, HeldOut)
    from evaluation.held_out import measure_held_out, print_held_out
    from evaluation.tables import write_metrics

    metrics = measure_held_out(config)
    print_held_out(metrics)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
