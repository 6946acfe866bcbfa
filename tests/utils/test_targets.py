"""What a script makes of the file that it is told to write: a device, a link, an input, another kind of file."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT, run_script
from helpers.page_server import recording

import enroll
import evaluate_held_out
import export_model
import main_train
import predict
import probe_layers
from utils.errors import InputError

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


@pytest.fixture
def work(calibrated, tmp_path):
    """A folder with a recording, a.wav, and a model."""
    (tmp_path / "a.wav").write_bytes(recording(1))
    shutil.copytree(calibrated / "model", tmp_path / "model")
    return tmp_path


def run_predict(work, *flags):
    return run_script(ROOT / "predict.py", "a.wav", "--model_folder", "model", *flags, cwd=work)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--csv", "a.wav"], "a.wav would replace a.wav, which this run reads"),
        (["--csv", "model/../a.wav"], "would replace a.wav, which this run reads"),
        (["--json", "link.json"], "link.json would replace a.wav, which this run reads"),
        (["--jsonl", "hard.jsonl"], "hard.jsonl would replace a.wav, which this run reads"),
        (["--json", "model/calibration.json"], "would replace model/calibration.json, which this run reads"),
        (["--json", "model/args.json"], "would replace model/args.json, which this run reads"),
        (["--csv", "names.txt", "--list", "names.txt"], "names.txt would replace names.txt, which this run reads"),
        (["--csv", "b.flac"], "b.flac is there and is no CSV file: give another name, or remove it"),
        (["--json", "labels.txt"], "labels.txt is there and is no JSON file"),
        (["--csv", "old.json"], "old.json is there and is no CSV file"),
        (["--csv", "out", "--json", "./out"], "--csv"),
        (["--csv", "model"], "model cannot be written: it is a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@posix
def test_an_input_and_a_file_of_another_kind_are_kept(work, flags, message):
    os.symlink("a.wav", work / "link.json")
    os.link(work / "a.wav", work / "hard.jsonl")
    (work / "names.txt").write_text("a.wav\n")
    (work / "b.flac").write_bytes(recording(1, format="FLAC"))
    (work / "labels.txt").write_text("x real 0\n")
    (work / "old.json").write_text('{"a":\n1}')
    before = files_of(work)
    done = run_predict(work, *flags)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and files_of(work) == before


@pytest.mark.parametrize(
    "script,flags,message",
    [
        (export_model, ["model", "--to", "model/anti-spoofing_feat_model.pt"], "which this run reads"),
        (export_model, ["model", "--to", "model/calibration.safetensors"], "which this run reads"),
        (export_model, ["model", "--to", "a.wav"], "a.wav is there and is no ONNX file"),
        (enroll, ["x", "a.wav", "--registry", "a.wav"], "a.wav would replace a.wav, which this run reads"),
        (enroll, ["x", "a.wav", "--registry", "old.json"], "old.json is there and is no SAFETENSORS file"),
        (enroll, ["x", "a.wav", "--registry", "model/calibration.safetensors"], "which this run reads"),
        (probe_layers, ["--plot", "old.json"], "old.json is there and is no PNG file"),
        (evaluate_held_out, ["t.csv", "--save", "model", "--plot", "old.json"], "old.json is there and is no PNG file"),
        (main_train, ["-o", "model", "--json", "model/log.jsonl"], "which this run reads"),
        (predict, ["a.wav", "--plot", "plots"], "plots/a.png is there and is no PNG file"),
    ],
    ids=lambda value: getattr(value, "__name__", " ".join(value) if isinstance(value, list) else ""),
)
def test_no_script_replaces_what_it_reads_or_another_kind(work, monkeypatch, script, flags, message):
    monkeypatch.chdir(work)
    (work / "old.json").write_text('{"a":\n1}')
    (work / "plots").mkdir()
    (work / "plots/a.png").write_bytes(recording(1))
    flags = [*flags, "--model_folder", "model"] if script in (enroll, predict) else flags
    before = files_of(work)
    with pytest.raises(InputError) as error:
        script.main(flags)
    assert message in str(error.value) and files_of(work) == before


def test_an_output_of_the_same_kind_is_replaced(work):
    for _ in range(2):
        assert run_predict(work, "--csv", "o.csv", "--json", "o.json").returncode == 0
    assert len((work / "o.csv").read_text().splitlines()) == 2
    (work / "empty.csv").touch()
    assert run_predict(work, "--csv", "empty.csv").returncode == 0


@posix
def test_a_link_stays_and_its_file_is_replaced(work):
    (work / "other").mkdir()
    os.symlink("other/real.csv", work / "o.csv")
    for _ in range(2):  # at first, the link leads nowhere
        assert run_predict(work, "--csv", "o.csv").returncode == 0
        assert (work / "o.csv").is_symlink() and (work / "other/real.csv").read_text().startswith("file,")
    assert [path.name for path in (work / "other").iterdir()] == ["real.csv"]


@posix
def test_devices_and_pipes_are_written_through(work):
    before = os.stat("/dev/null")
    done = run_predict(work, "--csv", "/dev/null", "--json", "/dev/stdout")
    assert done.returncode == 0 and os.path.samestat(before, os.stat("/dev/null"))
    found, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert found["files"][0]["file"] == "a.wav"
    os.mkfifo(work / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=work, stdout=subprocess.PIPE, text=True) as reader:
        assert run_predict(work, "--csv", "pipe").returncode == 0
        assert [row["file"] for row in csv.DictReader(reader.stdout)] == ["a.wav"]
    assert (work / "pipe").is_fifo()


@posix
def test_the_file_of_standard_output_is_not_replaced(work):
    with open(work / "all.txt", "w") as output:
        command = [sys.executable, ROOT / "predict.py", "a.wav", "--model_folder", "model", "--csv", "/dev/stdout"]
        subprocess.run(command, cwd=work, stdout=output, stderr=subprocess.DEVNULL, check=True)
    text = (work / "all.txt").read_text()
    assert text.startswith("file,") and "verdict" in text and text.rstrip().endswith("wrote /dev/stdout")


@posix
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_a_lock_that_is_no_file_is_refused_and_its_target_kept(work, corpus, kind):
    check = work / "check"
    check.mkdir()
    (work / "victim").write_text("keep me")
    lock = check / ".codectrace.lock"
    {
        "link": lambda: os.symlink(work / "victim", lock),
        "dangling": lambda: os.symlink(work / "nowhere", lock),
        "pipe": lambda: os.mkfifo(lock),
        "folder": lock.mkdir,
    }[kind]()
    done = run_script("check_data.py", "--data_root", corpus, "--check_folder", check, timeout=120)
    assert done.returncode == 2 and "is no lock file but a link, a pipe or a folder: remove it" in done.stderr
    assert (work / "victim").read_text() == "keep me" and not (work / "nowhere").exists()


def test_what_a_lock_says_cannot_control_the_terminal(work, corpus):
    check = work / "check"
    check.mkdir()
    (check / ".codectrace.lock").write_bytes(b"\0\x1b[31mprocess 5\nerror: \x07")
    done = run_script("check_data.py", "--data_root", corpus, "--check_folder", check)
    assert "\\x1b[31mprocess 5\\nerror: \\x07 was killed while it wrote here" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
