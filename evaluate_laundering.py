"""What coding, channels, noise, rooms, levels and a second neural codec do to a trained model's answers.

    python evaluate_laundering.py --data_root st-codecfake --model_folder models/w2v --max_clips 200
    python evaluate_laundering.py --data_root st-codecfake --treatment mp3 opus gsm --json result/laundering.json

The closed-set test is treated and traced again: macro F1, the share of clips that fall below the threshold of
calibrate.py (unknown), and what becomes of real speech: how often it is still called real, called a codec, or unknown.
After a second neural codec the first one still counts as right; real speech has then gone through a codec, and that
answer is no mistake. Embeddings are kept in save_feats/treated/, so that a stopped run goes on. report.py draws the
table.
"""

from config_checks import TreatConfig
from utils.errors import run
from utils.flags import parse_flags

SHOWN = {  # figure: head of its column
    "macro_f1": "macro F1 (%)",
    "unknown": "unknown (%)",
    "real_as_real": "real: real (%)",
    "real_as_codec": "real: a codec (%)",
    "real_as_unknown": "real: unknown (%)",
}


def measure(config, calibrated, detector, outputs):
    """The figures SHOWN in %, with intervals, of the Outputs of treated clips; those of real ones if there are any."""
    from evaluation.f1 import resample
    from evaluation.intervals import in_percent, share_replicates
    from evaluation.treatments import closed_set_f1

    accepted = calibrated.score(detector, outputs) >= calibrated.threshold(detector)
    real = outputs.labels.numpy() == 0
    kept, answer = accepted[real], outputs.logits.argmax(dim=1).numpy()[real]
    shares = {"unknown": ("all", ~accepted)}
    if real.any():
        shares |= {
            "real_as_real": ("real", kept & (answer == 0)),
            "real_as_codec": ("real", kept & (answer != 0)),
            "real_as_unknown": ("real", ~kept),
        }
    real_names = [name for name, is_real in zip(outputs.names, real, strict=True) if is_real]
    resampling = resample(config, {"all": outputs.names, "real": real_names})
    figures = {"macro_f1": closed_set_f1(resampling, outputs)} | {
        name: (flags.mean(), share_replicates(resampling, which, flags)) for name, (which, flags) in shares.items()
    }
    return {"clips": len(real), "real_clips": int(real.sum()), **in_percent(figures)}


def main(argv=None):
    config = parse_flags(__doc__, argv, TreatConfig)
    from data.laundering import LAUNDERING
    from evaluation.calibration import read_calibration
    from evaluation.detection import single_detector
    from evaluation.f1 import cell, print_legend, write_metrics
    from evaluation.treatments import chosen_treatments, test_clips, treated_outputs
    from utils.console import print_table
    from utils.hardware import is_first_process

    detector = single_detector(config.ood_detector_name)
    table = chosen_treatments(config, LAUNDERING)
    calibrated, clips = read_calibration(config.model_folder), test_clips(config)
    threshold = calibrated.threshold(detector)
    rows = [
        {"treatment": name, **measure(config, calibrated, detector, outputs)}
        for name, outputs in treated_outputs(config, table, clips)
    ]
    if not is_first_process():
        return
    kept = 100 * calibrated.tpr
    print(f"{len(clips)} clips; unknown: {detector} below {threshold:.4g}, which keeps {kept:g} % of development clips")
    cells = [[cell(row, name) if name in row else "-" for name in SHOWN] for row in rows]
    print_table(
        ("treatment", *SHOWN.values()), [(row["treatment"], *shown) for row, shown in zip(rows, cells, strict=True)]
    )
    print_legend(config)
    write_metrics(config, {"detector": detector, "tpr": calibrated.tpr, "treatments": rows})


if __name__ == "__main__":
    run(main)
