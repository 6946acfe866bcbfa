"""Windows and macOS start loader processes anew ("spawn"), so all that a loader holds must be picklable."""

import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.training import flags

SPAWN = """
import multiprocessing, runpy, sys
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    sys.argv = sys.argv[1:]
    sys.path.insert(0, {root!r})
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_scripts_work_where_processes_are_spawned(corpus, trained, tmp_path):
    launcher = tmp_path / "spawn.py"
    launcher.write_text(SPAWN.format(root=str(ROOT)))
    run = ["--data_root", corpus, "--num_workers", 1]
    model = [*run, "--model_folder", trained / "model", "--result", tmp_path / "result", "--save_feats", tmp_path]
    commands = {
        "main_train.py": [
            *flags(corpus, tmp_path / "model", "--num_epochs", 1),
            "--num_workers",
            1,
            "--augment",
            "channel",
        ],
        "source_tracing_id.py": model,
        "check_data.py": [*run, "--skip_missing"],
    }
    for script, arguments in commands.items():
        command = [sys.executable, launcher, script, *arguments]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
        assert done.returncode in (0, script == "check_data.py") and "Traceback" not in done.stderr, done.stderr
