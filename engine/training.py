"""fit(): epochs, validation, checkpoints and resuming, for both systems' training scripts."""

import hashlib
import json
import math
import platform
from dataclasses import asdict
from importlib.metadata import version

import torch
from accelerate.utils import broadcast, send_to_device, set_seed
from tqdm import tqdm

from engine.batches import make_loader
from engine.inference import compile_model, infer
from models import CHECKPOINT
from models.weights import frozen_digest, trained_state
from utils.errors import InputError, resume_hint
from utils.files import save_tensors, write_text
from utils.hardware import hardware

BEST = CHECKPOINT  # of the epoch with the lowest development loss, under --out_fold
PACKAGES = ("torch", "torchaudio", "transformers", "accelerate", "numpy")
# What a resumed run may change: where things lie, how fast it goes, and how long.
FREE_TO_CHANGE = {
    *("num_epochs", "continue_training", "num_workers", "gpu", "skip_missing", "SSL_path", "ood_detector_name"),
    *("tpr", "resamples", "cluster", "on_bad_audio"),
}


def describe_run(config, label_files):
    """What made a run: its configuration, versions and hardware it ran with, and the SHA-256 of each label file."""
    return {
        "config": json.loads(config.json_text()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "hardware": hardware(),
        "data": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in label_files},
    }


def check_out_fold(config, run):
    """Raise InputError when --out_fold holds a run that `config` would overwrite, or cannot continue."""
    folder, args = config.out_fold, config.out_fold / "args.json"
    if not config.continue_training:
        # args.json and checkpoint/ alone are what a disk that ran full in the first epoch leaves.
        held = [name for name in (BEST, "last/state.pt", "log.jsonl") if (folder / name).exists()]
        if held:
            raise InputError(
                f"{folder} already holds a training run ({held[0]}): pass --continue_training to go on with it,"
                " or another --out_fold"
            )
        return
    if not (folder / "last/state.pt").exists():
        raise InputError(f"{folder / 'last/state.pt'} does not exist, so there is no run to continue in {folder}")
    try:
        before = json.loads(args.read_text(encoding="utf-8"))
        flags, data = dict(before["config"]), list(before["data"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{args} is damaged ({error!r}): start again with another --out_fold") from None
    paths = {name for name, value in asdict(config).items() if not isinstance(value, (int, float, str, bool))}
    for name, value in run["config"].items():
        if name not in FREE_TO_CHANGE | paths and name in flags and flags[name] != value:
            raise InputError(
                f"{args}: this run was trained with --{name} {flags[name]}, not {value}:"
                f" give the same, or another --out_fold"
            )
    if data != list(run["data"].values()):
        raise InputError(f"{args}: the label files have changed since this run began: use another --out_fold")


def epoch_loader(dataset, config, epoch, accelerator):
    """Batches of one shuffled pass, split evenly over the processes, and workers for them.

    Order and augmentation depend on (seed, epoch) alone, so a resumed run repeats them. Source: shuffled, the last
    partial batch kept, as in the released code.
    """
    dataset.epoch = epoch
    shuffle = torch.Generator().manual_seed(config.seed + epoch)
    order = torch.randperm(len(dataset), generator=shuffle).tolist()
    rank, world = accelerator.process_index, accelerator.num_processes
    batches = [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]
    # Every process needs a share of every batch, or it would not meet the others in the backward pass.
    batches = [batch for batch in batches if len(batch) >= world]
    if not batches:
        raise InputError(
            f"{world} processes cannot share batches of {config.batch_size} of {len(order)} training clips:"
            " raise --batch_size, or start fewer processes"
        )
    return make_loader(dataset, [batch[rank::world] for batch in batches], config.num_workers)


def train_epoch(model, objective, optimizer, loader, accelerator, title):
    """One pass over the training set; the mean loss of its batches over every process."""
    model.train()
    total = torch.zeros((), device=accelerator.device)
    bar = tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process)
    for step, (_, wave, label) in enumerate(bar):
        wave, label = send_to_device((wave, label), accelerator.device, non_blocking=True)
        with accelerator.autocast():
            loss = objective(model(wave), label)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        total += loss.detach()  # no .item() at every step: it would wait for the GPU
        if step % 10 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    return accelerator.reduce(total / len(loader), "mean").item()


def restore_run(folder, model, optimizer, objective, accelerator, frozen):
    """The history of a run whose model, optimizer, loss weights and gradient scale are put back.

    Raises InputError when it is damaged, or was trained on another front end than that of digest `frozen`.
    """
    path = folder / "last/state.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same = state["frozen"] == frozen
        if same:
            model.load_state_dict(state["model"], strict=False)
            optimizer.load_state_dict(state["optimizer"])
            objective.load_state_dict(state["objective"])
            if accelerator.scaler and state.get("scaler"):
                accelerator.scaler.load_state_dict(state["scaler"])
            began = state.get("processes", accelerator.num_processes)
            history = state["history"]
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged ({reason}): start again with another --out_fold") from None
    if not same:
        raise InputError(
            f"{path}: this run was trained on other pretrained weights, which it keeps frozen: give the same"
        )
    if began != accelerator.num_processes:
        accelerator.print(
            f"{folder}: so far {began} process(es) shared each batch, now {accelerator.num_processes}: batch norm sees"
            " other parts of it, so the weights will not be those of an undisturbed run"
        )
    return history


def save_epoch(config, run, model, optimizer, objective, history, accelerator):
    """Write the epoch's weights and the full state, of which a resumed run makes the rest; then finish_epoch()."""
    folder, epoch, trained = config.out_fold, len(history), trained_state(model)
    write_text(folder / "args.json", json.dumps(run, indent=2) + "\n")
    save_tensors(folder / "checkpoint" / f"anti-spoofing_feat_model_{epoch}.pt", trained)
    parts = {"model": trained, "optimizer": optimizer.state_dict(), "objective": objective.state_dict()}
    parts |= {"scaler": accelerator.scaler.state_dict() if accelerator.scaler else None}
    parts |= {"frozen": run["frozen"], "processes": accelerator.num_processes, "history": history}
    save_tensors(folder / "last/state.pt", parts)
    finish_epoch(folder, trained, history)


def finish_epoch(folder, trained, history):
    """Write what follows from the last epoch's weights and the history: the best weights, the log, TensorBoard's."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    if history[-1]["dev_loss"] < min((row["dev_loss"] for row in history[:-1]), default=math.inf):
        save_tensors(folder / BEST, trained)
    write_text(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    try:
        with SummaryWriter(folder / "tensorboard", purge_step=len(history)) as writer:
            for name, value in history[-1].items():
                if name != "epoch":
                    writer.add_scalar(name, value, len(history))
    except OSError as error:
        raise InputError(f"{folder / 'tensorboard'} cannot be written: {error.strerror or error}") from None


def how_to_go_on(folder):
    """What the user of a run in `folder` that is stopped has to know."""
    if (folder / "last/state.pt").exists():
        return (
            f"{folder} holds every epoch that was whole, the same command with --continue_training goes on from there"
        )
    return "no epoch was whole, the same command starts again"


def fit(config, run, model, objective, optimizer, schedule, train, dev, measure, accelerator):
    """Train `model` until --num_epochs, writing --out_fold; with --continue_training, from the last whole epoch.

    `objective(outputs, labels)`, an nn.Module, gives the loss; `measure(outputs, labels)` the development figures,
    among them "dev_loss", by which the best epoch is chosen; `schedule(epochs done)` the factor on each initial rate.
    `run` is what describe_run() gives. Nothing is written before the first epoch has ended well. Raises InputError for
    audio that cannot be used and for a loss that is not finite.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    run = run | {"frozen": frozen_digest(model)}
    history = []
    if config.continue_training:
        history = restore_run(config.out_fold, model, optimizer, objective, accelerator, run["frozen"])
        if accelerator.is_main_process:  # the run may have been killed between two of its files
            finish_epoch(config.out_fold, trained_state(model), history)
    labels = [clip.label for clip in dev.clips]
    prepared, optimizer = accelerator.prepare(compile_model(model, config), optimizer)
    objective = accelerator.prepare(objective) if any(True for _ in objective.parameters()) else objective
    with resume_hint(lambda: how_to_go_on(config.out_fold)):
        for epoch in range(len(history) + 1, config.num_epochs + 1):
            # Reseeding makes an epoch's randomness a function of (seed, epoch, process): nothing else needs saving.
            set_seed((config.seed + 1_000_003 * epoch + accelerator.process_index) % 2**32)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule(epoch - 1)
            loader = epoch_loader(train, config, epoch, accelerator)
            title = f"epoch {epoch}/{config.num_epochs}"
            train_loss = train_epoch(prepared, objective, optimizer, loader, accelerator, title)
            broadcast(list(model.buffers()))  # every process has batch statistics of its own; the first one's are saved
            figures = measure(infer(model, dev, config, accelerator, f"{title} dev"), labels)
            row = {"epoch": epoch, "train_loss": train_loss, **figures, "lr": optimizer.param_groups[0]["lr"]}
            if not all(math.isfinite(row[name]) for name in ("train_loss", "dev_loss")):
                raise InputError(
                    f"epoch {epoch}: the loss is not finite ({row}); the last good epoch is kept: lower --lr"
                )
            history.append(row)
            if accelerator.is_main_process:
                parts = model, optimizer, accelerator.unwrap_model(objective)
                save_epoch(config, run, *parts, history, accelerator)
                print("  ".join(f"{name} {value:.5g}" for name, value in row.items()))
            accelerator.wait_for_everyone()
    return history
