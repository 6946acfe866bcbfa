"""Training, of both systems: epochs, validation, and one or several runs with their folders."""

import math
from dataclasses import dataclass

import torch
from accelerate.utils import broadcast, send_to_device, set_seed
from torch.utils.data import Dataset
from tqdm import tqdm

from data.outliers import share_out
from engine.batches import make_loader
from engine.inference import compile_model, infer, make_accelerator
from engine.objectives import ClassObjective, OutlierExposure, TaskObjective
from engine.recipes import recipe_of
from engine.run_folder import (
    check_out_fold,
    configs_of_runs,
    describe_run,
    finish_epoch,
    how_to_continue,
    restore_run,
    save_epoch,
)
from models.building import check_record
from models.front_ends import front_end_in
from models.layer_mix import shares_in_words
from models.weights import frozen_digest, trained_state
from utils.errors import InputError, resume_hint
from utils.locks import lock_folders

EPOCHS_TO_LEARN = 3  # before which a run is not said to learn nothing; a third of its epochs, where that is more


@dataclass(frozen=True)
class Setup:
    """What a run trains, and on what."""

    title: str  # of the model, for the user
    model: torch.nn.Module  # wave [batch, samples] -> outputs
    objective: ClassObjective | TaskObjective  # or another one of their form
    train: Dataset  # data.dataset.Clips, or another one of its form
    dev: Dataset
    outliers: int = 0  # of the clips of `train`, the last ones

    def __str__(self):
        known = len(self.train) - self.outliers
        return f"{self.title}: {known} training and {len(self.dev)} development clips"


def epoch_loader(dataset, config, epoch, accelerator, outliers=0):
    """The batches of one shuffled pass, of which each process gets an even share.

    Order and augmentation depend only on seed and epoch, so a resumed run repeats them. As in the released code, the
    last batch may be smaller. Where the last clips of `dataset`, so many, are `outliers`, every batch gets as many of
    them as it has other clips, but no more than there are.

    Raises InputError when no batch has a clip for every process.
    """
    dataset.epoch = epoch
    shuffle = torch.Generator().manual_seed(config.seed + epoch)
    known = len(dataset) - outliers
    order = torch.randperm(known, generator=shuffle).tolist()
    rank = accelerator.process_index
    world = accelerator.num_processes
    batches = [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]
    # In the backward pass the processes wait for each other, so every one needs a share of every batch.
    batches = [batch for batch in batches if len(batch) >= world]
    if not batches:
        raise InputError(
            f"{world} processes cannot share batches of {config.batch_size} of {len(order)} training clips:"
            " raise --batch_size, or start fewer processes"
        )
    if outliers:
        others = share_out(range(known, len(dataset)), map(len, batches), shuffle)
        shares = [batch[rank::world] + other[rank::world] for batch, other in zip(batches, others, strict=True)]
    else:
        shares = [batch[rank::world] for batch in batches]
    return make_loader(dataset, shares, config.num_workers)


def train_epoch(model, loss_of, optimizer, loader, accelerator, title):
    """One pass over the training set; gives the mean of loss_of(outputs, labels) over the batches of all processes."""
    model.train()
    total = torch.zeros((), device=accelerator.device)
    bar = tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process)
    for step, (_, wave, label) in enumerate(bar):
        wave, label = send_to_device((wave, label), accelerator.device, non_blocking=True)
        with accelerator.autocast():
            loss = loss_of(model(wave), label)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        total += loss.detach()  # .item() at every step would wait for the GPU
        if step % 10 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    return accelerator.reduce(total / len(loader), "mean").item()


def train_model(config, description, setup, accelerator):
    """Train `setup.model` until --num_epochs; with --continue_training, from the last epoch that is complete.

    `description`, of describe_run(), goes into args.json. Nothing is written before the first epoch has ended well.
    Gives the history, [{"epoch", "train_loss", "dev_loss", ..., "lr"}]. Raises InputError for audio that cannot be
    used, and for a loss that is not finite.
    """
    folder = config.out_fold
    model = setup.model
    loss = setup.objective.loss
    if setup.outliers:
        loss = OutlierExposure(loss, config.outlier_weight)
    recipe = recipe_of(config)
    optimizer = recipe.optimizer(config, model, loss)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    description = description | {"frozen": frozen_digest(model)}
    front_end = front_end_in(model)
    if front_end:
        description["front_end"] = front_end.record()
    history = []
    if config.continue_training:
        history = restore_run(folder, model, optimizer, loss, accelerator, description["frozen"])
        check_record(folder, model)
        if accelerator.is_main_process:  # the run may have been killed between two of its files
            finish_epoch(folder, trained_state(model), history, getattr(config, "best_by", "loss"))
    labels = [clip.label for clip in setup.dev.clips]
    prepared, optimizer = accelerator.prepare(compile_model(model, config), optimizer)
    prepared_loss = accelerator.prepare(loss) if any(True for _ in loss.parameters()) else loss
    with resume_hint(lambda: how_to_continue(folder)):
        for epoch in range(len(history) + 1, config.num_epochs + 1):
            # The randomness of an epoch depends only on seed, epoch and process, so a resumed run repeats it.
            set_seed((config.seed + 1_000_003 * epoch + accelerator.process_index) % 2**32)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * recipe.schedule(config, epoch - 1)
            loader = epoch_loader(setup.train, config, epoch, accelerator, setup.outliers)
            title = f"epoch {epoch}/{config.num_epochs}"
            train_loss = train_epoch(prepared, prepared_loss, optimizer, loader, accelerator, title)
            broadcast(list(model.buffers()))  # each process has batch statistics of its own: those of the first count
            outputs = infer(model, setup.dev, config, accelerator, f"{title} dev")
            metrics = setup.objective.metrics(outputs, labels)
            row = {"epoch": epoch, "train_loss": train_loss, **metrics, "lr": optimizer.param_groups[0]["lr"]}
            check_finite(row)
            history.append(row)
            if accelerator.is_main_process:
                save_epoch(folder, description, model, optimizer, loss, history, accelerator)
                print("  ".join(f"{name} {value:.5g}" for name, value in row.items()))
                if epoch == max(EPOCHS_TO_LEARN, math.ceil(config.num_epochs / 3)):
                    print_unless_learned(history, setup.objective.guess(outputs, labels), setup.objective.remedies)
            accelerator.wait_for_everyone()
    for line in shares_in_words(model):
        accelerator.print(line)
    return history


def print_unless_learned(history, guess, remedies):
    """Print what to try when no dev_loss of the history is below `guess`, the loss of a model that learned nothing."""
    if min(row["dev_loss"] for row in history) >= guess:
        print(
            f"after {len(history)} epochs, no development loss is below {guess:.5g}, that of guessing by the shares of"
            f" the classes: the model has not learned. Try {remedies}"
        )


def check_finite(row):
    """Raise InputError when a loss in a row of the history is NaN or infinite."""
    if not all(math.isfinite(row[name]) for name in ("train_loss", "dev_loss")):
        raise InputError(
            f"epoch {row['epoch']}: the loss is not finite ({row}); the last good epoch is kept: lower --lr"
        )


def train_runs(config, label_files, set_up, classes=None):
    """Train a model, or one from each of --seeds; every run has a folder, which no other process may write meanwhile.

    `set_up(config, accelerator)` gives the Setup of a run. `label_files` are the files that name its clips, `classes`
    the names of the known classes. Raises InputError for a folder that holds another run.
    """
    runs = [(run, describe_run(run, label_files, classes)) for run in configs_of_runs(config)]
    with lock_folders(*(run.out_fold for run, _ in runs)):
        for run, description in runs:
            check_out_fold(run, description)
        for run, description in runs:
            accelerator = make_accelerator(run)
            setup = set_up(run, accelerator)
            accelerator.print(f"{setup}, writing {run.out_fold}")
            train_model(run, description, setup, accelerator)
        accelerator.end_training()
