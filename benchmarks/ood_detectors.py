"""Time and memory of every OOD detector at the size of the paper's test, on synthetic features.

    python benchmarks/ood_detectors.py --scale 0.25 --detectors knn NSD

Scale 1 is 70,000 training and 158,736 test clips of 160 features and 7 classes. Each detector runs in a process of its
own. Memory is the peak above what the process held with its input loaded; CPU seconds are only of fit and score.
"""

import multiprocessing
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import arguments, report, status

CLIPS = {"train": 70_000, "test": 158_736}
FEATURES, CLASSES = 160, 7


def write_input(folder, scale):
    """Feature files of Gaussian clusters, one a class, with an affine head."""
    import torch

    from engine.feature_files import write_features

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, FEATURES, generator=generator)
    head = torch.randn(FEATURES, CLASSES, generator=generator) / 10
    for name, clips in CLIPS.items():
        labels = torch.randint(CLASSES, (int(clips * scale),), generator=generator)
        features = centres[labels] + torch.randn(len(labels), FEATURES, generator=generator)
        write_features(folder / f"{name}.pt", features, features @ head, labels)


def measure(name, folder, threads):
    """CPU seconds, wall seconds, bytes of input and peak bytes beyond it, of fitting and scoring."""
    import torch

    from engine.feature_files import read_features
    from ood_detectors import DETECTORS

    torch.set_num_threads(threads)
    train, test = (read_features(folder / f"{part}.pt") for part in CLIPS)
    held = status("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    DETECTORS[name]().fit(train).score(test)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    tensors = [tensor for part in (train, test) for tensor in (part.features, part.logits, part.labels)]
    peak = status("VmHWM")
    return cpu, wall, sum(tensor.nbytes for tensor in tensors), peak - held


def main(argv=None):
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--scale", type=float, default=0.1, help="share of the paper's clips (default: 0.1)")
    parser.add_argument("--detectors", nargs="+", metavar="NAME", help="only these (default: all)")
    options = parser.parse_args(argv)
    import torch

    from ood_detectors import DETECTORS

    rows, figures = [], {}
    with TemporaryDirectory() as folder:
        write_input(Path(folder), options.scale)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            for name in options.detectors or DETECTORS:
                runs = [pool.apply(measure, (name, Path(folder), options.threads)) for _ in range(options.runs)]
                cpu, wall, held, beyond = min(runs)
                figures[name] = {"cpu_s": cpu, "wall_s": wall, "input": held, "peak": beyond, "scale": options.scale}
                rows.append((name, f"{cpu:.1f}", f"{wall:.1f}", f"{held / 1e6:.0f}", f"{beyond / 1e6:.0f}"))
                print(*rows[-1], flush=True)
    torch.set_num_threads(options.threads)  # what report() states
    report("ood_detectors", ("detector", "CPU s", "wall s", "input MB", "beyond it MB"), rows, figures)


if __name__ == "__main__":
    main()
