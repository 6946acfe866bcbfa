"""Run a trained model over test conditions; shared by every source_tracing script."""

import ctypes
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from tqdm import tqdm

import models
from data.conditions import select
from data.dataset import Clips
from data.protocols import check_audio
from errors import InputError, MissingInput
from features import write_features
from files import check_writable
from ood_detectors.base import Outputs, check_outputs
from scores import write_scores


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
    return DataLoader(dataset, batch_sampler=batches, num_workers=min(num_workers, len(batches)))


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


def concatenate(parts):
    """Join like-built tensors, or tuples or dicts of them, along the first axis."""
    if isinstance(parts[0], dict):
        return {key: concatenate([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], tuple):
        return tuple(concatenate(column) for column in zip(*parts, strict=True))
    return torch.cat(parts)


def to_cpu(outputs):
    """`outputs`, a tensor or tuples or dicts of them, as float32 on the CPU."""
    if isinstance(outputs, dict):
        return {key: to_cpu(value) for key, value in outputs.items()}
    if isinstance(outputs, tuple):
        return tuple(map(to_cpu, outputs))
    return outputs.float().cpu()


def reorder(outputs, order):
    """Rows `order` [n] of `outputs`, a tensor or tuples or dicts of them."""
    if isinstance(outputs, dict):
        return {key: reorder(value, order) for key, value in outputs.items()}
    if isinstance(outputs, tuple):
        return tuple(reorder(value, order) for value in outputs)
    return outputs[order]


@torch.inference_mode()
def infer(model, dataset, config, accelerator, title):
    """What `model` gives for every item of `dataset`, in its order, float32 on the CPU, the same on every process.

    Each process takes every so many-th batch. The batches themselves do not depend on the number of processes, so
    neither do the results, to the last bit.
    """
    model.eval()
    size, positions = config.batch_size, range(len(dataset))
    batches = [positions[start : start + size] for start in positions[::size]]
    share = batches[accelerator.process_index :: accelerator.num_processes]
    loader = make_loader(dataset, share, config.num_workers)
    rows = []
    for position, wave, _ in tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process):
        with accelerator.autocast():
            outputs = model(wave.to(accelerator.device, non_blocking=True))
        # A copy: what a worker sends keeps a file open for as long as it lives.
        rows.append((position.clone(), to_cpu(outputs)))
    position, outputs = concatenate(gather_object(rows))
    return reorder(outputs, position.argsort())


def read_conditions(config, conditions):
    """[(condition, clips)] with every label file read and every audio file seen, before a model is built.

    Raises InputError for a broken corpus; a corpus that is absent is named and passed over with --skip_missing.
    """
    present = []
    for condition in conditions:
        try:
            clips = condition.clips(config)
            check_audio(clips)
            present.append((condition, clips))
        except MissingInput as absent:
            if not config.skip_missing:
                raise MissingInput(f"{absent} (condition {condition.name}; or pass --skip_missing)") from None
            print(f"skipped {condition.name}: {absent}")
    return present


def trace(config, *suites):
    """Write the score file and the embeddings file of each condition of `suites` that --condition selects.

    Raises InputError for a clip of which the model makes no number, such as one of extreme level.
    """
    work = read_conditions(config, select(config, *suites))
    for condition, _ in work:
        for folder, name in ((config.result, condition.result), (config.save_feats, condition.features)):
            if name:
                check_writable(folder)
    accelerator = make_accelerator(config)
    model = models.load(config.model_folder, config).to(accelerator.device)
    for condition, clips in work:
        features, logits = infer(model, Clips(clips), config, accelerator, condition.name)
        check_outputs(Outputs(features, logits, None, names=[clip.path for clip in clips]))
        if not accelerator.is_main_process:
            continue
        names = [clip.name for clip in clips]
        if condition.result:
            write_scores(config.result / condition.result[0], names, logits)
            print(f"wrote {config.result / condition.result[0]} ({len(clips)} files)")
        if condition.features:
            labels = torch.tensor([clip.label for clip in clips])
            head = models.head(model) if condition.suite == "train" else None
            write_features(config.save_feats / condition.features, features, logits, labels, names, head)
            print(f"wrote {config.save_feats / condition.features} ({len(clips)} files)")
    accelerator.end_training()
