"""Known or unknown at the threshold that calibrate.py found on development data, beside metrics without a threshold.

    python evaluate_open_set.py --model_folder models/w2v --json result/open_set.json
    python evaluate_open_set.py --model_folder models/w2v --ood_detector_name knn --condition single7 multi8

Reads calibration.json of the model, evaldict_id.pt and one evaldict_*.pt a condition, as ood_detector_e2e.py does, and
the score files of known sources in other corpora, configurations and language models. A clip is accepted as known when
its score reaches the threshold. Open-set F1 is the macro F1 over the known classes and one more, unknown. OSCR is the
area under the rate of known clips that are accepted and traced rightly, over the rate of unknown clips that are
accepted.
"""

from config import EVALUATION, Config
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(
        __doc__,
        argv,
        Config,
        *EVALUATION,
        "eval_list",
        "own_conditions",
        "save_feats",
        "model_folder",
        "ood_detector_name",
    )
    from evaluation.calibration import read_calibration
    from evaluation.open_set import measure_open_set, print_open_set
    from evaluation.tables import write_metrics

    calibrated = read_calibration(config.model_folder)
    metrics = measure_open_set(config, calibrated)
    print_open_set(metrics, calibrated, config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
