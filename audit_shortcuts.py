"""Which simple measures separate the classes of a corpus, and does a trained model depend on them?

    python audit_shortcuts.py --data_root st-codecfake --data_alone
    python audit_shortcuts.py --data_root st-codecfake --model_folder models/w2v --json result/audit.json

The first table holds, for each measure of data/measures.py (level, length, silence ...) and each class of the
closed-set test, the AUC in % of that class against all others: 50 says nothing about the class, 0 and 100 say
everything. The second table holds the model on clips from which a shortcut is removed, or of which nothing else is
left: macro F1, the mean probability of the true class, and the share of clips with the same answer as untreated.
save_feats/treated/ keeps the embeddings, so that a stopped run can continue. report.py draws both tables.
"""

from dataclasses import dataclass

from config import Config
from data.conditions import path_flags
from utils.errors import run
from utils.flags import opt, parse_flags
from utils.settings import Compute, Intervals, Results, TreatedClips

SHOWN = ("data_root", *path_flags("id"), "num_classes", "model_folder", "save_feats", "batch_size", "seed")


@dataclass(frozen=True)
class AuditConfig(TreatedClips, Config):
    """Audit."""

    data_alone: bool = opt(False, "audit only the corpus, without a model")


def main(argv=None):
    config = parse_flags(__doc__, argv, AuditConfig, *SHOWN, Results, Intervals, Compute, TreatedClips, "data_alone")
    from evaluation.shortcuts import measure_shortcuts, print_shortcuts
    from evaluation.tables import write_metrics
    from utils.hardware import is_first_process

    metrics = measure_shortcuts(config)
    if is_first_process():
        print_shortcuts(metrics, config)
        write_metrics(config, metrics)


if __name__ == "__main__":
    run(main)
