"""Outliers: clips of no known class, on which training asks for equal shares of all classes (--outliers)."""

import os
from itertools import islice

import torch

from data.channels import audio_files, check_files
from data.clip_lists import ordered_names
from data.clip_table import read_table
from data.corpus_formats import label_of
from data.protocols import Clip
from utils.errors import InputError, MissingInput
from utils.flags import is_default
from utils.hardware import is_first_process

OUTLIER = -1  # their label


def rows_of_outliers(config):
    """[(path, label, source)] of a folder of audio, with or without subfolders of labels, or of a list of clips.

    A label may be "". Raises MissingInput or InputError where the folder, the list, or a file of it cannot be used.
    """
    path = config.outliers
    if path.is_dir():
        parts = [(file, file.relative_to(path).parts) for file in audio_files(path)]
        return [(file, label_of(names[0]) if len(names) > 1 else "", str(path)) for file, names in parts]
    try:
        table = read_table(path, ("file", getattr(config, "label_column", "label")), getattr(config, "list_audio", ()))
    except MissingInput:
        raise MissingInput(f"--outliers {path} does not exist: give a folder of audio, or a list of clips") from None
    for message in (*table.problems, *table.missing.values()):
        raise InputError(message)
    return [(clip.path, clip.label, clip.source) for clip in table.clips]


def read_outliers(config, clips, names, label=OUTLIER):
    """The Clips of --outliers, with this `label`; [] without it. What they are is printed.

    Raises InputError where one is among `clips`, those of training and development, where its name of a class is among
    `names`, those that are trained, for a file that cannot be read as audio, and for a weight of none.
    """
    if not config.outliers:
        if not is_default(config, "outlier_weight"):
            raise InputError("--outlier_weight is only for --outliers: give that too, or leave it out")
        return []
    rows = rows_of_outliers(config)
    known = [(name, source) for _, name, source in rows if name in names]
    if known:
        trained, source = known[0]
        raise InputError(
            f"--outliers {config.outliers}: {len(known)} of {len(rows)} clips have the label of a class that is trained"
            f" (first {source}: {trained}): leave them out"
        )
    used = {os.path.realpath(clip.path) for clip in clips}
    doubles = [path for path, _, _ in rows if os.path.realpath(path) in used]
    if doubles:
        raise InputError(
            f"--outliers {config.outliers}: {len(doubles)} of {len(rows)} clips are also training or development clips"
            f" (first {doubles[0]}): leave them out"
        )
    check_files([path for path, _, _ in rows], "--outliers")
    if is_first_process():
        of = ", ".join(ordered_names(name for _, name, _ in rows if name))
        print(f"{config.outliers}: {len(rows)} outlier clips{of and ' of '}{of}; each batch gets as many as fit")
    return [Clip(str(path), path, label, source) for path, _, source in rows]


def share_out(outliers, sizes, generator):
    """[list]: for each batch, of one of `sizes`, as many of the list `outliers`. No batch has one of them twice.

    They are drawn in the order of random permutations, so that all take part equally often.
    """

    def stream():
        while True:
            yield from (outliers[place] for place in torch.randperm(len(outliers), generator=generator).tolist())

    drawn = stream()
    return [list(islice(drawn, min(size, len(outliers)))) for size in sizes]
