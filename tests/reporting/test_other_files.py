"""Metrics in other JSON files of --result: the report shows them only while they are those of the same files."""

import json
import shutil

import pytest
from helpers import change_quietly

import summarise_seeds
from config import Config
from evaluation.freshness import with_own_digest
from reporting.files import read_other_metrics

AGAIN = "run the script that wrote it again"


@pytest.fixture
def written(tmp_path):
    """A folder of two runs and of result/seeds.json, and what the report says of it: (contents, missing)."""
    for run, value in (("a", 50.0), ("b", 60.0)):
        (tmp_path / run / "result").mkdir(parents=True)
        (tmp_path / run / "result/id_f1.json").write_text(json.dumps({"macro_f1": value}))
    (tmp_path / "result").mkdir()
    runs = [str(tmp_path / run) for run in "ab"]
    summarise_seeds.main([*runs, "--json", str(tmp_path / "result/seeds.json")])
    return tmp_path


def shown(folder):
    missing = {}
    return read_other_metrics(Config(result=folder / "result", model_folder=folder), [], missing), missing


def test_metrics_of_the_same_files_are_shown_also_in_another_place(written, capsys):
    capsys.readouterr()
    for folder in (written, shutil.copytree(written, written / "elsewhere")):
        contents, missing = shown(folder)
        assert (
            missing == {} and list(contents) == ["seeds.json"] and contents["seeds.json"].keys() == {"runs", "figures"}
        )
    assert capsys.readouterr().out == ""


def test_metrics_of_other_files_are_left_out(written):
    change_quietly(written / "b/result/id_f1.json")
    assert shown(written) == ({}, {"seeds.json": f"../b/result/id_f1.json has changed: {AGAIN}"})


def test_edited_metrics_are_left_out(written):
    path = written / "result/seeds.json"
    path.write_text(path.read_text().replace("55.0", "99.0"))
    assert shown(written) == ({}, {"seeds.json": f"the file itself has changed: {AGAIN}"})


def test_what_cannot_be_checked_is_named(written, capsys):
    (written / "b/result/id_f1.json").unlink()
    (written / "result/notes.json").write_text('{"a": 1}')
    capsys.readouterr()
    contents, missing = shown(written)
    assert missing == {} and list(contents) == ["notes.json", "seeds.json"]
    assert capsys.readouterr().out == (
        "notes.json: it does not say what it was measured of, so it may be older than the files of this run\n"
        "seeds.json: not checked, because it is not there: ../b/result/id_f1.json\n"
    )


def test_a_file_of_the_same_folder_must_be_there(written):
    content = {"tasks": {}, "measured_of": {"files": {"vq_score.txt": "0" * 64}}}
    path = written / "result/taxonomy/metrics.json"
    path.parent.mkdir()
    path.write_text(json.dumps(with_own_digest(content)))
    assert shown(written)[1] == {"taxonomy/metrics.json": f"vq_score.txt is gone: {AGAIN}"}
