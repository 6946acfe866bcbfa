"""Enrolment on held-out groups: codecs that a reader has not learned, in groups that it never heard."""

import numpy as np
from tqdm import tqdm

from data.classes import CLASSES, REAL
from prediction.enrolment import groups_of
from prediction.enrolment_metrics import ENROLMENT_METRICS, measure_enrolment
from prediction.registry import EmbeddingSpace
from utils.console import print_table

DRAWS = 20  # random choices of the enrolled clips


def evaluate_held_out_enrolment(clips, folds, config):
    """[{"k", "codecs", "clips", metric: value in %}] for each number of enrolled clips in config.enrol, and print them.

    In each Fold, the codecs that its reader has not learned are enrolled from `k` clips and tested on their other
    clips; the known clips of the same group must stay what they are. The metrics are those of evaluate_enrolment.py,
    the mean over the folds, weighted by their numbers of codecs.
    """
    rows = []
    for k in tqdm(config.enrol, desc="clips enrolled", unit="K"):
        parts = [part for fold in folds if (part := measure_fold(clips, fold, k, config.seed))]
        codecs = np.array([part["codecs"] for part in parts])
        row = {"k": k, "codecs": int(codecs.sum()), "clips": sum(part["clips"] for part in parts)}
        for name in ENROLMENT_METRICS if parts else ():
            row[name] = float(np.average([part[name] for part in parts], weights=codecs))
        rows.append(row)
    print("\nEnrolment of codecs that the reader has not learned, in groups that it never heard (%)")
    header = ("k", "codecs", "clips", *ENROLMENT_METRICS)
    print_table(
        header,
        [
            (row["k"], row["codecs"], row["clips"], *(f"{row[name]:.1f}" for name in ENROLMENT_METRICS if name in row))
            for row in rows
        ],
    )
    return rows


def measure_fold(clips, fold, k, seed):
    """{"codecs", "clips", metric: value in %} of one Fold with `k` enrolled clips; None where no codec has more."""
    labels = np.array([clip.label for clip, in_group in zip(clips, fold.rows, strict=True) if in_group])
    learned = {str(clips[row].label) for row in np.flatnonzero(~fold.rows)}
    counts = {label: int((labels == label).sum()) for label in set(labels) - learned - {CLASSES[REAL]}}
    enrolled = [label for label, count in counts.items() if count > k]
    if not enrolled:
        return None
    space = EmbeddingSpace.fit(fold.train)
    groups = groups_of(space, fold.train, fold.names)
    embedded = space.embed(fold.test.features)
    unseen = np.isin(labels, enrolled)
    numbers = np.searchsorted(sorted(enrolled), labels[unseen])
    known = embedded[np.isin(labels, sorted(learned))]
    means, _ = measure_enrolment(space, groups, embedded[unseen], numbers, known, k, DRAWS, seed)
    return {"codecs": len(enrolled), "clips": int(unseen.sum()), **means}
