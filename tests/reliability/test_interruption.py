"""Training and tracing killed, terminated and out of disk at random moments: what is there is whole, nothing is lost.

Each run that was disturbed goes on as its user would; then every byte is that of an undisturbed run.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from helpers.interruption import played
from helpers.xlsr_files import TINY

from engine.feature_cache import ABOUT_FILE, ROWS_FILE, STATES_FILE
from utils.locks import LOCK_NAME

pytestmark = pytest.mark.slow

POINTS = {"training": 21, "tracing": 21, "filling a cache": 6, "taxonomy training": 6, "taxonomy tracing": 6}
SIGNALS = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}  # exit status after each
KINDS = ("batch", "step", "write")


class Work(NamedTuple):
    """A script with its flags, and what becomes of it when nobody disturbs it."""

    script: str
    flags: list
    outputs: tuple  # flags of the folders that it writes
    moments: dict  # {kind: number}
    last: dict  # {kind: number} of the moments in which it may be stopped
    versions: dict  # {file: the contents that it may have, the last one in the end}

    def play(self, folder, chosen=None, act=None, *more):
        places = [part for flag in self.outputs for part in (flag, folder)]
        return played(self.script, [*self.flags, *places, *more], folder, chosen, act)

    def go_on(self, folder):
        """Run it again as its user would."""
        more = ["--continue_training"] if (folder / "last/state.pt").exists() else []
        return self.play(folder, None, None, *more)

    def any_moment(self, seed, kind):
        return kind, random.Random(f"{self.script} {seed}").randint(1, self.last[kind])


def contents(folder):
    """{file: bytes} of what a run leaves to others: no temporary files and parts, no TensorBoard, no flags."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
    names = {str(path.relative_to(folder)): path for path in paths if path.name not in (LOCK_NAME, "args.json")}
    hidden = {name for name in names if any(part.startswith(".") for part in name.split("/"))}
    return {name: content(names[name]) for name in sorted(names.keys() - hidden)}


def content(path):
    """The bytes of a file; of the state of a training what it holds, as pickle writes equal texts in several ways."""
    return plain(torch.load(path, weights_only=True)) if path.name == "state.pt" else path.read_bytes()


def plain(part):
    """`part` of a state, with tensors as bytes."""
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [plain(value) for value in part]
    return (part.dtype, part.shape, part.numpy().tobytes()) if torch.is_tensor(part) else part


def undisturbed(script, flags, outputs, folder, *more):
    work = Work(script, flags, outputs, {}, {}, {})
    ended = work.play(folder, None, None, *more)
    assert ended.status == 0, ended.output
    versions = {name: [held] for name, held in contents(folder).items()}
    return work._replace(moments=ended.moments, last=ended.moments, versions=versions)


@pytest.fixture(scope="module")
def works(corpus, taxonomy_corpus, tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("undisturbed"), ["--data_root", corpus, "--num_workers", 0]
    train = [*base, "--model", "mellcnn", "--batch_size", 7]
    first = undisturbed("main_train", train, ["-o"], folder / "one", "--num_epochs", 1)
    training = undisturbed("main_train", [*train, "--num_epochs", 3], ["-o"], folder / "model")
    second = undisturbed("main_train", [*train, "--num_epochs", 2], ["-o"], folder / "two")
    for name, held in training.versions.items():
        held[:0] = [each for work in (first, second) for each in work.versions.get(name, [])]
    trace = [*base, "--model_folder", folder / "model", "--condition", "single7", "multi8", "--batch_size", 2]
    outputs = ["--result", "--save_feats"]
    return {
        "training": training,
        "tracing": undisturbed("source_tracing_ood", trace, outputs, folder / "result"),
        "filling a cache": filling(base, folder),
        **taxonomy(["--data_root", taxonomy_corpus, "--num_workers", 0, "--SSL_path", TINY], folder),
    }


def filling(base, folder):
    """An epoch of W2V-AASIST that may be stopped for as long as it fills its --cache_features."""
    flags = [*base, "--model", "W2VAASIST", "--SSL_path", TINY, "--batch_size", 3, "--num_epochs", 1]
    work = undisturbed("main_train", flags, ["-o", "--cache_features"], folder / "cached")
    for name, held in work.versions.items():
        if Path(name).name == ABOUT_FILE:
            held.insert(0, held[0].replace(b'"whole": true', b'"whole": false'))
    batches = 21 // 3 + 3  # of the training and the development clips
    return work._replace(last=work.play(folder / "filled", ("batch", batches), "SIGINT").moments)


def taxonomy(base, folder):
    """The taxonomy's scripts on a model of one task."""
    train = [*base, "--model_type", "S_VQ", "--batch_size", 2, "--num_epochs", 2]
    first = undisturbed("main_train_taxonomy", [*train[:-1], 1], ["-o"], folder / "taxonomy-one")
    training = undisturbed("main_train_taxonomy", train, ["-o"], folder / "taxonomy")
    for name, held in training.versions.items():
        held[:0] = first.versions.get(name, [])
    trace = [*base, "--model_path", folder / "taxonomy", "--batch_size", 2]
    tracing = undisturbed("source_tracing_taxonomy", trace, ["--result"], folder / "taxonomy-result")
    return {"taxonomy training": training, "taxonomy tracing": tracing}


def assert_whole(work, folder):
    """Whatever has a file's name has a whole content of it; a cache that is not whole says so, or nothing."""
    found = contents(folder)
    for name, held in found.items():
        grows = Path(name).name in (STATES_FILE, ROWS_FILE) and b'"whole": true' not in found.get(
            str(Path(name).with_name(ABOUT_FILE)), b""
        )
        assert grows or held in work.versions[name], f"{name} is not whole"


def assert_as_undisturbed(work, folder):
    assert contents(folder) == {name: held[-1] for name, held in work.versions.items()}
    left = [path.name for path in folder.rglob("*") if path.name.startswith(".")]
    assert left == [], "temporary files stay behind"


def test_another_run_has_the_same_bytes_and_moments(works, tmp_path):
    for name, work in works.items():
        assert work.play(tmp_path / name).moments == work.moments
        assert_as_undisturbed(work, tmp_path / name)


@pytest.mark.parametrize(("name", "number"), [(name, number) for name in POINTS for number in range(POINTS[name])])
def test_what_is_stopped_goes_on_to_the_same_bytes(works, tmp_path, tried, name, number):
    work, folder = works[name], tmp_path / "run"
    act = ("SIGKILL", "SIGTERM")[number % 2] if number < 20 else "SIGINT"
    chosen = work.any_moment(number, KINDS[number // 2 % 3])
    stopped = work.play(folder, chosen, act)
    assert stopped.status == SIGNALS[act], (chosen, stopped)
    if act != "SIGKILL":
        assert "Traceback" not in stopped.output
        line = stopped.output.splitlines()[-1]
        assert line.startswith("stopped") and not (folder / LOCK_NAME).exists(), stopped.output
        if ": " in line and "training" in name:  # it had begun
            told = "--continue_training continues there" in line
            assert told == (folder / "last/state.pt").exists()
    assert_whole(work, folder)
    again = work.go_on(folder)
    assert again.status == 0, (chosen, again)
    assert_as_undisturbed(work, folder)
    tried[f"{name}: interruptions survived"] += 1


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("name", ["training", "tracing"])
def test_a_full_disk_is_told_and_leaves_what_was_whole(works, tmp_path, tried, name, number):
    work, folder = works[name], tmp_path / "run"
    chosen = work.any_moment(number, KINDS[number % 3])
    stopped = work.play(folder, chosen, "full disk")
    assert_whole(work, folder)
    if stopped.status == 0:  # all was written before
        assert_as_undisturbed(work, folder)
        return
    line = stopped.output.splitlines()[-1]
    assert stopped.status == 2 and line.startswith(f"error: {folder}"), (chosen, stopped)
    assert line.endswith(" cannot be written: File too large")
    assert "Traceback" not in stopped.output
    again = work.go_on(folder)
    assert again.status == 0, (chosen, again)
    assert_as_undisturbed(work, folder)
    tried[f"{name}: full disks survived"] += 1


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, and a function that gives it another size in KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, how):
        command = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}k", "tmpfs", str(folder)]
        return not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode

    if os.geteuid() or mount(64, ""):
        pytest.skip("only root can mount a small disk")
    yield folder, lambda size: mount(size, "remount,")
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["training", "tracing"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_small_disk_is_told_and_a_larger_one_suffices(works, small_disk, tried, name, share):
    (disk, resize), work = small_disk, works[name]
    resize(4 * max(1, int(share * sum(len(held[-1]) // 4096 + 1 for held in work.versions.values()))))  # 4 KiB a page
    stopped = work.play(disk / "run")
    assert stopped.status == 2, stopped
    line = stopped.output.splitlines()[-1]
    assert line.startswith(f"error: {disk}") and line.endswith(" cannot be written: No space left on device")
    assert "Traceback" not in stopped.output
    assert_whole(work, disk / "run")
    resize(10_000)
    again = work.go_on(disk / "run")
    assert again.status == 0, again
    assert_as_undisturbed(work, disk / "run")
    tried[f"{name}: full disks survived"] += 1
