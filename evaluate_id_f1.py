"""Macro and per-class F1 of the closed-set test (paper, Table 3), from result/result_id.txt.

python evaluate_id_f1.py --data_root st-codecfake --result result --json result/id_f1.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, *path_flags("id"))
    from evaluation.known_sources import measure_closed_set, print_closed_set
    from evaluation.tables import print_legend, write_metrics

    metrics = measure_closed_set(config)
    print_closed_set(metrics, config)
    print_legend(config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
