"""A trained model on laundered speech: what remains of the closed set after each treatment."""

from engine.run_folder import with_names_of_run
from evaluation.detection import single_detector
from evaluation.freshness import MEASURED_OF
from evaluation.intervals import in_percent, share_replicates
from evaluation.tables import make_resampling, metric_cell, print_legend
from evaluation.treatments import chosen_treatments, closed_set_clips, closed_set_f1, of_treated_clips, treated_outputs
from utils.console import print_table

LAUNDERING_COLUMNS = {  # metric: the head of its column
    "macro_f1": "macro F1 (%)",
    "unknown": "unknown (%)",
    "real_as_real": "real: real (%)",
    "real_as_codec": "real: a codec (%)",
    "real_as_unknown": "real: unknown (%)",
}


def measure_treated_clips(config, calibrated, detector, outputs):
    """The metrics of LAUNDERING_COLUMNS in %, with intervals, of the Outputs of treated clips.

    Those of real speech are only there where a clip is real.
    """
    accepted = calibrated.score(detector, outputs) >= calibrated.threshold(detector)
    real = outputs.labels.numpy() == 0
    real_accepted = accepted[real]
    real_answers = outputs.logits.argmax(dim=1).numpy()[real]
    shares = {"unknown": ("all", ~accepted)}
    if real.any():
        shares |= {
            "real_as_real": ("real", real_accepted & (real_answers == 0)),
            "real_as_codec": ("real", real_accepted & (real_answers != 0)),
            "real_as_unknown": ("real", ~real_accepted),
        }
    real_names = [name for name, is_real in zip(outputs.names, real, strict=True) if is_real]
    resampling = make_resampling(config, {"all": outputs.names, "real": real_names})
    metrics = {"macro_f1": closed_set_f1(resampling, outputs)} | {
        name: (flags.mean(), share_replicates(resampling, which, flags)) for name, (which, flags) in shares.items()
    }
    return {"clips": len(real), "real_clips": int(real.sum()), **in_percent(metrics)}


def measure_laundering(config, calibrated, table):
    """{"detector", "tpr", "treatments"}: the metrics in % after each treatment of `table` that --treatment selects.

    `calibrated` is the Calibration of the model, whose threshold decides what is unknown. Raises InputError for an
    unknown detector or treatment and for files that cannot be used.
    """
    config = with_names_of_run(config)
    detector = single_detector(config.ood_detector_name)
    table = chosen_treatments(config, table)
    measured_of = of_treated_clips(config)
    rows = [
        {"treatment": name, **measure_treated_clips(config, calibrated, detector, outputs)}
        for name, outputs in treated_outputs(config, table, closed_set_clips(config))
    ]
    return {"detector": detector, "tpr": calibrated.tpr, "treatments": rows, MEASURED_OF: measured_of}


def print_laundering(metrics, calibrated, config):
    """Print what measure_laundering() gives as a table with a row for each treatment."""
    treatments = metrics["treatments"]
    detector = metrics["detector"]
    print(
        f"{treatments[0]['clips']} clips; unknown: {detector} below {calibrated.threshold(detector):.4g}, which keeps"
        f" {100 * metrics['tpr']:g} % of development clips"
    )
    rows = [
        (row["treatment"], *(metric_cell(row, name) if name in row else "-" for name in LAUNDERING_COLUMNS))
        for row in treatments
    ]
    print_table(("treatment", *LAUNDERING_COLUMNS.values()), rows)
    print_legend(config)
