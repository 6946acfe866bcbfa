"""The folder of a training run: what describes it, and what a resumed run continues from.

Written after every epoch: anti-spoofing_feat_model.pt (the best epoch so far, see is_best()), checkpoint/ (the
weights of every epoch), last/state.pt (all that --continue_training needs), args.json (what made the run), log.jsonl
(a line an epoch) and tensorboard/.
"""

import json
import math
import platform
import threading
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from data.classes import known_class_names
from data.clip_lists import LIST_FLAGS, adopt_lists, digest_of_list, uses_lists
from engine.run_state import REMEDY, read_state
from models.weights import Run, read_run, trained_state
from utils.errors import InputError
from utils.files import naming_unwritable, save_tensors, write_json, write_text
from utils.hardware import hardware
from utils.model_files import CHECKPOINT, LOG, RUN_JSON
from utils.reading import read_json
from utils.tensors import content_digest

STATE = "last/state.pt"
EPOCHS = "checkpoint"  # the folder of the weights of every epoch
PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "peft", "numpy")
# What a resumed run may change: where things lie, how fast it goes, and how long.
FREE_TO_CHANGE = {
    *("num_epochs", "continue_training", "num_workers", "gpu", "skip_missing", "SSL_path", "ood_detector_name"),
    "ssl_norm",  # what it comes to for this front end may not change: models.building.check_record()
    "gradient_checkpointing",  # it computes the same
    *("tpr", "resamples", "cluster", "on_bad_audio", "condition", "dev_speakers", "test_speakers"),
}


def configs_of_runs(config):
    """The configurations of the runs of --seeds, each with a folder of its own; without --seeds, only `config`."""
    runs = []
    for seed in config.seeds:
        folder = config.out_fold / f"seed-{seed}"
        begun = (folder / STATE).exists()
        resume = config.continue_training and begun
        runs.append(replace(config, seed=seed, seeds=(), out_fold=folder, continue_training=resume))
    return runs or [config]


def describe_run(config, label_files, classes=None):
    """What makes a run, for args.json: configuration, versions, hardware, the SHA-256 of each label file.

    With `classes`, the names of the known classes, these too.
    """
    return {
        "config": json.loads(config.json_text()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "hardware": hardware(),
        "data": {str(path): digest_of_list(path) for path in label_files},
    } | ({"classes": list(classes)} if classes else {})


def class_names_of_run(config):
    """Names [--num_classes] of the known classes of the model in --model_folder.

    They come from args.json. Older runs lack them there; then they come from the corpus.
    """
    names = read_run(config.model_folder).get("classes", ())
    return names if len(names) == config.num_classes else known_class_names(config)


def with_lists_of_run(config):
    """`config` with the lists that the model in --model_folder was trained on, where it names no corpus itself."""
    run = read_run(config.model_folder).get("config", {})
    lists = {name: run[name] for name in LIST_FLAGS if run.get(name)}
    return adopt_lists(config, lists, config.model_folder)


def with_names_of_run(config):
    """`config` with the lists and class names of the model in --model_folder: by the names, labels become classes."""
    config = with_lists_of_run(config)
    names = read_run(config.model_folder).get("classes")
    if not uses_lists(config) or config.class_names or not names:
        return config
    return replace(config, class_names=tuple(names))


def check_out_fold(config, description):
    """Raise InputError when --out_fold holds a run that `config` would overwrite, or cannot continue."""
    folder = config.out_fold
    if config.continue_training:
        check_same_run(config, description)
        return
    # When the disk is full in the first epoch, only args.json and checkpoint/ remain: they are no run.
    held = [name for name in (CHECKPOINT, STATE, LOG) if (folder / name).exists()]
    if held:
        raise InputError(
            f"{folder} already holds a training run ({held[0]}): pass --continue_training to continue it,"
            " or give another --out_fold"
        )


def is_place(value):
    """Whether the value of a flag says where things lie, or nothing."""
    return value is None or isinstance(value, Path) or (isinstance(value, tuple) and all(map(is_place, value)))


def check_same_run(config, description):
    """Raise InputError when --out_fold holds no run, or one that other flags or label files have made."""
    folder = config.out_fold
    path = folder / RUN_JSON
    if not (folder / STATE).exists():
        raise InputError(f"{folder / STATE} does not exist, so there is no run to continue in {folder}")
    stored = read_json(path, Run, REMEDY)
    flags = stored["config"]
    data = list(stored.get("data", {}).values())
    paths = {name for name, value in asdict(config).items() if is_place(value)}
    for name, value in description["config"].items():
        if name not in FREE_TO_CHANGE | paths and name in flags and flags[name] != value:
            stored, given = (
                " ".join(map(str, some)) if isinstance(some, list) else some for some in (flags[name], value)
            )
            raise InputError(
                f"{path}: this run was trained with --{name} {stored}, not {given}:"
                f" give the same, or another --out_fold"
            )
    if data != list(description["data"].values()):
        raise InputError(f"{path}: the label files have changed since this run began: use another --out_fold")


def restore_run(folder, model, optimizer, loss, accelerator, frozen):
    """Put back the model, the optimizer, the weights of the loss and the gradient scale of a run; give its history.

    The history is [{"epoch", "train_loss", "dev_loss", ...}]. Raises InputError when the state is damaged, or the run
    had another front end than that of digest `frozen`.
    """
    state = read_state(folder / STATE, frozen, model, optimizer, loss)
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    loss.load_state_dict(state["objective"])
    if accelerator.scaler and state.get("scaler"):
        accelerator.scaler.load_state_dict(state["scaler"])
    processes = state.get("processes", accelerator.num_processes)
    if processes != accelerator.num_processes:
        accelerator.print(
            f"{folder}: {processes} process(es) shared each batch so far, now {accelerator.num_processes} do."
            " Batch norm then sees other parts of a batch, so the weights differ from those of an uninterrupted run"
        )
    return state["history"]


def save_epoch(folder, description, model, optimizer, loss, history, accelerator):
    """Write the weights of the epoch and all that a resumed run needs; then finish_epoch()."""
    trained = trained_state(model)
    best_by = description["config"].get("best_by", "loss")
    write_json(folder / RUN_JSON, description)
    save_tensors(folder / EPOCHS / f"{Path(CHECKPOINT).stem}_{len(history)}.pt", trained)
    state = {
        "model": trained,
        "optimizer": optimizer.state_dict(),
        "objective": loss.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
        "frozen": description["frozen"],
        "processes": accelerator.num_processes,
        "history": history,
    }
    save_tensors(folder / STATE, state | {"digest": content_digest(state)})
    finish_epoch(folder, trained, history, best_by)


def is_best(history, best_by):
    """Whether the last epoch of `history` is the best so far: by its lowest loss, or by its highest macro F1."""
    *before, last = [-row["dev_loss"] if best_by == "loss" else row[f"dev_{best_by}"] for row in history]
    return last > max(before, default=-math.inf)


def finish_epoch(folder, trained, history, best_by):
    """Write what follows from the weights of the last epoch and the history: best weights, log and TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    if is_best(history, best_by):
        save_tensors(folder / CHECKPOINT, trained)
    write_text(folder / LOG, "".join(json.dumps(row) + "\n" for row in history))
    shown, threading.excepthook = threading.excepthook, ignore_thread_error
    board = folder / "tensorboard"
    with naming_unwritable(board), SummaryWriter(board, purge_step=len(history)) as writer:
        for name, value in history[-1].items():
            if name != "epoch":
                writer.add_scalar(name, value, len(history))
    threading.excepthook = shown  # not after an error: the writer's thread may still be on its way to the hook


def ignore_thread_error(error):
    """Print nothing about a failed thread of TensorBoard's: the main thread raises the same error."""


def how_to_continue(folder):
    """How the user goes on with a run in `folder` that was stopped, in words."""
    if (folder / STATE).exists():
        return f"{folder} holds all epochs that are complete; the same command with --continue_training continues there"
    return "no epoch is complete yet; the same command starts again"
