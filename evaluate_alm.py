"""F1 of the output of audio language models (paper, Table 6), from result/alm/*.txt.

python evaluate_alm.py --result result --json result/alm.json
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from evaluation.f1 import evaluate

    evaluate(config, "alm", "Audio language models (Table 6)")


if __name__ == "__main__":
    run(main)
