"""A folder that cannot be read is named by every script that would otherwise leave out its files."""

import csv
import errno
import os
from pathlib import Path

import pytest
from helpers.page_server import recording

import check_data
import compare
import enroll
import evaluate_alm
import main_train
import make_taxonomy_lists
import predict
import report
import share_model
from utils.errors import InputError
from utils.reading import files_below


@pytest.fixture
def lock(monkeypatch):
    """lock(folder): from now on nobody may list it, not even root."""

    def lock(folder):
        def denying(function):
            def call(path=".", *more, **options):
                if Path(path) == folder:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
                return function(path, *more, **options)

            return call

        for name in ("scandir", "listdir"):
            monkeypatch.setattr(os, name, denying(getattr(os, name)))
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, *more, **options: path != folder and access(path, *more))
        return folder

    return lock


def test_files_below_a_folder(tmp_path, lock):
    for name in ("a/b/c.txt", "a/d.txt", "e.txt", "locked/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere", tmp_path / "link")
    os.symlink(tmp_path / "a", tmp_path / "linked")
    names = ["a/b/c.txt", "a/d.txt", "e.txt", "link", "linked"]
    assert files_below(tmp_path) == [tmp_path / name for name in (*names, "locked/f.txt")]
    assert files_below(tmp_path, levels=1) == [tmp_path / name for name in ("e.txt", "link", "linked")]
    assert tmp_path / "linked/d.txt" in files_below(tmp_path, levels=2)
    assert files_below(tmp_path / "nowhere") == files_below(tmp_path / "e.txt") == []
    lock(tmp_path / "locked")
    told = []
    assert files_below(tmp_path, told.append) == [tmp_path / name for name in names]
    assert told == [tmp_path / "locked"]
    with pytest.raises(InputError, match=r"locked cannot be read: Permission denied$"):
        files_below(tmp_path)


def test_predict_traces_the_others_and_names_the_folder(calibrated, tmp_path, lock, capsys):
    (tmp_path / "clips/locked").mkdir(parents=True)
    (tmp_path / "clips/a.wav").write_bytes(recording(1))
    lock(tmp_path / "clips/locked")
    flags = ["--model_folder", calibrated / "model", "--num_workers", 0, "--csv", tmp_path / "o.csv"]
    with pytest.raises(SystemExit) as end:
        predict.main([str(flag) for flag in (tmp_path / "clips", *flags)])
    assert end.value.code == 1
    message = f"{tmp_path}/clips/locked cannot be read: Permission denied"
    assert f"error: {message}\n" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "o.csv").read_text().splitlines()))
    assert [row["error"] for row in rows] == ["", message]


@pytest.mark.parametrize("name", ["eval_id", "archives"])
def test_check_data_counts_the_folder_as_wrong(name, corpus, tmp_path, lock, capsys):
    if name == "archives":
        corpus = Path(tmp_path, "corpus").absolute()
        (corpus / name).mkdir(parents=True)
        (corpus / "list.csv").write_text("file,label\na.wav,real\nb.wav,x\nc.wav,x\n")
        for clip in ("a", "b", "c"):
            (corpus / f"{clip}.wav").write_bytes(recording(1))
    lists = ["--train_list", corpus / "list.csv", "--eval_rows", "file=c.wav", "--dev_rows", "file=c.wav"]
    lock(corpus / name)
    flags = ["--data_root", corpus, "--check_folder", tmp_path / "check", "--num_workers", 0]
    with pytest.raises(SystemExit) as end:
        check_data.main([str(flag) for flag in (*flags, *(lists if name == "archives" else ()))])
    assert end.value.code == 1
    findings = list(csv.DictReader((tmp_path / "check/findings.csv").read_text().splitlines()))
    assert [row["file"] for row in findings if row["kind"] == "unusable" and row["file"]] == [str(corpus / name)]
    assert not [row for row in findings if row["kind"] == "missing"]


REFUSING = {
    "enroll, a folder": ("ALM", lambda c, t: (enroll, ["x", c / "ALM", "--registry", t / "r.safetensors"])),
    "enroll, below it": ("ALM/moshi", lambda c, t: (enroll, ["x", c / "ALM", "--registry", t / "r.safetensors"])),
    "a list": ("ALM/moshi", lambda c, t: (main_train, ["--train_list", c / "ALM", "-o", t / "m"])),
    "a table": ("train", lambda c, t: (main_train, ["--train_list", c / "train.csv", "-o", t / "m"])),
    "a corpus": ("train", lambda c, t: (main_train, ["--data_root", c, "-o", t / "m"])),
    "outliers": (
        "ALM/moshi",
        lambda c, t: (main_train, ["--data_root", c, "--outliers", c / "ALM", "-o", t / "m", "--model", "mellcnn"]),
    ),
    "noise": (
        "ALM/moshi",
        lambda c, t: (main_train, ["--data_root", c, "--augment", "channel", "--noise_folder", c / "ALM", "-o", t]),
    ),
    "taxonomy": ("ALM", lambda c, t: (make_taxonomy_lists, ["--base_dir", c / "ALM", "--list_dir", t / "lists"])),
}


@pytest.mark.parametrize("case", REFUSING)
def test_what_needs_every_file_is_refused(case, corpus, tmp_path, lock):
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        os.symlink(path, copy / path.name)
    (copy / "train.csv").write_text("file,label\ntrain/train_0_0.wav,real\ntrain/train_2_0.wav,x\n")
    name, command = REFUSING[case]
    script, flags = command(copy, tmp_path)
    lock(copy / name)
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        script.main(list(map(str, flags)))


@pytest.mark.parametrize("script", [report, compare, evaluate_alm, share_model])
def test_results_are_not_left_out(script, trained, corpus, tmp_path, lock):
    os.symlink(trained / "save_feats", tmp_path / "save_feats")
    (tmp_path / "result").mkdir()
    for path in (trained / "result").iterdir():
        os.symlink(path, tmp_path / "result" / path.name)
    (tmp_path / "result/closed").mkdir()
    lock(tmp_path / "result/closed")
    run = ["--data_root", corpus, "--result", tmp_path / "result", "--save_feats", tmp_path / "save_feats"]
    flags = {
        share_model: [trained / "model", "--to", tmp_path / "shared", "--result", tmp_path / "result"],
        compare: [tmp_path, tmp_path, "--data_root", corpus],
        evaluate_alm: run[:4],
        report: [*run, "--model_folder", trained / "model"],
    }[script]
    with pytest.raises(InputError, match="closed cannot be read"):
        script.main(list(map(str, flags)))
