"""F1 of the output of audio language models (paper, Table 6), from result/alm/*.txt.

python evaluate_alm.py --result result --json result/alm.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, *path_flags("alm"))
    from evaluation.known_sources import evaluate_conditions

    evaluate_conditions(config, "alm")


if __name__ == "__main__":
    run(main)
