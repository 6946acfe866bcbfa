"""EER of spoof detection and F1 of each task of the taxonomy, from result/taxonomy/{bin,aux,dec,vq}_score.txt.

    python evaluate_taxonomy.py --data_root codecfake_plus --dataset_type CoSG --json result/taxonomy/cosg.json
    python evaluate_taxonomy.py --dataset_type CoSG --eval_list CoSG_SEEN.txt --task AUX --score_file scores.txt

Scores are joined to the list by name. The F1 of the papers is weighted by the number of clips of each class, real
speech included; the macro F1 is the mean over the classes that occur.
"""

from config_taxonomy import CORPUS, TaxonomyConfig, TaxonomyEvaluation
from utils.errors import run
from utils.flags import parse_flags
from utils.settings import Intervals, Results


def main(argv=None):
    shown = (*CORPUS, "eval_list", "task", "seed", TaxonomyEvaluation, Results, Intervals)
    config = parse_flags(__doc__, argv, TaxonomyConfig, *shown)
    from evaluation.tables import write_metrics
    from evaluation.taxonomy import measure_taxonomy, print_taxonomy

    metrics = measure_taxonomy(config)
    print_taxonomy(metrics, config)
    write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
