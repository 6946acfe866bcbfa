"""The spectral fingerprint on clips of groups that its training never heard.

A random split rewards what the clips of one group share: the microphone, the resampler, the corpus. So each group is
held out in turn, and the reader of the fingerprint is trained on the others.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import Tensor
from tqdm import tqdm

from data.audio import SAMPLE_RATE
from data.classes import CLASSES, OTHER_CODEC, REAL
from data.clip_lists import ordered_names
from data.clip_table import read_clip_table
from data.laundering import LAUNDERING, UNTREATED, coded_by_libsndfile, resampled, with_noise
from engine.fingerprints import fit_reader, read_fingerprints
from evaluation.calibration import (
    DEFAULT_DETECTOR,
    check_enough_clips,
    describe_calibration,
    probabilities_at,
    score_clips,
)
from evaluation.intervals import interval
from ood_detectors import Outputs
from utils.console import print_table
from utils.errors import InputError

WRONG_NAME = 0.03  # share of the held-out codec clips that may get the name of another codec
CALLED_REAL = 0.055  # share of the held-out codec clips that may be called real
NOT_REAL = 0.02  # share of the held-out real clips that may be called an unknown codec
NOISY = 0.01  # share of the held-out clips that may count as noisy
RESAMPLES = 1000  # of the groups, for intervals
OPUS_24_KBIT = (256 - 24) / 250  # the compression that libsndfile turns into 24 kbit/s
HELD_OUT_TREATMENTS = LAUNDERING | {
    "opus-24kbit": partial(coded_by_libsndfile, format="OGG", subtype="OPUS", level=OPUS_24_KBIT),
    "noise-25dB": partial(with_noise, snr=25),
    "24kHz": partial(resampled, rate=24_000),
    "first-2s": lambda wave, rng: wave[: 2 * SAMPLE_RATE],
    "first-1s": lambda wave, rng: wave[:SAMPLE_RATE],
}


class Judged(NamedTuple):
    """What readers that never heard a clip's group say of it; `names` are the classes."""

    names: list
    labels: Tensor  # [n], classes
    groups: np.ndarray  # [n], text
    logits: Tensor  # [n, classes]; -inf for a class that the training of the reader lacked
    scores: Tensor  # [n], of DEFAULT_DETECTOR
    level_ranges: Tensor  # [n], dB, see high_level_range()
    unseen: Tensor  # [n], bool: no clip of this codec was in the training of the reader


class Fold(NamedTuple):
    """The reader that did not hear one group, at work on that group."""

    rows: np.ndarray  # [n], bool: the clips of the group
    names: list  # its classes
    train: Outputs  # of its training clips
    test: Outputs  # of the clips of the group


def groups_of(clips, label):
    """The groups that have clips of this label, a set."""
    return {clip.group for clip in clips if clip.label == label}


def class_labels(clips):
    """The class [n] of each clip, text: its label, or OTHER_CODEC for a codec that only one group has.

    Nothing shows how well such a codec is recognised in another group, so no verdict names it.
    """
    single = {label for label in {clip.label for clip in clips} if len(groups_of(clips, label)) == 1}
    single.discard(CLASSES[REAL])
    return np.array([OTHER_CODEC if clip.label in single else clip.label for clip in clips])


def clip_groups(clips):
    """The group [n] of each clip, text."""
    return np.array([clip.group for clip in clips])


def judge_held_out(copies, tests, clips, config):
    """({treatment: Judged}, [Fold]): each clip by a reader that never heard the clip's group.

    Readers learn fingerprints `copies` [copies, n, views, bins], see engine/fingerprints.py. `tests` is {treatment:
    Fingerprints}; those of UNTREATED make the folds.
    """
    labels = class_labels(clips)
    groups = clip_groups(clips)
    names = ordered_names(map(str, labels))
    logits = {treatment: torch.full((len(clips), len(names)), -torch.inf) for treatment in tests}
    scores = {treatment: torch.zeros(len(clips), dtype=torch.float64) for treatment in tests}
    folds = []
    for group in tqdm(sorted(set(groups)), desc="held out", unit="group"):
        rows = groups == group
        reader, train = fit_reader(copies[:, ~rows], labels[~rows], groups[~rows], config)
        own_names = ordered_names(map(str, labels[~rows]))
        for treatment, made in tests.items():
            with torch.inference_mode():
                test = Outputs(*reader.read(made.views[rows].float()), None)
            logits[treatment][np.ix_(rows, [names.index(name) for name in own_names])] = test.logits
            if config.save:
                scored = score_clips(train, test, [DEFAULT_DETECTOR])
                scores[treatment][torch.from_numpy(rows)] = scored[DEFAULT_DETECTOR]
            if treatment == UNTREATED:
                folds.append(Fold(rows, own_names, train, test))
    targets = torch.tensor([names.index(label) for label in labels])
    unseen = torch.from_numpy(labels == OTHER_CODEC) | logits[UNTREATED][range(len(clips)), targets].isinf()
    judged = {
        name: Judged(names, targets, groups, logits[name], scores[name], made.level_ranges, unseen)
        for name, made in tests.items()
    }
    return judged, folds


# ---- what follows from it for verdicts -------------------------------------------------------------------------------


def class_fingerprints(views, labels):
    """What calibration.safetensors holds for plots: mean and spread [classes, bins] of the first view of each class.

    `views` [n, views, bins] are the fingerprints of training clips of the classes `labels` [n]; the spread is their
    standard deviation. In float16, because the values are of the order of 1.
    """
    first = [views[labels == label, 0] for label in range(int(labels.max()) + 1)]
    return {
        "fingerprint.mean": torch.stack([clips.mean(dim=0) for clips in first]).half(),
        "fingerprint.spread": torch.stack([clips.std(dim=0, correction=0) for clips in first]).half(),
    }


def calibrate_held_out(judged, train, tpr):
    """What describe_calibration() gives of the clips whose class every reader had learned; `train` are Outputs."""
    rows = ~judged.unseen
    dev = Outputs(None, judged.logits[rows], judged.labels[rows])
    kept = train._replace(features=train.features.half())  # half the size of the file that is given to others
    description, tensors = describe_calibration(kept, dev, {DEFAULT_DETECTOR: judged.scores[rows]}, tpr)
    return description | {"limits": find_limits(judged, description["temperature"])}, tensors


def find_limits(judged, temperature):
    """The limits of verdicts {"codec", "real", "not_real", "level_range"}, see prediction/verdict.py, of Judged clips.

    The first three are probabilities. Each is the smallest, or for not_real the largest, that keeps a kind of wrong
    answer at the share that the constants above allow. A codec that no reader had learned counts as any other codec.
    """
    probabilities = probabilities_at(temperature, judged.logits).numpy()
    names = np.array(judged.names)
    truth = names[judged.labels.numpy()]
    real, codec = truth == CLASSES[REAL], names != CLASSES[REAL]
    named = names[codec][probabilities[:, codec].argmax(axis=1)]
    wrong = (named != truth) & (named != OTHER_CODEC)
    of_real = probabilities[:, ~codec].max(axis=1)
    of_wrong = np.where(wrong, probabilities[:, codec].max(axis=1), 0)
    level_range = float(np.quantile(judged.level_ranges.numpy(), NOISY))
    called_real = np.where(judged.level_ranges.numpy() < level_range, 0, of_real)
    return {
        "level_range": level_range,
        "codec": float(np.quantile(of_wrong[~real], 1 - WRONG_NAME)),
        "real": float(np.quantile(called_real[~real], 1 - CALLED_REAL)),
        "not_real": float(np.quantile(of_real[real], NOT_REAL)),
    }


# ---- metrics ---------------------------------------------------------------------------------------------------------


def resampled_groups(groups, statistic):
    """[low, high] in % of statistic(rows), a share: the 95 % bootstrap interval over the `groups` [n] of clips."""
    members = {group: np.flatnonzero(groups == group) for group in sorted(set(groups))}
    rng = np.random.default_rng(0)
    draws = rng.choice(list(members), size=(RESAMPLES, len(members)))
    return interval(np.array([statistic(np.concatenate([members[group] for group in draw])) for draw in draws]))


def answers_of(judged):
    """(true class, most probable class, group) of the clips whose class every reader had learned, text [n] each."""
    known = ~judged.unseen.numpy()
    names = np.array(judged.names)
    answers = names[judged.logits.argmax(dim=1).numpy()]
    return names[judged.labels.numpy()][known], answers[known], judged.groups[known]


def macro_f1(truth, answers):
    """Mean F1 over the classes that `truth` [n] has, in [0, 1]."""
    return float(f1_score(truth, answers, labels=sorted(set(truth)), average="macro", zero_division=0))


def measure_held_out(judged):
    """Metrics in % of the Judged clips: F1 of each class that two groups or more have, and the share called real."""
    truth, answers, groups = answers_of(judged)
    tested = sorted(set(truth))
    f1 = f1_score(truth, answers, labels=tested, average=None, zero_division=0)
    return {
        "clips": len(truth),
        "groups": len(set(judged.groups)),
        "macro_f1": 100 * macro_f1(truth, answers),
        "macro_f1_interval": resampled_groups(groups, lambda rows: macro_f1(truth[rows], answers[rows])),
        "labels": [
            {
                "label": label,
                "groups": len(set(groups[truth == label])),
                "clips": int((truth == label).sum()),
                "f1": 100 * float(value),
                "called_real": 100 * float((answers[truth == label] == CLASSES[REAL]).mean()),
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
    low, high = metrics["macro_f1_interval"]
    macro = f"{metrics['macro_f1']:.1f} [{low:.1f}, {high:.1f}]"
    rows.append(("macro", metrics["groups"], metrics["clips"], macro, ""))
    print_table(("label", "groups", "clips", "F1 (%)", "called real (%)"), rows)


# ---- input -----------------------------------------------------------------------------------------------------------


def read_held_out_clips(config):
    """[TableClip] of config.table, with the labels of config.merge merged.

    Raises InputError where fewer than two labels have clips in two groups or more, where too few clips have such a
    label to calibrate on them, and where a merged label has no clip.
    """
    clips = merge_labels(read_clip_table(config.table, config.group), config.merge, config.table)
    tested = [label for label in {clip.label for clip in clips} if len(groups_of(clips, label)) > 1]
    if len(tested) < 2:
        raise InputError(
            f"{config.table}: {len(tested)} labels have clips in two groups or more, expected at least 2: give another"
            " --group"
        )
    if config.save:
        check_enough_clips(sum(clip.label in tested for clip in clips), config.tpr)
    return clips


def check_treatments(config):
    """`config` with the names of its treatments; "all" stands for every one. Raises InputError for an unknown one."""
    names = [name for name in HELD_OUT_TREATMENTS if name != UNTREATED]
    for name in config.treatments:
        if name not in (*names, "all"):
            raise InputError(f"--treatments {name}: expected all, or some of: {', '.join(names)}")
    return replace(config, treatments=tuple(names) if "all" in config.treatments else config.treatments)


def merge_labels(clips, merged, table):
    """`clips` with labels that cannot be told apart under one name: "a/b" in `merged` is the name of a and of b."""
    names = {}
    for name in merged:
        for label in name.split("/"):
            if not any(clip.label == label for clip in clips):
                raise InputError(f"--merge {name}: {table} has no clip of the label {label}")
            names[label] = name
    return [clip._replace(label=names.get(clip.label, clip.label)) for clip in clips]


def read_treated(clips, config):
    """{treatment: Fingerprints} of TableClips: without treatment, then those of --treatments."""
    tests = {UNTREATED: read_fingerprints(clips, folder=config.cache)}
    for name in config.treatments:
        tests[name] = read_fingerprints(clips, name, HELD_OUT_TREATMENTS[name], config.seed, config.cache)
    return tests
