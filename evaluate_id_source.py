"""F1 of known codecs on another source of speech (paper, Table 4), from result/result_ncssd_*.txt.

python evaluate_id_source.py --result result --json result/id_source.json
"""

from config import parse_config
from utils.errors import run


def main(argv=None):
    config = parse_config(__doc__, argv)
    from evaluation.f1 import evaluate

    evaluate(config, "source", "Known codecs on another source of speech (Table 4)")


if __name__ == "__main__":
    run(main)
