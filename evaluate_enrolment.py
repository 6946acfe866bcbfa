"""Evaluate enrolment on codecs that the model was not trained on: EER and accuracy for K enrolled clips.

    python evaluate_enrolment.py --save_feats save_feats --k 1 5 10 20 --json result/enrolment.json

Reads traindict.pt, evaldict_id.pt, evaldict_ood7.pt and evaldict_ood8.pt (see source_tracing_id.py and
source_tracing_ood.py). K random clips of each unseen codec are enrolled, --draws times. The metrics are means over the
draws, with their standard deviation:

    EER         of the margin to one enrolled codec (prediction/registry.py): its other clips against those of the
                other unseen codecs and of the known test set; the mean over the codecs
    accuracy    share of the other clips of unseen codecs whose nearest enrolled codec is the right one
    recognised  share of them that are also within its limit; these are the ones that predict.py --registry names
    taken       share of the known test clips that are within the limit of any enrolled codec
"""

from dataclasses import dataclass
from pathlib import Path

from config import Folders
from utils.errors import InputError, run
from utils.flags import Flags, number, opt, parse_flags, random_seed
from utils.settings import METRICS_JSON


@dataclass(frozen=True)
class EnrolmentConfig(Flags):
    """Evaluation of enrolment."""

    save_feats: Path = Folders.__dataclass_fields__["save_feats"]
    k: tuple[int, ...] = opt(
        (1, 5, 10, 20), "numbers of clips that are enrolled of each codec", nargs="+", type=number(int, 1)
    )
    draws: int = opt(20, "random choices of the enrolled clips", type=number(int, 1))
    seed: int = opt(688, "random seed", type=random_seed)
    json: Path = METRICS_JSON()


def main(argv=None):
    config = parse_flags(__doc__, argv, EnrolmentConfig)
    import numpy as np
    from tqdm import tqdm

    from evaluation.detection import read_known_sets
    from evaluation.freshness import MEASURED_OF, of_files
    from evaluation.tables import write_metrics
    from prediction.enrolment import groups_of
    from prediction.enrolment_metrics import ENROLMENT_METRICS, measure_enrolment, read_unseen
    from prediction.registry import EmbeddingSpace
    from utils.console import print_table

    measured_of = of_files(config, sorted(config.save_feats.glob("*.pt")))
    train, known = read_known_sets(config)
    features, labels = read_unseen(config.save_feats, train)
    classes, counts = np.unique(labels, return_counts=True)
    if max(config.k) >= min(counts):
        raise InputError(
            f"--k {max(config.k)} is too large: the smallest unseen codec has {min(counts)} clips, and some must remain"
            " for the test"
        )
    space = EmbeddingSpace.fit(train)
    groups = groups_of(space, train, range(train.logits.shape[1]))
    unseen, others = space.embed(features), space.embed(known.features)
    rows = []
    metrics = []
    for k in tqdm(config.k, desc="clips enrolled", unit="K"):
        means, deviations = measure_enrolment(space, groups, unseen, labels, others, k, config.draws, config.seed)
        rows.append((k, *(f"{means[name]:.2f} +- {deviations[name]:.2f}" for name in ENROLMENT_METRICS)))
        metrics.append({"k": k, **means, "sd": deviations})
    print(
        f"{len(classes)} unseen codecs, {len(labels)} clips; {len(others)} known test clips; {config.draws} draws; in %"
    )
    print_table(("K", "EER", "accuracy", "recognised", "taken"), rows)
    settings = {"classes": classes.tolist(), "draws": config.draws, "seed": config.seed}
    write_metrics(config, {**settings, "figures": metrics, MEASURED_OF: measured_of})


if __name__ == "__main__":
    run(main)
