"""Tracing, for every source_tracing script: a trained model over sets of clips, and the files that each set gives.

Both systems have the same loop, trace_sets(). trace_conditions() runs it for the first system, trace_list() of
engine/taxonomy_tracing.py for the second.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from data.classes import number_of_classes, write_sidecar
from data.clip_lists import given_lists
from data.conditions import select, skipping_missing
from data.dataset import Clips
from data.protocols import check_audio
from engine.bad_audio import write_bad_audio
from engine.cached_features import cached_features, check_cacheable
from engine.feature_files import write_features
from engine.inference import compile_model, fill_shards, make_accelerator, usable_outputs
from engine.run_folder import class_names_of_run, with_lists_of_run
from engine.score_files import class_scores, write_score_file
from models.building import adopt_run_settings, load_model
from models.weights import head_weights
from utils.errors import resume_hint
from utils.locks import lock_folders

HOW_TO_RESUME = "the same command continues where it stopped"


class TracedSet(NamedTuple):
    """Clips to be traced, and what becomes of their outputs."""

    name: str  # in the progress bar and in bad_audio.csv
    data: Clips
    parts: Path  # hidden folder that keeps the outputs of a stopped run
    write: Callable  # (clips, outputs) -> None: writes the files of the set; clips that cannot be used are left out


def trace_sets(config, model, sets, accelerator):
    """Run `model` over each of `sets`, TracedSets, and write their files and bad_audio.csv under --result."""
    finished = []
    for traced in sets:
        shards = fill_shards(model, traced.data, config, accelerator, traced.name, traced.parts)
        finished.append(shards)
        if accelerator.is_main_process:
            skip = config.on_bad_audio == "skip"
            positions, outputs, reasons = usable_outputs(shards, traced.data, traced.name, skip)
            clips = traced.data.clips
            traced.write([clips[position] for position in positions.tolist()], outputs)
            bad = [(clips[position].name, reason) for position, reason in reasons.items()]
            write_bad_audio(config.result, traced.name, bad)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for shards in finished:
            shards.remove()
    accelerator.end_training()


# ---- first system ----------------------------------------------------------------------------------------------------


def read_conditions(config, conditions):
    """[(condition, clips)]: reads every label file and looks for every audio file before a model is built.

    Raises InputError for a broken corpus. With --skip_missing it prints the name of an absent corpus instead; with
    --on_bad_audio skip it looks only for the folders.
    """
    present = []
    for condition in conditions:
        with skipping_missing(config, condition):
            clips = condition.clips(config)
            check_audio(clips, folders_only=config.on_bad_audio == "skip")
            present.append((condition, clips))
    return present


def write_condition(config, condition, clips, outputs, head, classes):
    """Write the score file and the embeddings file that a condition has.

    `outputs` are (features [n, d], logits [n, classes]). The names of the known `classes` go beside the score file.
    `head`, the weights of the last layer of the model, goes into the embeddings file of the training set.
    """
    names = [clip.name for clip in clips]
    features, logits = outputs
    if condition.result:
        write_sidecar(config.result, classes, given_lists(config))
        write_score_file(config.result / condition.result[0], names, class_scores(logits))
    if condition.features:
        path = config.save_feats / condition.features
        labels = torch.tensor([clip.label for clip in clips])
        write_features(
            path, features, logits, labels, names, head if condition.suite == "train" else None, condition.name
        )
        print(f"wrote {path} ({len(clips)} files)")


def parts_folder(config, condition):
    """The hidden folder beside the file of a condition that keeps its outputs until the file is written."""
    file = config.save_feats / condition.features if condition.features else config.result / condition.result[0]
    return file.with_name(f".{file.stem}.parts")


def trace_conditions(config, *suites):
    """Write the score file and the embeddings file of each condition of `suites` that --condition selects.

    Where `config` names no corpus, it is that of the trained model. The names of the known classes, and the lists, are
    written beside the score files. Outputs are kept in hidden folders until all is written, so that a stopped run
    continues. Raises InputError for a clip that cannot be used, or whose output is not finite, unless --on_bad_audio
    is skip, and where another run writes into the same folders.
    """
    config = adopt_run_settings(config.model_folder, with_lists_of_run(config))
    config = replace(config, num_classes=number_of_classes(config))
    classes = class_names_of_run(config)
    config = replace(config, class_names=tuple(classes))  # of the trained model, whatever the corpus calls them
    work = read_conditions(config, select(config, *suites))
    folders = {config.result} | {config.save_feats for condition, _ in work if condition.features}
    with lock_folders(*folders), resume_hint(lambda: HOW_TO_RESUME):
        check_cacheable(config)
        accelerator = make_accelerator(config)
        model = load_model(config.model_folder, config).to(accelerator.device)
        data = {condition.name: Clips(clips) for condition, clips in work}
        if config.cache_features:
            stored, data = cached_features(config, accelerator, data, model.front_end)
            model.replace_front_end(stored)
        model = compile_model(model, config)
        head = head_weights(model)

        def traced_set(condition):
            def write(clips, outputs):
                write_condition(config, condition, clips, outputs, head, classes)

            return TracedSet(condition.name, data[condition.name], parts_folder(config, condition), write)

        trace_sets(config, model, [traced_set(condition) for condition, _ in work], accelerator)
