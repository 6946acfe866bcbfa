"""Run a trained model over test conditions; shared by every source_tracing script."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

import models
from data.classes import number_of_classes
from data.conditions import select
from data.dataset import Clips, Skipping, fingerprint
from data.protocols import check_audio
from engine.bad_audio import write_bad_audio
from engine.batches import all_batches, finite_rows, keep_freed_memory, run_batches
from engine.cached_features import cached_features, check_cacheable
from engine.feature_files import write_features
from engine.score_files import write_scores
from engine.shards import Shards, map_tensors
from utils.errors import InputError, MissingInput, resume_hint
from utils.locks import lock_folders

GO_ON = "the same command goes on where it was"


def make_accelerator(config):
    """accelerate's device and processes; without a GPU, torchrun's processes must be told to work together.

    Raises InputError when --gpu names one that is not there.
    """
    wanted = [name for name in config.gpu.split(",") if name.strip() not in ("", "-1")]
    if torch.cuda.device_count() < len(wanted):
        raise InputError(
            f"--gpu {config.gpu}: {torch.cuda.device_count()} of these GPUs can be used: name others, or -1 for none"
        )
    keep_freed_memory()
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=config.mixed_precision)


def compiled(model, config):
    """`model`, which with --compile torch.compile builds at its first batch; its weights keep their names.

    Random numbers stay those of the plain model. Raises InputError where there is no C++ compiler.
    """
    if config.compile:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise InputError(f"--compile needs a C++ compiler, but {compiler} is not there: install it, or go without")
        model.compile(options={"fallback_random": True})
    return model


def infer(model, dataset, config, accelerator, title):
    """What `model` gives for every item of `dataset`, in its order, float32 on the CPU, the same on every process."""
    share = all_batches(dataset, config.batch_size)[accelerator.process_index :: accelerator.num_processes]
    found = run_batches(model, dataset, share, config, accelerator, title)
    rows = gather_object([(position, outputs) for position, outputs, _ in found])
    order = torch.cat([position for position, _ in rows]).argsort()
    return map_tensors(lambda *parts: torch.cat(parts)[order], *(outputs for _, outputs in rows))


def describe_outputs(model, dataset, config):
    """All that the outputs of `model` for `dataset` depend on."""
    names = ("batch_size", "mixed_precision", "compile", "ssl_norm", "mae_order", "seed")
    return {
        "clips": fingerprint(dataset.clips),
        "samples": dataset.samples,
        "data": type(dataset).__name__,
        "weights": models.state_digest(model.state_dict()),
        "frozen": models.frozen_digest(model),
        "torch": torch.__version__,
    } | {name: getattr(config, name, None) for name in names}


def infer_in_shards(model, dataset, config, accelerator, title, folder):
    """infer() of Clips for scripts that write its result: (Shards, positions [n], outputs, {position: reason}).

    The shards lie in `folder` until they are removed: a run that was stopped continues from them. Only the first
    process gets more than the Shards. With --on_bad_audio skip, clips that cannot be used, or give no number, have a
    reason and no output; otherwise InputError tells of the first one.
    """
    shards = Shards(folder, describe_outputs(model, dataset, config), accelerator)
    batches = all_batches(dataset, config.batch_size)
    left = [number for number in range(len(batches)) if number not in shards.done]
    if shards.done:
        accelerator.print(f"{title}: goes on after {len(shards.done)} of {len(batches)} batches, kept in {folder}")
    share = left[accelerator.process_index :: accelerator.num_processes]
    skip = config.on_bad_audio == "skip"
    data = Skipping(dataset) if skip else dataset
    found = run_batches(model, data, [batches[number] for number in share], config, accelerator, title)
    try:
        for number, (position, outputs, rest) in zip(share, found, strict=True):
            shards.add(number, position, outputs, rest if skip else {})
    finally:
        found.close()  # and its bar's line, on which an error would stand
        shards.flush()
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return shards, None, None, None
    positions, outputs, reasons = shards.merge(len(dataset))
    if not len(positions):
        first = next(iter(reasons.values()))
        raise InputError(f"{title}: none of the {len(dataset)} clips can be used; the first: {first}")
    if reasons and not skip:  # left by a run that skipped
        raise InputError(next(iter(reasons.values())))
    finite = finite_rows(outputs)
    if not finite.all():
        silent = [(position, dataset.clips[position].path) for position in positions[~finite].tolist()]
        if not skip:
            raise InputError(
                f"what the model makes of clip {silent[0][0]} ({silent[0][1]}) is not finite, like {len(silent)} of"
                f" {len(dataset)}: check those clips and trace again"
            )
        reasons |= {position: f"{path}: what the model makes of it is not finite" for position, path in silent}
        positions, outputs = positions[finite], map_tensors(lambda part: part[finite], outputs)
    return shards, positions, outputs, reasons


def read_conditions(config, conditions):
    """[(condition, clips)] with every label file read and every audio file seen, before a model is built.

    Raises InputError for a broken corpus; a corpus that is absent is named and passed over with --skip_missing, a file
    with --on_bad_audio skip when its turn comes.
    """
    present = []
    for condition in conditions:
        try:
            clips = condition.clips(config)
            check_audio(clips, folders_alone=config.on_bad_audio == "skip")
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
        write_scores(config.result / condition.result[0], names, logits)
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
    config = models.run_config(config.model_folder, config)
    config = replace(config, num_classes=number_of_classes(config))
    work = read_conditions(config, select(config, *suites))
    written = {config.result} | {config.save_feats for condition, _ in work if condition.features}
    with lock_folders(*written), resume_hint(lambda: GO_ON):
        trace_clips(config, work)


def trace_clips(config, work):
    """trace() for what read_conditions() gives, in folders that are this run's alone."""
    check_cacheable(config)
    accelerator, written = make_accelerator(config), []
    model = models.load(config.model_folder, config).to(accelerator.device)
    data = {condition.name: Clips(clips) for condition, clips in work}
    if config.cache_features:
        model.wav2vec2, data = cached_features(config, accelerator, data, model.wav2vec2)
    model = compiled(model, config)
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
            write_condition(config, condition, kept, *outputs, models.head(model))
            write_bad_audio(
                config.result, condition.name, [(clips[position].name, why) for position, why in reasons.items()]
            )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for shards in written:
            shards.remove()
    accelerator.end_training()
