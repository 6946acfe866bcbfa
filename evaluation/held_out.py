"""The spectral fingerprint on clips of groups that its training never heard.

A random split rewards what the clips of one group share: the microphone, the resampler, the corpus. So each group is
held out in turn, and the reader of the fingerprint is trained on the others.
"""

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from data.audio import SAMPLE_RATE, load_wave
from data.classes import CLASSES, REAL
from data.clip_table import read_clip_table
from models.fingerprint import Fingerprint, fingerprint_views
from utils.console import print_table
from utils.errors import InputError

LONGEST = 60 * SAMPLE_RATE  # samples that are read of a file
BATCH = 64
SMOOTHING = 0.05  # of the labels


def read_fingerprints(clips):
    """Fingerprints [n, views, bins] of TableClips. Raises InputError for a file that cannot be read."""
    views = []
    for clip in tqdm(clips, desc="fingerprints", unit="file"):
        wave = torch.from_numpy(load_wave(clip.path, LONGEST))
        views.append(fingerprint_views(wave[None])[0])
    return torch.stack(views)


def sampling_weights(labels, groups):
    """How often training draws each clip [n]: all labels equally; within a label, a group by the root of its size."""
    cells = list(zip(labels, groups, strict=True))
    size = {cell: cells.count(cell) for cell in set(cells)}
    weights = np.array([size[cell] ** -0.5 for cell in cells])
    for label in set(labels):
        members = np.array([other == label for other in labels])
        weights[members] /= weights[members].sum()
    return torch.from_numpy(weights)


def train_reader(views, targets, weights, classes, config):
    """A Fingerprint trained on fingerprints [n, views, bins] of classes `targets` [n]: AdamW on one cycle."""
    torch.manual_seed(config.seed)
    reader = Fingerprint(classes).train()
    batches = max(1, len(views) // BATCH)
    optimizer = torch.optim.AdamW(reader.parameters(), config.lr, weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.num_epochs * batches)
    for _ in range(config.num_epochs):
        for rows in torch.multinomial(weights, batches * BATCH, replacement=True).view(batches, BATCH):
            _, logits = reader.read(views[rows])
            loss = cross_entropy(logits, targets[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
    return reader.eval()


def predict_held_out(views, clips, config):
    """The label [n] that each clip gets from a reader that never heard the clip's group."""
    labels = np.array([clip.label for clip in clips])
    groups = np.array([clip.group for clip in clips])
    predicted = np.empty(len(clips), dtype=object)
    for group in tqdm(sorted(set(groups)), desc="held out", unit="group"):
        held_out = groups == group
        known = sorted(set(labels[~held_out]))
        targets = torch.tensor([known.index(label) for label in labels[~held_out]])
        weights = sampling_weights(labels[~held_out].tolist(), groups[~held_out].tolist())
        reader = train_reader(views[~held_out], targets, weights, len(known), config)
        with torch.inference_mode():
            answers = reader.read(views[held_out])[1].argmax(dim=1)
        predicted[held_out] = [known[answer] for answer in answers.tolist()]
    return predicted


def measure_held_out(config):
    """Metrics in % of the fingerprint with each group of the table held out in turn.

    F1 is over the labels that two groups or more have: of other labels no reader has learned anything when their group
    is held out. Raises InputError where there are fewer than two groups or labels, and as read_clip_table() does.
    """
    clips = read_clip_table(config.table, config.group)
    labels = [clip.label for clip in clips]
    groups = {label: {clip.group for clip in clips if clip.label == label} for label in sorted(set(labels))}
    tested = [label for label, own in groups.items() if len(own) > 1]
    if len(tested) < 2:
        raise InputError(
            f"{config.table}: {len(tested)} labels have clips in two groups or more, expected at least 2: give another"
            " --group"
        )
    predicted = predict_held_out(read_fingerprints(clips), clips, config)
    rows = [(label, answer) for label, answer in zip(labels, predicted, strict=True) if label in tested]
    truth, answers = map(list, zip(*rows, strict=True))
    f1 = f1_score(truth, answers, labels=tested, average=None, zero_division=0)
    real = CLASSES[REAL]
    return {
        "clips": len(truth),
        "groups": len({clip.group for clip in clips}),
        "macro_f1": 100 * float(f1.mean()),
        "labels": [
            {
                "label": label,
                "groups": len(groups[label]),
                "clips": truth.count(label),
                "f1": 100 * float(value),
                "called_real": 100 * rows.count((label, real)) / truth.count(label),
            }
            for label, value in zip(tested, f1, strict=True)
        ],
    }


def print_held_out(metrics):
    """Print what measure_held_out() gives."""
    print(f"Spectral fingerprint, each of {metrics['groups']} groups held out in turn")
    rows = [
        (row["label"], row["groups"], row["clips"], f"{row['f1']:.1f}", f"{row['called_real']:.1f}")
        for row in metrics["labels"]
    ]
    rows.append(("macro", metrics["groups"], metrics["clips"], f"{metrics['macro_f1']:.1f}", ""))
    print_table(("label", "groups", "clips", "F1 (%)", "called real (%)"), rows)
