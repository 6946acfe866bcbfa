"""Name the sources of your own clips by the spectral fingerprint, with whole groups held out of training.

    python evaluate_held_out.py clips.csv --group page --json result/held_out.json

clips.csv has a header and a line for each clip: the columns file (a path relative to the table), label (real, or the
name of a codec) and the one that --group names. Each group is held out in turn: no clip of it is in the training data
of the reader that judges it. The printed F1 says what to expect of recordings by other hands.

    python evaluate_held_out.py clips.csv --group page --save models/mine
    python predict.py clip.wav --model_folder models/mine

With --save, a reader is also trained on all clips and written, ready for predict.py. Its probabilities and its
threshold are calibrated on the held-out clips; the printed verdicts are those that predict.py would give of them.
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
    save: Path = opt(None, "also train on all clips, and write the model into this folder")
    tpr: float = opt(0.95, "share of known clips that the threshold of --save keeps", type=number(float, 0.5, 1))
    json: Path = opt(None, "also write the metrics to this file")


def main(argv=None):
    config = parse_flags(__doc__, argv, HeldOut)
    from evaluation import held_out
    from evaluation.tables import write_metrics
    from utils.files import check_writable

    clips = held_out.read_held_out_clips(config)
    if config.save:
        check_writable(config.save)
    views = held_out.read_fingerprints(clips)
    judged = held_out.judge_held_out(views, clips, config)
    metrics = held_out.measure_held_out(clips, judged)
    held_out.print_held_out(metrics)
    if config.save:
        metrics["verdicts"] = save_calibrated(config, views, clips, judged)
    write_metrics(config, metrics)


def save_calibrated(config, views, clips, judged):
    """Train on all clips, write the model into --save, and print and give the verdicts on the held-out clips."""
    from evaluation import held_out
    from prediction.held_out_model import print_verdict_rates, save_model, verdict_rates

    reader, train = held_out.fit_final_reader(views, clips, config)
    description, tensors = held_out.calibrate_held_out(judged, train, config.tpr)
    rates = verdict_rates(judged, description)
    print_verdict_rates(rates)
    save_model(config, judged.names, reader, description, tensors)
    return rates


if __name__ == "__main__":
    run(main)
