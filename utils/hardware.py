"""The machine that a script runs on."""

import os
import platform
from pathlib import Path

MPS = "mps"  # what --gpu calls the GPU of a Mac


def is_first_process():
    """Whether this is the first, or the only, process of a run, by the environment that torchrun and accelerate set.

    Only this process writes files and prints.
    """
    return os.environ.get("RANK", "0") == "0"


def memory_gb():
    """The memory of the machine in GB; None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):  # such as Windows, whose os has no sysconf
        return None


def choose_gpu(gpu):
    """Let torch, which is not imported yet, see only what --gpu names."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if gpu == MPS else gpu
    if gpu == MPS:
        os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] = "1"  # an operation that MPS lacks runs on the CPU


def yield_waiting_threads():
    """Let threads of OpenMP that wait give their processor back; before torch, or another user of OpenMP, is imported.

    By default they spin. Beside another program they then take time from the thread that they wait for: see
    benchmarks/beside_another.py. A value that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def hardware():
    """{"processor", "cores", "memory_gb", "gpu"}: names of processor and GPU, None for a GPU that is not there."""
    import torch  # slow to import

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gb": memory_gb(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
