"""Trace the closed-set test: eval_id/ -> result/result_id.txt and save_feats/evaldict_id.pt.

python source_tracing_id.py --data_root st-codecfake --model_folder models/w2v
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from engine.tracing import trace

    trace(config, "id")


if __name__ == "__main__":
    run(main)
