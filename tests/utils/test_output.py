"""How scripts end when their output, their input, their disk or their memory fails."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT, run_script
from helpers.page_server import recording

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")


def shell(text, **options):
    """(status, output, errors) of a line for bash, in which python is this Python."""
    line = f'set -o pipefail; python() {{ {sys.executable} "$@"; }}; {text}'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def flags(calibrated, tmp_path):
    """Flags of predict.py: two files, one of which cannot be traced, and results in files."""
    (tmp_path / "a.wav").write_bytes(recording(1))
    (tmp_path / "b.wav").write_bytes(b"no audio")
    made = f"{tmp_path}/a.wav {tmp_path}/b.wav --model_folder {calibrated}/model --num_workers 0"
    return f"{made} --csv {tmp_path}/o.csv --json {tmp_path}/o.json"


@pytest.mark.parametrize("pipe", ["|", "2>&1 |"])
def test_a_reader_that_ends_changes_neither_files_nor_status(flags, tmp_path, pipe):
    status, _, errors = shell(f"python predict.py {flags} {pipe} true")
    assert status == 1 and "Traceback" not in errors and "BrokenPipe" not in errors
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert len(lines) == 3 and (tmp_path / "o.json").stat().st_size > 0


def test_findings_are_saved_and_counted_whoever_reads(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    command = f"python check_data.py --data_root {corpus} --check_folder {tmp_path}/check --num_workers 0"
    alone, _, _ = shell(command)
    findings = (tmp_path / "check/findings.csv").read_bytes()
    (tmp_path / "check/findings.csv").unlink()
    piped, _, errors = shell(f"{command} | true")
    assert piped == alone and "Traceback" not in errors
    assert (tmp_path / "check/findings.csv").read_bytes() == findings


@needs_full
def test_a_full_disk_behind_the_output_is_told_and_the_files_are_there(flags, tmp_path):
    status, _, errors = shell(f"python predict.py {flags} > /dev/full")
    assert status == 1 and (tmp_path / "o.csv").exists()
    assert errors.splitlines()[-1].startswith("error: standard output cannot be written: No space left on device.")
    status, _, errors = shell("python config.py > /dev/full")
    assert status == 2 and errors.count("\n") == 1 and "No space left on device" in errors


@pytest.mark.parametrize("what", ["-", "--list -"])
def test_a_closed_standard_input_is_empty(what):
    status, _, errors = shell(f"python predict.py {what} <&-")
    assert status == 2 and errors.count("\n") == 1 and errors.startswith("error: ")


def test_closed_outputs_change_no_file_and_no_status(flags, tmp_path):
    status, _, _ = shell(f"python predict.py {flags} >&- 2>&-")
    assert status == 1 and len((tmp_path / "o.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("arguments", [["x" * 300 + ".wav"], ["a.wav", "--csv", "x" * 300 + ".csv"]])
def test_a_name_that_is_too_long_is_an_error_of_one_line(arguments, tmp_path):
    (tmp_path / "a.wav").write_bytes(recording(1))
    done = run_script(ROOT / "predict.py", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.strip().endswith("File name too long")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_batch_beyond_all_memory_is_refused():
    done = run_script("predict.py", "a.wav", "--batch_size", "999999999999")
    assert done.returncode == 2 and "999999999999 is out of range: expected 1 <= value < " in done.stderr


@pytest.mark.parametrize(
    "raised",
    [
        "MemoryError()",
        "RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory: you tried to allocate 9 bytes.')",
        "__import__('torch').OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.')",
        "RuntimeError('DataLoader worker (pid 5) is killed by signal: Killed. ')",
        "ImportError('_backend_agg.so: failed to map segment from shared object')",
    ],
)
def test_too_little_memory_is_one_line_with_the_remedy(raised):
    done = run_script("-c", f"from utils.errors import run\ndef main(): raise {raised}\nrun(main)")
    assert done.returncode == 2 and done.stdout == ""
    remedy = "give a smaller --batch_size or --num_workers, or end other programs"
    assert done.stderr == f"error: there is too little memory for this: {remedy}\n"


def test_a_fault_of_ours_keeps_its_traceback():
    done = run_script("-c", "from utils.errors import run\ndef main(): raise RuntimeError('a fault')\nrun(main)")
    assert done.returncode == 1 and done.stderr.endswith("RuntimeError: a fault\n")
