"""F1 of unseen real speech (paper, Table 4), from result/result_unseenreal_*.txt.

python evaluate_id_unseenreal.py --result result --json result/id_unseenreal.json
"""

from config import EVALUATION, Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import parse_flags


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "own_conditions", *path_flags("unseen_real"))
    from evaluation.known_sources import measure_conditions, print_conditions
    from evaluation.tables import print_legend, write_metrics

    metrics = measure_conditions(config, "unseen_real")
    print_conditions(metrics, config, "Unseen real speech (Table 4)")
    print_legend(config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
