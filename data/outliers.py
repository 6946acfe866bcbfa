"""Outliers: clips of no known class, on which training asks for equal shares of all classes (--outliers)."""

import os
from itertools import islice

import torch

from data.channels import audio_files
from data.classes import known_class_names
from data.clip_lists import ordered_names
from data.clip_table import label_of_folder, read_table
from data.protocols import Clip
from utils.errors import InputError, MissingInput
from utils.hardware import is_first_process

OUTLIER = -1  # their label


def rows_of_outliers(config):
    """[(path, label, source)] of a folder of audio, with or without subfolders of labels, or of a list of clips.

    A label may be "". Raises MissingInput or InputError where the folder, the list, or a file of it cannot be used.
    """
    path = config.outliers
    if path.is_dir():
        parts = [(file, file.relative_to(path).parts) for file in audio_files(path)]
        return [(file, label_of_folder(names[0]) if len(names) > 1 else "", str(path)) for file, names in parts]
    try:
        table = read_table(path, ("file", config.label_column), config.list_audio, config.list_format)
    except MissingInput:
        raise MissingInput(f"--outliers {path} does not exist: give a folder of audio, or a list of clips") from None
    for message in (*table.problems, *table.missing.values()):
        raise InputError(message)
    return [(clip.path, clip.label, clip.source) for clip in table.clips]


def read_outliers(config, clips):
    """The Clips of --outliers, [] without it; what they are is printed. `clips` are those of training and development.

    Raises InputError where an outlier is one of `clips`, where it has the label of a known class, and for a loss that
    has no equal shares.
    """
    if not config.outliers:
        return []
    if config.base_loss == "bce":
        raise InputError("--outliers needs shares of classes that add up to 1: give another --base_loss than bce")
    rows = rows_of_outliers(config)
    names = known_class_names(config)
    known = [(label, source) for _, label, source in rows if label in names]
    if known:
        label, source = known[0]
        raise InputError(
            f"--outliers {config.outliers}: {len(known)} of {len(rows)} clips have the label of a class that is trained"
            f" (first {source}: {label}): leave them out"
        )
    used = {os.path.realpath(clip.path) for clip in clips}
    doubles = [path for path, _, _ in rows if os.path.realpath(path) in used]
    if doubles:
        raise InputError(
            f"--outliers {config.outliers}: {len(doubles)} of {len(rows)} clips are also training or development clips"
            f" (first {doubles[0]}): leave them out"
        )
    if is_first_process():
        labels = ", ".join(ordered_names(label for _, label, _ in rows if label))
        print(
            f"{config.outliers}: {len(rows)} outlier clips{labels and ' of '}{labels}; each batch gets as many as fit"
        )
    return [Clip(str(path), path, OUTLIER, source) for path, _, source in rows]


def share_out(outliers, sizes, generator):
    """As many of `outliers`, a list, as each of `sizes`, the sizes of batches, says, but each at most once: [list].

    They are drawn in the order of random permutations, so that all take part equally often.
    """

    def stream():
        while True:
            yield from (outliers[place] for place in torch.randperm(len(outliers), generator=generator).tolist())

    drawn = stream()
    return [list(islice(drawn, min(size, len(outliers)))) for size in sizes]
