"""Hostile files: each is refused by a message that names it, or accepted; the good files beside it lose nothing."""

import csv
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from helpers import ROOT, hostile, run_script
from helpers.hostile import EITHER, GOOD
from helpers.mutations import Code

import source_tracing_id
import source_tracing_id_other
from config import Config
from data.audio import load_wave
from engine.bad_audio import read_bad_audio
from engine.feature_files import read_features
from engine.score_files import read_class_scores
from evaluation.calibration import read_calibration
from models.building import load_model
from models.weights import read_checkpoint
from utils.errors import InputError, printable
from utils.model_files import CHECKPOINT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bad_corpus(tmp_path_factory):
    """A folder --data_root whose condition mimi is the hostile files, and what is expected of each."""
    root = tmp_path_factory.mktemp("hostile")
    return root, hostile.make(root / "ID_diff_source/NCSSD-mimi")


def test_there_are_enough_of_them(bad_corpus):
    expected = bad_corpus[1].values()
    assert len(expected) >= 200 and sum(what is not GOOD for what in expected) >= 120


def may_be_read(what):
    """Whether nothing need be wrong with a file's content, by what hostile.make() expects of it."""
    return what in (GOOD, EITHER) or any("line break" in part or "UTF-8" in part for part in what)


def test_every_file_is_read_or_named(bad_corpus, tried):
    root, expected = bad_corpus
    for name, what in expected.items():
        path = root / "ID_diff_source/NCSSD-mimi" / name
        try:
            wave = load_wave(path, 64_600)
        except InputError as error:
            assert what is not GOOD and str(path) in str(error), error
            assert what is EITHER or any(part in str(error) for part in what), error
        else:
            assert may_be_read(what), path
            assert wave.dtype == np.float32 and np.isfinite(wave).all() and len(wave)
        tried["audio: hostile files read, or refused by name"] += 1


def test_tracing_loses_no_good_file(bad_corpus, trained, tmp_path, tried, capsys):
    root, expected = bad_corpus
    run = ["--data_root", root, "--model_folder", trained / "model", "--result", tmp_path, "--condition", "mimi"]
    run = [str(part) for part in (*run, "--num_workers", 0, "--batch_size", 16, "--on_bad_audio", "skip")]
    source_tracing_id_other.main(run)
    scored = read_class_scores(tmp_path / "result_ncssd_mimi.txt", 7)
    listed = {name: reason for condition, name, reason in read_bad_audio(tmp_path)}
    assert not scored.keys() & listed.keys() and scored.keys() | listed.keys() == expected.keys()
    for name, what in expected.items():
        if what is GOOD:
            assert name in scored, listed[name]
        elif what is not EITHER:
            assert any(part in listed[name] for part in what), listed[name]
            assert name in listed[name] or repr(name) in listed[name]
    tried["tracing: hostile files scored, or listed with a reason"] += len(expected)
    assert f"{len(listed)} files could not be used" in capsys.readouterr().out
    assert not (ROOT / "canary").exists() and not (tmp_path / "canary").exists()


def test_predict_loses_no_good_file(bad_corpus, calibrated, tmp_path, tried):
    root, expected = bad_corpus
    paths = {str(root / "ID_diff_source/NCSSD-mimi" / name): what for name, what in expected.items()}
    # A folder stands for the files in it, and ten hours are 18,000 windows.
    expected = {path: what for path, what in paths.items() if not os.path.isdir(path) and "10-hours" not in path}
    run = ["--model_folder", calibrated / "model", "--json", tmp_path / "out.json", "--csv", tmp_path / "out.csv"]
    run += ["--num_workers", 0]
    more = {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    ended = run_script("predict.py", *expected, *run, env=os.environ | more)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr[-3000:]
    told = json.loads((tmp_path / "out.json").read_text())
    traced = {row["file"] for row in told["files"]}
    failed = {row["file"]: row["error"] for row in told["failed"]}
    assert traced | failed.keys() == expected.keys() and not traced & failed.keys()
    for path, what in expected.items():
        if path in failed:
            assert what is not GOOD and path in failed[path], failed[path]
            assert what is EITHER or any(part in failed[path] for part in what), failed[path]
        else:
            assert may_be_read(what) and printable(path) in ended.stdout, path
    errors = [f"error: {printable(error)}" for error in failed.values()]
    shown = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert shown and shown == errors[: len(shown)]
    assert f"... and {len(errors) - len(shown)} more files that cannot be used" in ended.stderr
    assert all(line.isprintable() for line in ended.stdout.split("\n"))
    with open(tmp_path / "out.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = {row["file"]: row["error"] for row in csv.DictReader(file)}
    assert rows == {path: failed.get(path, "") for path in expected}
    tried["predict.py: hostile files traced, or refused by name"] += len(expected)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def plain_pickle(path, state, code):
    path.write_bytes(pickle.dumps(code))


def code_beside_weights(path, state, code):
    torch.save({**state, "code": code}, path)


def code_in_a_legacy_file(path, state, code):
    torch.save({"code": code}, path, _use_new_zipfile_serialization=False)


def whole_model(path, state, code):
    torch.save(torch.nn.Linear(2, 2), path)


def lacks_a_key(path, state, code):
    torch.save(dict(list(state.items())[:-1]), path)


def holds_another_key(path, state, code):
    torch.save({**state, "more": torch.zeros(1)}, path)


def wrong_shape(path, state, code):
    torch.save({name: value[None] for name, value in state.items()}, path)


def of_nan(path, state, code):
    torch.save({name: value * torch.nan if value.is_floating_point() else value for name, value in state.items()}, path)


def one_infinity(path, state, code):
    last = list(state)[-1]
    torch.save({**state, last: torch.full_like(state[last], torch.inf)}, path)


def no_dict(path, state, code):
    torch.save(list(state.values()), path)


def no_tensors(path, state, code):
    torch.save(dict.fromkeys(state, "x"), path)


def cut(path, state, code):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path, state, code):
    path.write_bytes(b"")


def zip_bomb(path, state, code):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
        with file.open("archive/data/0", "w", force_zip64=True) as part:
            for _ in range(300):
                part.write(bytes(1 << 20))


def text(path, state, code):
    path.write_text("404 Not Found")


BAD = [
    *(plain_pickle, code_beside_weights, code_in_a_legacy_file, whole_model, lacks_a_key, holds_another_key),
    *(wrong_shape, of_nan, one_infinity, no_dict, no_tensors, cut, empty, zip_bomb, text),
]


@pytest.mark.parametrize("damage", BAD)
def test_a_bad_checkpoint_is_named_and_runs_no_code(trained, tmp_path, tried, damage):
    good = read_checkpoint(trained / "model" / CHECKPOINT)
    path, canary = tmp_path / CHECKPOINT, tmp_path / "canary"
    damage(path, good, Code(canary))
    with pytest.raises(InputError) as caught:
        load_model(tmp_path, Config(model="mellcnn"))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="evaldict"):
        path.rename(tmp_path / "evaldict_id.pt")
        read_features(tmp_path / "evaldict_id.pt")
    assert not canary.exists()
    tried["checkpoints and feature files: bad ones refused by name"] += 2


def test_the_canary_sings(tmp_path):
    with open(tmp_path / "code", "wb") as file:
        pickle.dump(Code(tmp_path / "canary"), file)
    pickle.loads((tmp_path / "code").read_bytes())
    assert (tmp_path / "canary").exists()


# ---- protocols and JSON ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"x" * 100_000,
        b"a.wav fake",
        b"a.wav FAKE 1",
        b"a.wav fake 7",
        b"a.wav fake -1",
        b"a.wav fake 1.0",
        b"a.wav fake 1e999",
        "a.wav fake ²".encode(),
        b"a.wav fake 99999999999999999999999999",
        b"no\0.wav fake 1",
        b"../../nowhere.wav fake 1",
        b"/etc/hostname fake 1",
        b"a/b/c/d/e/f/g/h/i/j/k.wav fake 1",
        b"././././././././././././x.wav fake 1",
    ],
)
def test_a_bad_line_of_labels_is_named(corpus, trained, tmp_path, tried, line):
    label = tmp_path / "label.txt"
    label.write_bytes(line + b"\n")
    run = ["--data_root", corpus, "--eval_label", label, "--model_folder", trained / "model"]
    run += ["--result", tmp_path / "result", "--save_feats", tmp_path / "result"]
    for more in ([], ["--on_bad_audio", "skip"]):
        with pytest.raises(InputError) as caught:
            source_tracing_id.main([str(part) for part in (*run, *more, "--num_workers", 0)])
        named = str(label) in str(caught.value) or str(corpus / "eval_id") in str(caught.value) or b"/etc" in line
        assert named and not (tmp_path / "result/result_id.txt").exists(), caught.value
    tried["protocols: bad lines refused by name"] += 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": NaN}', "[" * 5000, "\0", '"x"']
)
def test_bad_json_is_named(calibrated, tmp_path, tried, text):
    folder = shutil.copytree(calibrated / "model", tmp_path / "model")
    (folder / "calibration.json").write_text(text)
    with pytest.raises(InputError, match=r"calibration\.json"):
        read_calibration(folder)
    tried["JSON: bad ones refused by name"] += 1
