"""How well enrolment works: codecs that the model was not trained on are enrolled and recognised."""

import numpy as np
import torch

from data.conditions import CONDITIONS, UNSEEN
from engine.feature_files import read_features
from evaluation.metrics import equal_error_rate
from prediction.enrolment import leave_one_out, limit_of
from prediction.registry import nearest_within
from utils.errors import InputError

ENROLMENT_METRICS = ("eer", "accuracy", "recognised", "taken")  # in %


def read_unseen(folder, train):
    """(features [n, d], labels [n]) of the unseen codecs, from the feature files in `folder`.

    `train` is the Outputs of the training set. Raises InputError when there are fewer than two codecs.
    """
    rows = [row for row in CONDITIONS if row.suite == "ood" and row.label is None]  # those with codecs as labels
    if (folder / UNSEEN.features).is_file():  # of the user's own lists
        rows = [UNSEEN]
    parts = [read_features(folder / row.features, train, condition=row) for row in rows]
    features = torch.cat([part.features for part in parts])
    labels = torch.cat([part.labels for part in parts])
    if len(labels.unique()) < 2:
        raise InputError(f"{folder} has only one unseen codec, but at least two are needed to compare them")
    return features, labels.numpy()


def measure_draw(space, groups, unseen, labels, known, k, rng):
    """{metric: value in %} of one draw: `k` random clips of each class of `labels` [n] are enrolled.

    `unseen` [n, d] and `known` [m, d] are embeddings in `space`; for `groups` see groups_of(). The metrics are those of
    ENROLMENT_METRICS, defined in evaluate_enrolment.py.
    """
    classes = np.unique(labels)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:k] for label in classes]
    prototypes = np.stack([unseen[rows].mean(axis=0) for rows in chosen])
    own = [leave_one_out(space, unseen[rows])[1] if k > 1 else None for rows in chosen]
    limits = np.array([limit_of(space, mean, groups, margins) for mean, margins in zip(prototypes, own, strict=True)])
    rest = np.delete(np.arange(len(labels)), np.concatenate(chosen))
    margins = space.margins(unseen[rest], prototypes)
    truth = np.searchsorted(classes, labels[rest])
    known_margins = space.margins(known, prototypes)
    rates = [
        equal_error_rate(-margins[truth == j, j], -np.concatenate((margins[truth != j, j], known_margins[:, j])))[0]
        for j in range(len(classes))
    ]
    shares = {
        "eer": np.mean(rates),
        "accuracy": (margins.argmin(axis=1) == truth).mean(),
        "recognised": (nearest_within(margins, limits) == truth).mean(),
        "taken": (nearest_within(known_margins, limits) >= 0).mean(),
    }
    return {name: 100 * float(share) for name, share in shares.items()}


def measure_enrolment(space, groups, unseen, labels, known, k, draws, seed):
    """({metric: mean}, {metric: standard deviation}), in %, over `draws` draws of `k` clips; see measure_draw()."""
    rows = [
        measure_draw(space, groups, unseen, labels, known, k, np.random.default_rng((seed, k, draw)))
        for draw in range(draws)
    ]
    values = np.array([[row[name] for name in ENROLMENT_METRICS] for row in rows])
    means = dict(zip(ENROLMENT_METRICS, values.mean(axis=0).tolist(), strict=True))
    deviations = dict(zip(ENROLMENT_METRICS, values.std(axis=0).tolist(), strict=True))
    return means, deviations
