"""Seconds that `--help` of every script takes: heavy imports come after the flags are parsed.

    python benchmarks/startup.py

The reference is an interpreter that does nothing; the limit is 1 s.
"""

import statistics
import subprocess
import sys
import time

from common import HERE, arguments, report

LIMIT = 1.0


def seconds(command, runs):
    """The seconds of each of `runs` runs of a command; the output of the last one too."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        shown = subprocess.run([sys.executable, *command], cwd=HERE.parent, capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - start)
    return taken, shown.stdout


def main(argv=None):
    options = arguments(__doc__).parse_args(argv)
    scripts = sorted(
        path.name for path in HERE.parent.glob("*.py") if "def main(argv" in path.read_text(encoding="utf-8")
    )
    figures = {"python -c pass": seconds(["-c", "pass"], options.runs)[0]}
    for script in scripts:
        taken, shown = seconds([script, "--help"], options.runs)
        assert shown, f"{script} --help shows nothing"
        figures[script] = taken
    rows = [
        (name, *(f"{figure(taken):.2f}" for figure in (statistics.median, min, max))) for name, taken in figures.items()
    ]
    report("startup", ("script", "median (s)", "least", "most"), rows, figures)
    slow = [name for name, taken in figures.items() if min(taken) > LIMIT]
    if slow:
        sys.exit(f"over {LIMIT} s: {' '.join(slow)}")


if __name__ == "__main__":
    main()
