"""Time and memory of every OOD detector at the size of the paper's test, on synthetic features.

    python benchmarks/ood_detectors.py --scale 0.25 --detectors knn NSD

Scale 1 is 70,000 training and 158,736 test clips of 160 features and 7 classes. Each detector runs in a process of its
own. Memory is the peak above what the process held with its input loaded; CPU seconds are of fit and score alone.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CLIPS = {"train": 70_000, "test": 158_736}
FEATURES, CLASSES = 160, 7


def write_input(folder, scale):
    """Feature files of Gaussian clusters, one a class, with an affine head."""
    import torch

    from features import write_features

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, FEATURES, generator=generator)
    head = torch.randn(FEATURES, CLASSES, generator=generator) / 10
    for name, clips in CLIPS.items():
        labels = torch.randint(CLASSES, (int(clips * scale),), generator=generator)
        features = centres[labels] + torch.randn(len(labels), FEATURES, generator=generator)
        write_features(folder / f"{name}.pt", features, features @ head, labels)


def resident():
    """Bytes of memory that this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(name, folder, threads):
    """CPU seconds, wall seconds, bytes of input and peak bytes beyond it, of fitting and scoring."""
    import torch

    from features import read_features
    from ood_detectors import DETECTORS

    torch.set_num_threads(threads)
    train, test = (read_features(folder / f"{part}.pt") for part in CLIPS)
    held = resident()
    cpu, wall = time.process_time(), time.perf_counter()
    DETECTORS[name]().fit(train).score(test)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    tensors = [tensor for part in (train, test) for tensor in (part.features, part.logits, part.labels)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return cpu, wall, sum(tensor.nbytes for tensor in tensors), peak - held


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="share of the paper's clips (default: 0.1)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process (default: 1)")
    parser.add_argument("--detectors", nargs="+", metavar="NAME", help="these alone (default: all)")
    options = parser.parse_args(argv)
    from ood_detectors import DETECTORS

    print(f"scale {options.scale}, {options.threads} thread(s)")
    print(f"{'detector':<14} {'CPU s':>8} {'wall s':>8} {'input MB':>9} {'beyond it MB':>13}", flush=True)
    with TemporaryDirectory() as folder:
        write_input(Path(folder), options.scale)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            for name in options.detectors or DETECTORS:
                cpu, wall, held, beyond = pool.apply(measure, (name, Path(folder), options.threads))
                print(f"{name:<14} {cpu:8.1f} {wall:8.1f} {held / 1e6:9.0f} {beyond / 1e6:13.0f}", flush=True)


if __name__ == "__main__":
    main()
