"""Run a trained model over test conditions; shared by every source_tracing script."""

from dataclasses import replace
from pathlib import Path

import torch

from data.classes import number_of_classes
from data.conditions import select
from data.dataset import Clips
from data.protocols import check_audio
from engine.bad_audio import write_bad_audio
from engine.cached_features import cached_features, check_cacheable
from engine.feature_files import write_features
from engine.inference import compile_model, infer_in_shards, make_accelerator
from engine.score_files import write_class_scores
from models.building import adopt_run_settings, load_model
from models.weights import head_weights
from utils.errors import MissingInput, resume_hint
from utils.locks import lock_folders

HOW_TO_RESUME = "the same command goes on where it was"


def read_conditions(config, conditions):
    """[(condition, clips)] with every label file read and every audio file seen, before a model is built.

    Raises InputError for a broken corpus; a corpus that is absent is named and passed over with --skip_missing, a file
    with --on_bad_audio skip when its turn comes.
    """
    present = []
    for condition in conditions:
        try:
            clips = condition.clips(config)
            check_audio(clips, folders_only=config.on_bad_audio == "skip")
            present.append((condition, clips))
        except MissingInput as absent:
            if not config.skip_missing:
                raise MissingInput(f"{absent} (condition {condition.name}; or pass --skip_missing)") from None
            print(f"skipped {condition.name}: {absent}")
    return present


def write_condition(config, condition, clips, features, logits, head):
    """Write the files of a condition; `head` is the model's last layer, which the training set's take along."""
    names = [clip.name for clip in clips]
    if condition.result:
        write_class_scores(config.result / condition.result[0], names, logits)
        print(f"wrote {config.result / condition.result[0]} ({len(clips)} files)")
    if condition.features:
        labels = torch.tensor([clip.label for clip in clips])
        head = head if condition.suite == "train" else None
        write_features(config.save_feats / condition.features, features, logits, labels, names, head)
        print(f"wrote {config.save_feats / condition.features} ({len(clips)} files)")


def trace(config, *suites):
    """Write the score file and the embeddings file of each condition of `suites` that --condition selects.

    Parts of them lie beside them, in hidden folders, until all are written: a stopped run continues from those.
    Raises InputError for a clip of which the model makes no number, such as one of extreme level, and where another
    run writes into the same folders.
    """
    config = adopt_run_settings(config.model_folder, config)
    config = replace(config, num_classes=number_of_classes(config))
    work = read_conditions(config, select(config, *suites))
    written = {config.result} | {config.save_feats for condition, _ in work if condition.features}
    with lock_folders(*written), resume_hint(lambda: HOW_TO_RESUME):
        trace_clips(config, work)


def trace_clips(config, work):
    """trace() for what read_conditions() gives, in folders that are this run's alone."""
    check_cacheable(config)
    accelerator, written = make_accelerator(config), []
    model = load_model(config.model_folder, config).to(accelerator.device)
    data = {condition.name: Clips(clips) for condition, clips in work}
    if config.cache_features:
        place, data = cached_features(config, accelerator, data, model.front_end)
        model.replace_front_end(place)
    model = compile_model(model, config)
    for condition, clips in work:
        folder, name = (
            (config.save_feats, condition.features) if condition.features else (config.result, condition.result[0])
        )
        parts = (folder / name).with_name(f".{Path(name).stem}.parts")
        shards, positions, outputs, reasons = infer_in_shards(
            model, data[condition.name], config, accelerator, condition.name, parts
        )
        written.append(shards)
        if accelerator.is_main_process:
            kept = [clips[position] for position in positions.tolist()]
            write_condition(config, condition, kept, *outputs, head_weights(model))
            write_bad_audio(
                config.result, condition.name, [(clips[position].name, why) for position, why in reasons.items()]
            )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for shards in written:
            shards.remove()
    accelerator.end_training()
