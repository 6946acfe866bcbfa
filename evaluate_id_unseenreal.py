"""F1 of unseen real speech (paper, Table 4), from result/result_unseenreal_*.txt.

python evaluate_id_unseenreal.py --result result --json result/id_unseenreal.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "own_conditions", *path_flags("unseen_real"))
    from evaluation.known_sources import evaluate_conditions

    evaluate_conditions(config, "unseen_real")


if __name__ == "__main__":
    run(main)
