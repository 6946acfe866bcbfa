"""F1 of known codecs on another source of speech (paper, Table 4), from result/result_ncssd_*.txt.

python evaluate_id_source.py --result result --json result/id_source.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "own_conditions", *path_flags("source"))
    from evaluation.known_sources import evaluate_conditions

    evaluate_conditions(config, "source")


if __name__ == "__main__":
    run(main)
