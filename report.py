"""Everything that a run shows, on one page that needs no network: result/report.html, and result/report.json.

    python report.py --data_root st-codecfake --model_folder models/w2v --result result --save_feats save_feats

Reads the figures that the evaluation scripts wrote with --json into --result, and runs those scripts, with the flags
given here, where there are none or older ones than the run; embeddings and scores for curves and maps; args.json and
log.jsonl of the model; every other .json file of figures in --result. What is not there is named on the page.
--ood_detector_name chooses the detector of the curves (default here: knn).
"""

import sys

from config import EVALUATION, Config
from utils.errors import MissingInput, run
from utils.flags import parse_flags


def main(argv=None):
    argv = sys.argv[1:] if argv is None else list(map(str, argv))
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "save_feats", "model_folder", "ood_detector_name")
    from reporting.build import build, write
    from utils.files import check_writable

    if not config.result.is_dir():
        raise MissingInput(f"{config.result} is not a folder: give the folder of score files as --result")
    check_writable(config.result)
    write(config, *build(config, argv))


if __name__ == "__main__":
    run(main)
