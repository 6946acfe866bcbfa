"""Trace known classes under other sources, other configurations and unseen real speech -> result/result_*.txt.

python source_tracing_id_other.py --data_root st-codecfake --model_folder models/w2v
python source_tracing_id_other.py --data_root st-codecfake --model_folder models/w2v --condition C3-1 C4-3
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from engine.tracing import trace

    trace(config, "source", "config", "unseen_real")


if __name__ == "__main__":
    run(main)
