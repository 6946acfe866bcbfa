"""Class names travel: from the corpus into args.json of a run, and from there beside the score files."""

import json
import shutil

import pytest
from helpers.training import small_corpus, use_small_model

import main_train
import source_tracing_id
from data.classes import read_sidecar
from utils.errors import InputError

NAMES = ["real", "larch", "rowan"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with a corpus that names its three classes, and a small model of one epoch on it."""
    use_small_model(monkeypatch)
    corpus = small_corpus(tmp_path / "corpus", classes=3)
    described = {str(label): {"name": name} for label, name in enumerate(NAMES)}
    (corpus / "manifest.json").write_text(json.dumps({"classes": described, "known": 3}))
    flags = ["--data_root", corpus, "--model", "mellcnn", "--num_workers", 0, "--batch_size", 3, "--num_epochs", 1]
    main_train.main([*map(str, flags), "-o", str(tmp_path / "model")])
    return tmp_path


def trace(run, result):
    folders = ["--model_folder", run / "model", "--result", result, "--save_feats", run / "save_feats"]
    flags = ["--data_root", run / "corpus", "--num_workers", 0, *folders]
    source_tracing_id.main(list(map(str, flags)))
    return read_sidecar(result)[:2]


def test_names_go_into_the_run_and_beside_the_score_files(run):
    assert json.loads((run / "model/args.json").read_text())["classes"] == NAMES
    assert trace(run, run / "result") == (NAMES, None)


def test_a_model_keeps_its_names_on_another_corpus(run):
    (run / "corpus/manifest.json").unlink()
    assert trace(run, run / "result") == (NAMES, None)


def test_a_run_without_names_takes_those_of_the_corpus(run):
    path = run / "model/args.json"
    description = json.loads(path.read_text())
    del description["classes"]
    path.write_text(json.dumps(description))
    assert trace(run, run / "result") == (NAMES, None)
    (run / "corpus/manifest.json").unlink()
    assert trace(run, run / "other") == (["real", "class 1", "class 2"], None)


@pytest.mark.parametrize("damage", [None, "abc", ["real"], [0, 1, 2]])
def test_damaged_names_of_a_run_are_refused(run, damage):
    path = run / "model/args.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": damage}))
    with pytest.raises(InputError, match=r"args\.json: classes.* is .*, expected .*: copy it again, or train again"):
        trace(run, run / "result")


def test_the_names_of_st_codecfake_are_recognised(trained):
    names, corpus = read_sidecar(trained / "result")[:2]
    assert len(names) == 7 and names[:2] == ["real", "mimi"] and corpus == "ST-Codecfake"


def test_another_model_replaces_the_names(run, trained):
    shutil.copy(trained / "result/classes.json", run)
    (run / "result").mkdir()
    shutil.move(run / "classes.json", run / "result")
    assert trace(run, run / "result") == (NAMES, None)
