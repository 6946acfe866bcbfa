"""Detect clips of unseen codecs from saved embeddings: AUC, FPR95 and EER in % beside the paper's Table 5.

    python ood_detector_e2e.py --save_feats save_feats --json result/ood.json
    python ood_detector_e2e.py --ood_detector_name NSD --condition single7 multi8 --skip_missing

Reads traindict.pt, evaldict_id.pt and one evaldict_*.pt a condition (see source_tracing_id.py, source_tracing_ood.py).
The known test clips are the target of each figure; every clip of a condition counts as unseen, whatever its label.
Rows `from` and `to` are the ends of the 95 % bootstrap intervals; their resamples are the same for every detector.

Conditions: single7 multi8 voc diff_config diff_source.
Detectors: msp energy knn mahalanobis NSD maxlogit kl ssd nnguide relation vim msp_log gen klm mahalanobis++ rmds fdbd
neco she.
"""

from config import EVALUATION, Config
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "save_feats", "ood_detector_name")
    from evaluation.detection import detect_unseen, print_detection
    from evaluation.f1 import write_metrics

    detection = detect_unseen(config)
    print_detection(detection, config)
    write_metrics(config, detection.metrics)


if __name__ == "__main__":
    run(main)
