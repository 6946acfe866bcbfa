"""F1 of known codecs under other configurations (paper, Table 4), from result/result_C*.txt.

python evaluate_id_config.py --result result --json result/id_config.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, *path_flags("config"))
    from evaluation.known_sources import measure_conditions, print_conditions
    from evaluation.tables import print_legend, write_metrics

    metrics = measure_conditions(config, "config")
    print_conditions(metrics, config, "Other configurations of known codecs (Table 4)")
    print_legend(config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
