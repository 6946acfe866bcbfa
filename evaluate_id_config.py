"""F1 of known codecs under other configurations (paper, Table 4), from result/result_C*.txt.

python evaluate_id_config.py --result result --json result/id_config.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, *path_flags("config"))
    from evaluation.known_sources import evaluate_conditions

    evaluate_conditions(config, "config")


if __name__ == "__main__":
    run(main)
