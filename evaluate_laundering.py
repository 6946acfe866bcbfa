"""What coding, channels, noise, rooms, levels and a second neural codec do to a trained model's answers.

    python evaluate_laundering.py --data_root st-codecfake --model_folder models/w2v --max_clips 200
    python evaluate_laundering.py --data_root st-codecfake --treatment mp3 opus gsm --json result/laundering.json

Treats the clips of the closed-set test and traces them again. The table holds, after each treatment, the macro F1, the
share of clips below the threshold of calibrate.py (unknown), and what happens to real speech: how often it is called
real, called a codec, or unknown. After a second neural codec, the first codec still counts as the right answer. Real
speech has then passed a codec, and to call it a codec is no mistake. save_feats/treated/ keeps the embeddings, so that
a stopped run can continue. report.py draws the table.
"""

from dataclasses import dataclass

from config import Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags
from utils.settings import Compute, Intervals, Results, TreatedClips

SHOWN = ("data_root", *path_flags("id"), "model_folder", "save_feats", "batch_size", "seed", "ood_detector_name")


@dataclass(frozen=True)
class LaunderingConfig(TreatedClips, Config):
    """Laundering."""


def main(argv=None):
    config = parse_flags(__doc__, argv, LaunderingConfig, *SHOWN, Results, Intervals, Compute, TreatedClips)
    from data.laundering import LAUNDERING
    from demo.recoding import RECODINGS
    from evaluation.calibration import read_calibration
    from evaluation.laundering_matrix import measure_laundering, print_laundering
    from evaluation.tables import write_metrics
    from utils.hardware import is_first_process

    calibrated = read_calibration(config.model_folder)
    metrics = measure_laundering(config, calibrated, LAUNDERING | RECODINGS)
    if is_first_process():
        print_laundering(metrics, calibrated, config)
        write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
