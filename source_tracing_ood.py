"""Trace the training and development sets, the unseen codecs and vocoders -> save_feats/*.pt, for OOD detection.

    python source_tracing_ood.py --data_root st-codecfake --model_folder models/w2v
    python source_tracing_ood.py --data_root st-codecfake --model_folder models/w2v --condition train single7 multi8

Writes traindict.pt, devdict.pt and an evaldict_*.pt for each condition: {"feas" [n, d], "logits" [n, classes],
"labels" [n], "names"}; also result/result_ood7.txt, result_ood8.txt and result_oodvoc.txt.
"""

from config import TRACING, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *TRACING, "own_conditions", *path_flags("train", "dev", "ood"))
    from engine.tracing import trace_conditions

    trace_conditions(config, "train", "dev", "ood")


if __name__ == "__main__":
    run(main)
