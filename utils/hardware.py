"""The machine that a script runs on."""

import os
import platform
from pathlib import Path


def is_first_process():
    """Whether this is the first, or only, process of a run, as torchrun and accelerate tell; it writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def hardware():
    """{"processor", "cores", "memory_gb", "gpu"}: processor and GPU by name, the GPU None where there is none."""
    import torch  # slow to import

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
