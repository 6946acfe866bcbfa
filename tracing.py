"""Run a trained model over test conditions; shared by every source_tracing script."""

import ctypes
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from tqdm import tqdm

import models
from bad_audio import write_bad
from data.conditions import select
from data.dataset import Clips, Skipping, fingerprint
from data.protocols import check_audio
from errors import InputError, MissingInput
from features import write_features
from files import check_writable
from scores import write_scores
from shards import Shards, nested


def c_library():
    """glibc on Linux, else None."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None


def keep_freed_memory():
    """Let glibc keep the memory of freed tensors for the next ones.

    By default each large tensor is a mapping of its own whose pages the kernel clears again at every step: 40 % of
    the CPU time of a mel-LCNN training step.
    """
    trim_threshold, mmap_threshold = -1, -3  # mallopt's names for them, from malloc.h
    if libc := c_library():
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def make_loader(dataset, batches, num_workers):
    """Batches of `dataset`, lists of positions, from at most as many workers as there are batches."""
    if libc := c_library():
        libc.malloc_trim(0)  # what is kept and free would be copied into every worker, as this process writes to it
    workers, collate = min(num_workers, len(batches)), getattr(dataset, "collate", None)
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)


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


def to_cpu(outputs):
    """`outputs`, a tensor or tuples or dicts of them, as float32 on the CPU."""
    return nested(lambda tensor: tensor.float().cpu(), outputs)


@torch.inference_mode()
def run_batches(model, dataset, batches, config, accelerator, title):
    """(positions, outputs as float32 on the CPU, the batch's third part) of each of `batches`, lists of positions."""
    model.eval()
    loader = make_loader(dataset, batches, config.num_workers)
    for position, wave, rest in tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process):
        outputs = None
        if len(position):
            with accelerator.autocast():
                outputs = to_cpu(model(wave.to(accelerator.device, non_blocking=True)))
        # A copy: what a worker sends keeps a file open for as long as it lives.
        yield position.clone(), outputs, rest


def all_batches(dataset, size):
    """The positions of `dataset` in batches of `size`.

    They do not depend on the number of processes, which take turns at them: neither do outputs, to the last bit.
    """
    positions = range(len(dataset))
    return [positions[start : start + size] for start in positions[::size]]


def infer(model, dataset, config, accelerator, title):
    """What `model` gives for every item of `dataset`, in its order, float32 on the CPU, the same on every process."""
    share = all_batches(dataset, config.batch_size)[accelerator.process_index :: accelerator.num_processes]
    found = run_batches(model, dataset, share, config, accelerator, title)
    rows = gather_object([(position, outputs) for position, outputs, _ in found])
    order = torch.cat([position for position, _ in rows]).argsort()
    return nested(lambda *parts: torch.cat(parts)[order], *(outputs for _, outputs in rows))


def finite_rows(outputs):
    """[n], true where `outputs`, a tensor [n, ...] or tuples or dicts of them, hold finite numbers alone."""
    rows = []
    nested(lambda part: rows.append(part.isfinite().flatten(1).all(dim=1)), outputs)
    return torch.stack(rows).all(dim=0)


def describe_outputs(model, dataset, config):
    """All that the outputs of `model` for `dataset` depend on."""
    names = ("batch_size", "mixed_precision", "ssl_norm", "mae_order", "seed")
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
        positions, outputs = positions[finite], nested(lambda part: part[finite], outputs)
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
    Raises InputError for a clip of which the model makes no number, such as one of extreme level.
    """
    work = read_conditions(config, select(config, *suites))
    check_writable(config.result)
    if any(condition.features for condition, _ in work):
        check_writable(config.save_feats)
    accelerator, written = make_accelerator(config), []
    config = models.run_config(config.model_folder, config)
    model = models.load(config.model_folder, config).to(accelerator.device)
    for condition, clips in work:
        folder, name = (
            (config.save_feats, condition.features) if condition.features else (config.result, condition.result[0])
        )
        parts = (folder / name).with_name(f".{Path(name).stem}.parts")
        shards, positions, outputs, reasons = infer_in_shards(
            model, Clips(clips), config, accelerator, condition.name, parts
        )
        written.append(shards)
        if accelerator.is_main_process:
            kept = [clips[position] for position in positions.tolist()]
            write_condition(config, condition, kept, *outputs, models.head(model))
            write_bad(config.result, condition.name, [(clips[position].name, why) for position, why in reasons.items()])
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for shards in written:
            shards.remove()
    accelerator.end_training()
