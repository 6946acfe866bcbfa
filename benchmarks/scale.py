"""Time and memory of a whole tracing run over 1, 2, 4 and 8 times as many files, by 1 and by 2 processes.

    python benchmarks/scale.py

mel-LCNN with random weights over files of one second. The score files of all numbers of processes are equal to the
last byte. Memory is that of the largest process; embeddings and logits are what must grow, at 1 kB a file.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import HERE, arguments, report

from utils.model_files import CHECKPOINT

DISTINCT = 16  # the other files are links to these


def write_corpus(root, files):
    """A closed-set test of `files` clips under `root`."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    (root / "eval_id").mkdir()
    (root / "label").mkdir()
    for number in range(files):
        path = root / "eval_id" / f"{number}.wav"
        if number < DISTINCT:
            soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
        else:
            os.link(root / "eval_id" / f"{number % DISTINCT}.wav", path)


def run(root, files, processes):
    """Seconds and the peak bytes of the largest process of tracing the first `files` clips; the score file."""
    lines = "".join(f"{number}.wav fake {number % 7}\n" for number in range(files))
    (root / "label/eval_id.txt").write_text(lines)
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    )
    places = {"data_root": root, "model_folder": root, "result": root / "result", "save_feats": root / "save_feats"}
    flags = [part for name, value in places.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, *launch, HERE.parent / "source_tracing_id.py", *flags, "--model", "mellcnn"]
    start = time.perf_counter()
    child = subprocess.Popen(
        [*command, "--num_workers", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=HERE.parent
    )
    errors = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, errors[-3000:].decode()
    return seconds, 1024 * used.ru_maxrss, (root / "result/result_id.txt").read_bytes()


def main(argv=None):
    parser = arguments(__doc__)
    parser.add_argument("--files", type=int, default=96, help="files of the smallest run (default: 96)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes (default: 1 2)")
    options = parser.parse_args(argv)
    import torch

    from config import Config
    from models.building import build_model

    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    rows = []
    measured = []
    with TemporaryDirectory() as folder:
        root = Path(folder)
        torch.manual_seed(0)
        torch.save(build_model(Config(model="mellcnn")).state_dict(), root / CHECKPOINT)
        write_corpus(root, 8 * options.files)
        for times in (1, 2, 4, 8):
            files = times * options.files
            texts = set()
            for processes in options.processes:
                seconds, peak, text = run(root, files, processes)
                texts.add(text)
                rows.append((f"{times}x, {files}", processes, f"{seconds:.1f}", f"{peak / 1e6:.0f}"))
                measured.append({"files": files, "processes": processes, "seconds": seconds, "peak": peak})
            assert len(texts) == 1, "the score files of several numbers of processes differ"
    report("scale", ("files", "processes", "seconds", "peak of a process (MB)"), rows, measured)


if __name__ == "__main__":
    main()
