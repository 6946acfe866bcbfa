"""Trace known classes under other sources, other configurations and unseen real speech -> result/result_*.txt.

python source_tracing_id_other.py --data_root st-codecfake --model_folder models/w2v
python source_tracing_id_other.py --data_root st-codecfake --model_folder models/w2v --condition C3-1 C4-3
"""

from config import TRACING, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(
        __doc__, argv, Config, *TRACING, "own_conditions", *path_flags("source", "config", "unseen_real")
    )
    from engine.tracing import trace_conditions

    trace_conditions(config, "source", "config", "unseen_real")


if __name__ == "__main__":
    run(main)
