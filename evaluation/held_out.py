"""The spectral fingerprint on clips of groups that its training never heard.

A random split rewards what the clips of one group share: the microphone, the resampler, the corpus. So each group is
held out in turn, and the reader of the fingerprint is trained on the others.
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from data.audio import SAMPLE_RATE, load_wave
from data.classes import CLASSES, OTHER_CODEC, REAL
from data.clip_table import read_clip_table
from evaluation.calibration import DEFAULT_DETECTOR, check_enough_clips, describe_calibration, score_clips
from models.fingerprint import Fingerprint, fingerprint_views
from ood_detectors import Outputs
from utils.console import print_table
from utils.errors import InputError

LONGEST = 60 * SAMPLE_RATE  # samples that are read of a file
BATCH = 64
SMOOTHING = 0.05  # of the labels
WRONG_NAME = 0.03  # share of the held-out codec clips that may get the name of another codec
CALLED_REAL = 0.06  # share of the held-out codec clips that may be called real
NOT_REAL = 0.02  # share of the held-out real clips that may be called an unknown codec


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


class Judged(NamedTuple):
    """What readers that never heard a clip's group say of it; `names` are the classes."""

    names: list
    labels: Tensor  # [n], classes
    logits: Tensor  # [n, classes]; -inf for a class that the training of the reader lacked
    scores: Tensor  # [n], of DEFAULT_DETECTOR
    unseen: Tensor  # [n], bool: no clip of this codec was in the training of the reader


def groups_of(clips, label):
    """The groups that have clips of this label, a set."""
    return {clip.group for clip in clips if clip.label == label}


def class_labels(clips):
    """The class [n] of each clip, text: its label, or OTHER_CODEC for a codec that only one group has.

    Nothing shows how well such a codec is recognised in another group, so no verdict names it.
    """
    alone = {clip.label for clip in clips if len(groups_of(clips, clip.label)) == 1} - {CLASSES[REAL]}
    return [OTHER_CODEC if clip.label in alone else clip.label for clip in clips]


def judge_held_out(views, clips, config):
    """The Judged clips, each by a reader that never heard the clip's group."""
    labels = np.array(class_labels(clips))
    groups = np.array([clip.group for clip in clips])
    names = class_names_of(labels)
    logits = torch.full((len(clips), len(names)), -torch.inf)
    scores = torch.zeros(len(clips), dtype=torch.float64)
    for group in tqdm(sorted(set(groups)), desc="held out", unit="group"):
        held_out = groups == group
        reader, train = fit_reader(views[~held_out], labels[~held_out], groups[~held_out], config)
        with torch.inference_mode():
            test = Outputs(*reader.read(views[held_out]), None)
        columns = [names.index(name) for name in class_names_of(labels[~held_out])]
        logits[np.ix_(held_out, columns)] = test.logits
        if config.save:
            scores[torch.from_numpy(held_out)] = score_clips(train, test, [DEFAULT_DETECTOR])[DEFAULT_DETECTOR]
    targets = torch.tensor([names.index(label) for label in labels])
    unseen = torch.from_numpy(labels == OTHER_CODEC) | logits[range(len(clips)), targets].isinf()
    return Judged(names, targets, logits, scores, unseen)


def class_names_of(labels):
    """The classes of `labels` [n], text, in alphabetical order, real speech before all others."""
    return sorted({str(name) for name in labels}, key=lambda name: (name != CLASSES[REAL], name))


def fit_reader(views, labels, groups, config):
    """(a trained Fingerprint, its Outputs of its own training clips) of clips with these labels [n] and groups [n]."""
    names = class_names_of(labels)
    targets = torch.tensor([names.index(label) for label in labels])
    weights = sampling_weights(labels.tolist(), groups.tolist())
    reader = train_reader(views, targets, weights, len(names), config)
    with torch.inference_mode():
        features, logits = reader.read(views)
    return reader, Outputs(features, logits, targets, (reader.head.weight.detach(), reader.head.bias.detach()))


def fit_final_reader(views, clips, config):
    """What fit_reader() gives of all clips."""
    return fit_reader(views, np.array(class_labels(clips)), np.array([clip.group for clip in clips]), config)


def calibrate_held_out(judged, train, tpr):
    """What describe_calibration() gives of the clips whose class every reader had learned; `train` are Outputs."""
    rows = ~judged.unseen
    dev = Outputs(None, judged.logits[rows], judged.labels[rows])
    description, tensors = describe_calibration(train, dev, {DEFAULT_DETECTOR: judged.scores[rows]}, tpr)
    return description | {"limits": find_limits(judged, description["temperature"])}, tensors


def find_limits(judged, temperature):
    """The limits of verdicts {"codec", "real", "not_real"}, see prediction/verdict.py, of all Judged clips.

    They are probabilities. Each is the smallest, or for not_real the largest, that keeps a kind of wrong answer at the
    share that the constants above allow. A codec that no reader had learned counts as any other codec.
    """
    probabilities = (judged.logits.double() / temperature).softmax(dim=1).numpy()
    names = np.array(judged.names)
    truth = names[judged.labels.numpy()]
    real, codec = truth == CLASSES[REAL], names != CLASSES[REAL]
    named = names[codec][probabilities[:, codec].argmax(axis=1)]
    wrong = (named != truth) & (named != OTHER_CODEC)
    of_real = probabilities[:, ~codec].max(axis=1)
    of_wrong = np.where(wrong, probabilities[:, codec].max(axis=1), 0)
    return {
        "codec": float(np.quantile(of_wrong[~real], 1 - WRONG_NAME)),
        "real": float(np.quantile(of_real[~real], 1 - CALLED_REAL)),
        "not_real": float(np.quantile(of_real[real], NOT_REAL)),
    }


def measure_held_out(clips, judged):
    """Metrics in % of the Judged clips: F1 over the labels that two groups or more have, and the share called real."""
    known = ~judged.unseen.numpy()
    truth = np.array(judged.names)[judged.labels.numpy()][known].tolist()
    answers = np.array(judged.names)[judged.logits.argmax(dim=1).numpy()][known].tolist()
    tested = sorted(set(truth))
    f1 = f1_score(truth, answers, labels=tested, average=None, zero_division=0)
    rows = list(zip(truth, answers, strict=True))
    return {
        "clips": len(truth),
        "groups": len({clip.group for clip in clips}),
        "macro_f1": 100 * float(f1.mean()),
        "labels": [
            {
                "label": label,
                "groups": len(groups_of(clips, label)),
                "clips": truth.count(label),
                "f1": 100 * float(value),
                "called_real": 100 * rows.count((label, CLASSES[REAL])) / truth.count(label),
            }
            for label, value in zip(tested, f1, strict=True)
        ],
    }


def read_held_out_clips(config):
    """[TableClip] of config.table.

    Raises InputError where fewer than two labels have clips in two groups or more, and where too few clips have such a
    label to calibrate --save on them.
    """
    clips = read_clip_table(config.table, config.group)
    tested = [label for label in {clip.label for clip in clips} if len(groups_of(clips, label)) > 1]
    if len(tested) < 2:
        raise InputError(
            f"{config.table}: {len(tested)} labels have clips in two groups or more, expected at least 2: give another"
            " --group"
        )
    if config.save:
        check_enough_clips(sum(clip.label in tested for clip in clips), config.tpr)
    return clips


def print_held_out(metrics):
    """Print what measure_held_out() gives."""
    print(f"Spectral fingerprint, each of {metrics['groups']} groups held out in turn")
    rows = [
        (row["label"], row["groups"], row["clips"], f"{row['f1']:.1f}", f"{row['called_real']:.1f}")
        for row in metrics["labels"]
    ]
    rows.append(("macro", metrics["groups"], metrics["clips"], f"{metrics['macro_f1']:.1f}", ""))
    print_table(("label", "groups", "clips", "F1 (%)", "called real (%)"), rows)
