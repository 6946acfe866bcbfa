"""Seconds that `check_data.py --fast` takes for a corpus of many files.

    python benchmarks/checking.py --files 100000 --folder DIR

The files, of a tenth of a second each, are made first, in a folder inside --folder that is removed at the end. Their
length does not matter, as only headers are read. They are in the kernel's cache then, as if the disk were fast.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from common import HERE, arguments, report
from tqdm import tqdm


def make_files(root, count):
    """Write `count` files and labels in the layout of ST-Codecfake, seven tenths of them to train on."""
    shares = {"train": 0.7, "dev": 0.1, "eval_id": 0.2}
    (root / "label").mkdir(parents=True)
    (root / "manifest.json").write_text(json.dumps({"classes": {}}))
    soundfile.write(root / "one.wav", 0.1 * np.random.default_rng(0).standard_normal(1600), 16_000)
    content = (root / "one.wav").read_bytes()
    (root / "one.wav").unlink()
    for part, share in shares.items():
        (root / part).mkdir()
        names = [f"{part}_{number}.wav" for number in range(round(count * share))]
        for name in tqdm(names, desc=part, unit="file"):
            (root / part / name).write_bytes(content)
        lines = [f"{name} {'fake' if number % 7 else 'real'} {number % 7}\n" for number, name in enumerate(names)]
        (root / f"label/{part}.txt").write_text("".join(lines))


def main(argv=None):
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--files", type=int, default=100_000, help="files (default: 100000)")
    parser.add_argument("--folder", type=Path, help="where they are made (default: the system's temporary folder)")
    options = parser.parse_args(argv)
    metrics = {"files": options.files, "wall_s": [], "cpu_s": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder) / "corpus"
        make_files(root, options.files)
        for run in range(options.runs):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            command = ["check_data.py", "--fast", "--data_root", root, "--check_folder", Path(folder) / f"check-{run}"]
            done = subprocess.run([sys.executable, *command, "--condition", "train", "dev", "id"], cwd=HERE.parent)
            metrics["wall_s"].append(time.perf_counter() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            metrics["cpu_s"].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            assert done.returncode == 0, "the corpus is whole"
    taken = zip(metrics["wall_s"], metrics["cpu_s"], strict=True)
    rows = [(number, f"{wall:.1f}", f"{cpu:.1f}") for number, (wall, cpu) in enumerate(taken, 1)]
    report("checking", ("run", "seconds", "processor seconds"), rows, metrics)


if __name__ == "__main__":
    main()
