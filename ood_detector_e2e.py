"""Detect clips of unseen codecs from saved embeddings: AUC, FPR95 and EER in % (paper, Table 5).

    python ood_detector_e2e.py --save_feats save_feats --json result/ood.json
    python ood_detector_e2e.py --ood_detector_name NSD --condition single7 multi8 --skip_missing

Reads traindict.pt, evaldict_id.pt and one evaldict_*.pt a condition, which source_tracing_id.py and
source_tracing_ood.py write. The known test clips are the target of each metric. Every clip of a condition counts as
unseen, whatever its label. The rows `from` and `to` are the ends of the 95 % bootstrap intervals; all detectors share
the same resamples. Rows of the paper are printed where the corpus is ST-Codecfake.

docs/detectors.md describes the detectors. An unknown name, such as --ood_detector_name list, prints all of them.
"""

from config import EVALUATION, Config
from data.conditions import CONDITIONS
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    conditions = " ".join(row.name for row in CONDITIONS if row.suite == "ood")
    description = f"{__doc__}\nConditions: {conditions}"
    config = parse_flags(
        description, argv, Config, *EVALUATION, "eval_list", "own_conditions", "save_feats", "ood_detector_name"
    )
    from evaluation.detection import detect_unseen, print_detection
    from evaluation.tables import write_metrics

    detection = detect_unseen(config)
    print_detection(detection, config)
    write_metrics(config, detection.metrics)


if __name__ == "__main__":
    run(main)
