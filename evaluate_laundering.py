"""What coding, channels, noise, rooms, levels and a second neural codec do to a trained model's answers.

    python evaluate_laundering.py --data_root st-codecfake --model_folder models/w2v --max_clips 200
    python evaluate_laundering.py --data_root st-codecfake --treatment mp3 opus gsm --json result/laundering.json

The closed-set test is treated and traced again: macro F1, the share of clips that fall below the threshold of
calibrate.py (unknown), and what becomes of real speech: how often it is still called real, called a codec, or unknown.
After a second neural codec the first one is still what counts as right. Embeddings are kept in save_feats/treated/, so
that a stopped run goes on; --figure draws the table.
"""

from config import parse_config
from config_checks import TreatConfig
from errors import run

HEADER = (
    "treatment",
    "clips",
    "macro F1 (%)",
    "unknown (%)",
    "real: real (%)",
    "real: a codec (%)",
    "real: unknown (%)",
)
SHOWN = ("macro_f1", "unknown", "real_as_real", "real_as_codec", "real_as_unknown")


def measure(config, calibrated, detector, outputs):
    """The figures SHOWN in %, with intervals, of the Outputs of treated clips."""
    from evaluate_open_set import in_percent
    from evaluation import resample
    from intervals import f1_replicates, share_replicates
    from metrics import macro_f1

    truth, predicted = outputs.labels.numpy(), outputs.logits.argmax(dim=1).numpy()
    accepted = calibrated.score(detector, outputs) >= calibrated.threshold(detector)
    real = truth == 0
    names = {"all": outputs.names, "real": [name for name, is_real in zip(outputs.names, real, strict=True) if is_real]}
    resampling = resample(config, names)
    replicates = f1_replicates(resampling, {"all": (truth, predicted)}, outputs.logits.shape[1])
    figures = {"macro_f1": (macro_f1(truth, predicted), replicates["macro_f1"])}
    shares = {"unknown": ("all", ~accepted)}
    if real.any():
        kept, answer = accepted[real], predicted[real]
        shares |= {
            "real_as_real": ("real", kept & (answer == 0)),
            "real_as_codec": ("real", kept & (answer != 0)),
            "real_as_unknown": ("real", ~kept),
        }
    figures |= {
        name: (flags.mean(), share_replicates(resampling, which, flags)) for name, (which, flags) in shares.items()
    }
    return {"clips": len(truth), "real_clips": int(real.sum()), **in_percent(figures)}


def main(argv=None):
    config = parse_config(__doc__, argv, TreatConfig)
    import calibration
    from data.laundering import LAUNDERING
    from evaluation import cell, print_legend, print_table, write_figures
    from ood_detector_e2e import chosen_one
    from treatments import chosen_treatments, draw, test_clips, treated_outputs

    detector = chosen_one(config.ood_detector_name)
    table = chosen_treatments(config, LAUNDERING)
    calibrated, clips = calibration.read(config.model_folder), test_clips(config)
    rows = [
        {"treatment": name, **measure(config, calibrated, detector, outputs)}
        for name, outputs in treated_outputs(config, table, clips)
    ]
    print(f"Unknown: below the threshold of {detector}, which keeps {100 * calibrated.tpr:g} % of development clips")
    cells = [[cell(row, name) if name in row else "-" for name in SHOWN] for row in rows]
    print_table(HEADER, [(row["treatment"], row["clips"], *shown) for row, shown in zip(rows, cells, strict=True)])
    print_legend(config)
    write_figures(config, {"detector": detector, "tpr": calibrated.tpr, "treatments": rows})
    if config.figure:
        bars = {"macro F1": "macro_f1", "unknown": "unknown", "real called real": "real_as_real"}
        bars = {label: name for label, name in bars.items() if name in rows[0]}
        draw(config.figure, rows, bars, f"{len(clips)} test clips")


if __name__ == "__main__":
    run(main)
