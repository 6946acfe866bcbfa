"""What the benchmarks share: alternating timings, peak memory, what the machine is, a table and a JSON file."""

import argparse
import json
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the project's modules


def arguments(description, runs=5):
    """A parser of the flags that every benchmark has: --runs and --threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help=f"runs of each side, alternating (default: {runs})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process (default: 1)")
    return parser


def status(name):
    """A memory figure of this process in bytes, VmRSS (now) or VmHWM (peak), from the kernel; only on Linux."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def timed(function):
    """(result, seconds, peak bytes beyond what was held before) of a call; on a GPU the bytes are the GPU's."""
    import torch

    from engine.batches import c_library

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    else:
        c_library().malloc_trim(0)  # or memory that was freed, and is kept, would hide the peak
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
        held = status("VmRSS")
    start = time.perf_counter()
    result = function()
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return result, seconds, (torch.cuda.max_memory_allocated() if gpu else status("VmHWM")) - held


def alternate(reference, ours, runs=5, warm_up=1):
    """Figures of `reference()` against `ours()`, called in turn `runs` times after `warm_up` turns that do not count.

    Seconds are medians; `ratio` is the median over the turns of reference seconds / our seconds, `ratio_range` the
    lowest and the highest of them: a load that comes and goes meets both sides of a turn. Peaks are in bytes, the
    largest of all turns. Compare the results first: that is the caller's part.
    """
    turns = [[timed(side)[1:] for side in (reference, ours)] for _ in range(warm_up + runs)][warm_up:]
    ratios = [first[0] / second[0] for first, second in turns]
    figures = {"ratio": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)], "runs": runs}
    for side, column in zip(("reference", "ours"), zip(*turns, strict=True), strict=True):
        seconds, peaks = zip(*column, strict=True)
        figures |= {f"{side}_s": statistics.median(seconds), f"{side}_peak": max(peaks)}
    return figures


def machine():
    """What a figure depends on besides the code: processor, cores, threads, memory, GPU, versions, date."""
    import torch

    from utils.hardware import hardware

    return {
        "date": date.today().isoformat(),
        **hardware(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def comparison_row(name, figures):
    """The row of alternate()'s figures under COMPARISON."""
    low, high = figures["ratio_range"]
    return (
        name,
        *(f"{figures[f'{side}_s']:.3f}" for side in ("reference", "ours")),
        f"{figures['ratio']:.2f} [{low:.2f}, {high:.2f}]",
        *(f"{figures[f'{side}_peak'] / 1e6:.0f}" for side in ("reference", "ours")),
    )


COMPARISON = ("stage", "reference (s)", "ours (s)", "ratio [range]", "reference peak (MB)", "ours peak (MB)")


def report(name, header, rows, figures):
    """Print the machine and a table, and write `figures`, values that JSON has, to benchmarks/results/NAME.json."""
    from utils.console import print_table
    from utils.files import write_text

    here, path = machine(), HERE / "results" / f"{name}.json"
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in here.items()))
    print_table(header, rows)
    write_text(path, json.dumps({"machine": here, "figures": figures}, indent=2) + "\n")
    print(f"wrote {path}")
