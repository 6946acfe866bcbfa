"""Trace the output of audio language models to the codec that they are built on -> result/alm/*.txt.

python source_tracing_ALM.py --data_root st-codecfake --model_folder models/w2v
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from engine.tracing import trace

    trace(config, "alm")


if __name__ == "__main__":
    run(main)
