"""A training step of mel-LCNN with two threads: alone, and beside a program that keeps two threads busy.

    python benchmarks/beside_another.py

Threads of OpenMP that wait for one another spin by default: they take a processor from the thread that they wait for,
if another program wants it, too. Each of SETTINGS is measured in a process of its own; all take turns, and the fastest
step of each counts.
"""

import os
import subprocess
import sys

from common import HERE, arguments, report

SETTINGS = {
    "default of libgomp": {},
    "OMP_WAIT_POLICY=PASSIVE (ours)": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
STEPS = """
import time, torch
from models.lcnn import MelLcnn
torch.manual_seed(0)
model = MelLcnn(7).train()
wave = torch.randn({batch}, 64600) / 10
seconds = []
for _ in range({steps} + 1):
    start = time.perf_counter()
    model(wave)[1].logsumexp(dim=1).sum().backward()
    seconds.append(time.perf_counter() - start)
print(*seconds[1:])
"""
BUSY = "while True: pass"


def steps(setting, options):
    """Seconds of each step, in a process with the environment variables of `setting`."""
    chosen = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = STEPS.format(batch=options.batch_size, steps=options.steps)
    environment = chosen | {"OMP_NUM_THREADS": "2"} | setting
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=HERE.parent, env=environment, text=True)
    return list(map(float, shown.split()))


def measure(options, busy):
    """{setting: seconds of the fastest step} beside `busy` processes that each keep one processor busy."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    try:
        turns = [{name: steps(setting, options) for name, setting in SETTINGS.items()} for _ in range(options.runs)]
    finally:
        for other in others:
            other.kill()
            other.wait()
    return {name: [seconds for turn in turns for seconds in turn[name]] for name in SETTINGS}


def main(argv=None):
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--steps", type=int, default=4, help="steps of each process after the first (default: 4)")
    parser.add_argument("--batch_size", type=int, default=4, help="clips of a step (default: 4)")
    options = parser.parse_args(argv)
    alone, beside = (measure(options, busy) for busy in (0, 2))
    rows = []
    for name in SETTINGS:
        first, second = min(alone[name]), min(beside[name])
        rows.append((name, f"{first:.3f}", f"{second:.3f}", f"{max(beside[name]):.3f}", f"{first / second:.2f}"))
    header = ("setting", "alone (s)", "beside another (s)", "slowest (s)", "share of its speed")
    report("beside_another", header, rows, {"alone": alone, "beside": beside})


if __name__ == "__main__":
    main()
