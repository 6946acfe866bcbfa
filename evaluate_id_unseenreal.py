"""F1 of unseen real speech (paper, Table 4), from result/result_unseenreal_*.txt.

python evaluate_id_unseenreal.py --result result --json result/id_unseenreal.json
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from evaluation.f1 import evaluate

    evaluate(config, "unseen_real", "Unseen real speech (Table 4)")


if __name__ == "__main__":
    run(main)
