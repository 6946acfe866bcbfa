"""Batches of clips through a model; memory stays small."""

import ctypes
import sys

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from engine.outputs import to_cpu


def c_library():
    """glibc, by ctypes, on Linux; None elsewhere."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None


def keep_freed_memory():
    """Let glibc keep the memory of freed tensors of up to 128 MB for later tensors.

    By default each large tensor is a mapping of its own, whose pages the kernel clears at every step. That takes a
    fourth of the CPU time of a training step of mel-LCNN. A limit above 128 MB leaves holes in memory: RawAASIST then
    needs half as much memory again.
    """
    trim_threshold = -1  # these two are the numbers of mallopt's options in malloc.h
    mmap_threshold = -3
    if libc := c_library():
        libc.mallopt(mmap_threshold, 1 << 27)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def make_loader(dataset, batches, num_workers):
    """A loader of `batches`, lists of positions in `dataset`, with at most as many workers as there are batches."""
    if libc := c_library():
        libc.malloc_trim(0)  # otherwise the workers get copies of the free memory that this process keeps
    workers = min(num_workers, len(batches))
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=getattr(dataset, "collate", None))


@torch.inference_mode()
def run_batches(model, dataset, batches, config, accelerator, title):
    """Yield (positions [n], outputs, rest) for each of `batches`, lists of positions in `dataset`.

    The outputs of `model` are float32 on the CPU, None for a batch without usable clips; `rest` is the third part of
    the batch, such as labels.
    """
    model.eval()
    loader = make_loader(dataset, batches, config.num_workers)
    for positions, wave, rest in tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process):
        outputs = None
        if len(positions):
            with accelerator.autocast():
                outputs = to_cpu(model(wave.to(accelerator.device, non_blocking=True)))
        # A copy, because a tensor that comes from a worker keeps a file open.
        yield positions.clone(), outputs, rest


def fixed_batches(dataset, size):
    """The positions in `dataset` in batches of `size`, in order.

    The batches do not depend on the number of processes, which take turns at them. So outputs do not either, to the
    last bit.
    """
    positions = range(len(dataset))
    return [positions[start : start + size] for start in positions[::size]]
