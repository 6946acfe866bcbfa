"""Everything that a run shows: result/report.html, one page that needs no network, report.json and overview.png.

    python report.py --data_root st-codecfake --model_folder models/w2v --result result --save_feats save_feats

Reads the metrics that the evaluation scripts wrote with --json into --result. Metrics that are missing, or of other
scores, labels or flags, are measured and written there; it prints why. Also reads the embeddings for curves and maps,
args.json and log.jsonl of the model, and every other .json file of metrics in --result. The page names what is missing.
overview.png shows the confusion matrix of the closed set and a detector's scores of known and unseen codecs.
--ood_detector_name chooses the detector of the plots (default here: knn).
"""

from config import Config
from utils.errors import MissingInput, run
from utils.flags import parse_flags
from utils.settings import Intervals

SHOWN = (
    *("data_root", "num_classes", "seed", "result", "save_feats", "model_folder", "ood_detector_name"),
    *("eval_list", "eval_rows", "own_conditions", Intervals),
)


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *SHOWN)
    from reporting.build import build_report, write_report
    from utils.locks import lock_folders

    if not config.result.is_dir():
        raise MissingInput(f"{config.result} is not a folder: give the folder of score files as --result")
    with lock_folders(config.result):
        write_report(config, build_report(config))


if __name__ == "__main__":
    run(main)
