"""Evaluate enrolment on codecs that the model was not trained on: EER and accuracy for K enrolled clips.

    python evaluate_enrolment.py --save_feats save_feats --k 1 5 10 20 --json result/enrolment.json

Reads traindict.pt, evaldict_id.pt, evaldict_ood7.pt and evaldict_ood8.pt (see source_tracing_id.py,
source_tracing_ood.py). K random clips of each unseen codec are enrolled, --draws times; the figures are means over the
draws, with their standard deviation, of

    EER         of the margin to one enrolled codec (enrolment.py): its other clips against those of the other
                unseen codecs and of the known test set, the mean over the codecs
    accuracy    other clips of the unseen codecs whose nearest enrolled codec is the right one
    recognised  those that are within its limit as well, which is what predict.py --registry names
    taken       known test clips that are within the limit of some enrolled codec
"""

from config_predict import EnrolmentConfig
from utils.errors import InputError, run
from utils.flags import parse_flags


def read_unseen(folder, train):
    """(features [n, d], labels [n]) of the unseen codecs. Raises InputError when there are fewer than two."""
    import torch

    from data.conditions import CONDITIONS
    from engine.feature_files import read_features

    rows = [row for row in CONDITIONS if row.suite == "ood" and row.label is None]  # labels of the corpus: codecs
    parts = [read_features(folder / row.features, train) for row in rows]
    features, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("features", "labels"))
    if len(labels.unique()) < 2:
        raise InputError(f"{folder} has one unseen codec alone: nothing to tell apart")
    return features, labels.numpy()


def draw_figures(space, groups, unseen, labels, known, k, rng):
    """(EER, accuracy, recognised, taken) in % of one draw of `k` clips of each class of `labels` [n].

    `unseen` [n, d] and `known` [m, d] are embeddings.
    """
    import numpy as np

    from evaluation.metrics import equal_error_rate
    from prediction.enrolment import left_out, limit_of, nearest_within

    classes = np.unique(labels)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:k] for label in classes]
    prototypes = np.stack([unseen[rows].mean(axis=0) for rows in chosen])
    own = [left_out(space, unseen[rows])[1] if k > 1 else None for rows in chosen]
    limits = np.array([limit_of(space, mean, groups, margins) for mean, margins in zip(prototypes, own, strict=True)])
    rest = np.delete(np.arange(len(labels)), np.concatenate(chosen))
    margins, truth = space.margins(unseen[rest], prototypes), np.searchsorted(classes, labels[rest])
    others = space.margins(known, prototypes)
    rates = [
        equal_error_rate(-margins[truth == j, j], -np.concatenate((margins[truth != j, j], others[:, j])))[0]
        for j in range(len(classes))
    ]
    named, taken = nearest_within(margins, limits) == truth, nearest_within(others, limits) >= 0
    figures = np.mean(rates), (margins.argmin(axis=1) == truth).mean(), named.mean(), taken.mean()
    return [100 * float(figure) for figure in figures]


def main(argv=None):
    config = parse_flags(__doc__, argv, EnrolmentConfig)
    import numpy as np
    from tqdm import tqdm

    from data.conditions import CONDITIONS
    from engine.feature_files import read_features
    from evaluation.f1 import write_metrics
    from prediction.enrolment import Space, groups_of
    from utils.console import print_table

    files = {row.suite: config.save_feats / row.features for row in CONDITIONS if row.suite in ("train", "id")}
    train = read_features(files["train"])
    known = read_features(files["id"], train, "source_tracing_id.py")
    features, labels = read_unseen(config.save_feats, train)
    fewest = min(np.unique(labels, return_counts=True)[1])
    if max(config.k) >= fewest:
        raise InputError(f"--k {max(config.k)}: the smallest unseen codec has {fewest} clips, and some must be left")
    space = Space.fit(train)
    groups = groups_of(space, train, range(train.logits.shape[1]))
    unseen, rest = space.embed(features), space.embed(known.features)
    names, rows, figures = ("eer", "accuracy", "recognised", "taken"), [], []
    for k in tqdm(config.k, desc="clips enrolled", unit="K"):
        draws = [
            draw_figures(space, groups, unseen, labels, rest, k, np.random.default_rng((config.seed, k, draw)))
            for draw in range(config.draws)
        ]
        mean, spread = np.mean(draws, axis=0), np.std(draws, axis=0)
        rows.append((k, *(f"{m:.2f} +- {s:.2f}" for m, s in zip(mean, spread, strict=True))))
        means = dict(zip(names, mean.tolist(), strict=True))
        figures.append({"k": k, **means, "sd": dict(zip(names, spread.tolist(), strict=True))})
    classes = np.unique(labels).tolist()
    print(
        f"{len(classes)} unseen codecs, {len(labels)} clips; {len(rest)} known test clips; {config.draws} draws; in %"
    )
    print_table(("K", "EER", "accuracy", "recognised", "taken"), rows)
    write_metrics(config, {"classes": classes, "draws": config.draws, "seed": config.seed, "figures": figures})


if __name__ == "__main__":
    run(main)
