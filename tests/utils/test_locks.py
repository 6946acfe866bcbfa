"""Two runs on one folder: the second is refused, with the name of the first; dead owners block nobody."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys

import pytest
from helpers import ROOT

import main_train
import source_tracing_id
import source_tracing_id_other
from config import Config
from data.conditions import select
from data.dataset import Clips
from engine.cached_features import cached_features
from engine.inference import make_accelerator
from engine.tracing import read_conditions
from utils.errors import InputError
from utils.locks import LOCK_NAME, lock_folders

HOLD = """
import sys
from pathlib import Path
from utils.locks import lock_folders
with lock_folders(*map(Path, sys.argv[1:])):
    print("held", flush=True)
    sys.stdin.read()
"""
# Enters the folder again and again; whoever is in there with another one leaves a file.
RACE = """
import os, sys
from pathlib import Path
from utils.errors import InputError
from utils.locks import lock_folders
folder, inside, left = Path(sys.argv[1]), Path(sys.argv[2]), 30
while left:
    try:
        with lock_folders(folder):
            try:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                os.sched_yield()
                inside.unlink()
            except OSError:
                inside.with_name("two at once").touch()
            left -= 1
    except InputError as error:
        assert "is in use by" in str(error), error
"""
# Enters the folder while Ctrl-C comes in the first step of the kind that is named, of those on the lock file.
INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from utils.locks import LOCK_NAME, lock_folders
folder, step, left = Path(sys.argv[1]), sys.argv[2], [1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
def hook(event, arguments):
    writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if event == step and str(arguments[0]).endswith(LOCK_NAME) and writes and left:
        left.clear()
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
try:
    with lock_folders(folder):
        pass
except KeyboardInterrupt:
    print("interrupted")
"""


def start(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes, **options)


@contextlib.contextmanager
def holder(*folders):
    """A process that has locked `folders` until the block ends."""
    process = start(HOLD, *folders)
    assert process.stdout.readline() == "held\n", process.stderr.read()
    try:
        yield process
    finally:
        process.communicate()


def flags(corpus, folder):
    out = ["--result", folder / "result", "--save_feats", folder / "save_feats", "-o", folder / "model"]
    return [str(part) for part in ("--data_root", corpus, "--num_workers", 0, "--batch_size", 7, *out)]


def test_the_second_one_is_told_who_the_first_is(tmp_path):
    with holder(tmp_path / "run") as owner:
        with pytest.raises(InputError) as caught, lock_folders(tmp_path / "other", tmp_path / "run"):
            pass
        assert str(caught.value) == (
            f"{tmp_path / 'run'} is in use by process {owner.pid} on {socket.gethostname()} (-c):"
            " wait until it has ended, stop it, or give another folder"
        )
        assert os.listdir(tmp_path) == ["run"]  # what was taken before the refusal is free again
    with lock_folders(tmp_path / "run"):
        assert os.listdir(tmp_path / "run") == [LOCK_NAME]


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path, capsys):
    with holder(tmp_path) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert str(owner.pid) in (tmp_path / LOCK_NAME).read_text()
    with lock_folders(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / LOCK_NAME).read_text()
    line = f"{tmp_path}: process {owner.pid} on {socket.gethostname()} (-c) was killed while it wrote here"
    assert capsys.readouterr().out == line + "; this run takes over its lock\n"


def test_a_file_system_without_locks_is_named_and_no_obstacle(tmp_path, capsys, monkeypatch):
    def refuse(lock):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("utils.locks.FileLock.acquire", refuse)
    with lock_folders(tmp_path / "run"):
        (tmp_path / "run/file").touch()
    line = f"{tmp_path / 'run'}: this file system has no locks (No locks available), so let no other run write here\n"
    assert capsys.readouterr().out == line
    assert os.listdir(tmp_path / "run") == ["file"]


@pytest.mark.parametrize("step", ["os.remove", "open"])
def test_a_signal_in_the_middle_of_locking_leaves_no_lock(tmp_path, step):
    """Ctrl-C in the first step on the file system of this kind; the next run finds nothing to take over."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "run"), step], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n" and os.listdir(tmp_path) == []
    with lock_folders(tmp_path / "run"):
        assert os.listdir(tmp_path / "run") == [LOCK_NAME]


def test_workers_that_outlive_their_run_hold_nobody_up(tmp_path):
    """A loader's workers notice some seconds later that the process that made them was killed."""
    worker = """import os, time
    up, tell = os.pipe()
    if not os.fork():
        os.write(tell, b"x")
        time.sleep(60)
    os.read(up, 1)
    print("""
    code = HOLD.replace("print(", worker)
    owner = start(code, tmp_path, process_group=0) if sys.version_info >= (3, 11) else start(code, tmp_path)
    assert owner.stdout.readline() == "held\n"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with lock_folders(tmp_path):
        pass
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.version_info >= (3, 11):
            os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()


def test_no_two_are_ever_in_at_once(tmp_path):
    """Six processes take turns 30 times each, in a folder that each of them makes and removes."""
    racers = [start(RACE, tmp_path / "deep/folder", tmp_path / "inside") for _ in range(6)]
    for racer in racers:
        _, wrong = racer.communicate(timeout=120)
        assert racer.returncode == 0, wrong
    assert {path.name for path in tmp_path.rglob("*")} <= {"deep", "folder"}


def test_locks_end_with_the_block_and_empty_folders_go_again(tmp_path):
    (tmp_path / "there").mkdir()
    with contextlib.suppress(KeyError), lock_folders(tmp_path / "there", tmp_path / "new/deep", tmp_path / "kept"):
        (tmp_path / "kept/file").touch()
        raise KeyError
    assert sorted(os.listdir(tmp_path)) == ["kept", "there"]
    assert os.listdir(tmp_path / "kept") == ["file"] and os.listdir(tmp_path / "there") == []


def test_one_process_of_a_run_holds_the_lock_for_all(tmp_path, monkeypatch):
    with holder(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with lock_folders(tmp_path):
            pass
        assert os.listdir(tmp_path) == [LOCK_NAME]
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(InputError, match="is in use by"), lock_folders(tmp_path):
            pass


@pytest.mark.parametrize("script", ["train", "result", "save_feats"])
def test_scripts_refuse_folders_that_others_write(corpus, trained, tmp_path, script):
    run, model = flags(corpus, tmp_path), ["--model_folder", str(trained / "model")]
    calls = {
        "train": ("model", main_train.main, [*run, "--model", "mellcnn", "--num_epochs", "1"]),
        "result": ("result", source_tracing_id_other.main, [*run, *model, "--condition", "mimi"]),
        "save_feats": ("save_feats", source_tracing_id.main, [*run, *model]),
    }
    name, main, arguments = calls[script]
    folder = tmp_path / name
    with holder(folder) as owner, pytest.raises(InputError) as caught:
        main(arguments)
    assert str(caught.value).startswith(f"{folder} is in use by process {owner.pid} on {socket.gethostname()} (-c): ")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_is_being_filled_is_refused_and_a_whole_one_is_read(corpus, tmp_path):
    config = Config(
        data_root=corpus, cache_features=tmp_path, SSL_path="tiny-random", num_workers=0, condition=("mimi",)
    )
    ((_, clips),) = read_conditions(config, select(config, "source"))

    def store():
        return cached_features(config, make_accelerator(config), {"mimi": Clips(clips)})[1]["mimi"]

    folder = store().path.parent
    with holder(folder) as owner:
        assert store().path.parent == folder
        (folder / "cache.json").unlink()
        with pytest.raises(InputError, match=f"{folder} is in use by process {owner.pid} on "):
            store()
    assert store().path.parent == folder
