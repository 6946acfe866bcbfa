"""Trace the closed-set test: eval_id/ -> result/result_id.txt and save_feats/evaldict_id.pt.

python source_tracing_id.py --data_root st-codecfake --model_folder models/w2v
"""

from config import TRACING, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *TRACING, *path_flags("id"))
    from engine.tracing import trace_conditions

    trace_conditions(config, "id")


if __name__ == "__main__":
    run(main)
