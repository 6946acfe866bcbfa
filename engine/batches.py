"""Batches of clips through a model, with the memory that this takes under control."""

import ctypes
import sys

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from engine.outputs import to_cpu


def c_library():
    """glibc on Linux, else None."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None


def keep_freed_memory():
    """Let glibc keep the memory of freed tensors of up to 128 MB for the next ones.

    By default each large tensor is a mapping of its own whose pages the kernel clears again at every step: a fourth
    of the CPU time of a mel-LCNN training step. Larger ones would leave holes: half again of RawAASIST's memory.
    """
    trim_threshold, mmap_threshold = -1, -3  # mallopt's names for them, from malloc.h
    if libc := c_library():
        libc.mallopt(mmap_threshold, 1 << 27)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def make_loader(dataset, batches, num_workers):
    """Batches of `dataset`, lists of positions, from at most as many workers as there are batches."""
    if libc := c_library():
        libc.malloc_trim(0)  # what is kept and free would be copied into every worker, as this process writes to it
    workers, collate = min(num_workers, len(batches)), getattr(dataset, "collate", None)
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)


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


def fixed_batches(dataset, size):
    """The positions of `dataset` in batches of `size`.

    They do not depend on the number of processes, which take turns at them: neither do outputs, to the last bit.
    """
    positions = range(len(dataset))
    return [positions[start : start + size] for start in positions[::size]]
