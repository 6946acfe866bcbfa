"""Trace the output of audio language models to the codec that they are built on -> result/alm/*.txt.

python source_tracing_ALM.py --data_root st-codecfake --model_folder models/w2v
"""

from config import TRACING, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *TRACING, *path_flags("alm"))
    from engine.tracing import trace_conditions

    trace_conditions(config, "alm")


if __name__ == "__main__":
    run(main)
