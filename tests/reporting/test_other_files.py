"""Metrics in other JSON files of --result: the report shows them only while they are those of the same files."""

import json
import shutil

import pytest
from helpers import change_quietly

import summarise_seeds
from config import Config
from evaluation.freshness import with_own_digest
from evaluation.metric_files import read_metrics
from evaluation.tables import write_metrics
from reporting.build import SectionCollector
from reporting.evaluations import kept_metrics
from reporting.files import read_other_metrics
from reporting.run import read_training
from utils.errors import InputError

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


def test_metrics_of_an_older_version_do_not_say_enough(tmp_path):
    path = tmp_path / "ood.json"
    for measured_of in (None, {}, {"--seed": 5}, [5]):
        path.write_text(json.dumps({"figures": [], "measured_of": measured_of}))
        assert kept_metrics(path, {"--seed": 5}) == (None, "it does not say what it was measured of")
    write_metrics(Config(json=path), {"figures": [], "measured_of": {"--seed": 5}})
    assert kept_metrics(path, {"--seed": 5})[1] == ""
    assert kept_metrics(path, {"--seed": 6})[1] == "--seed was 5, now 6"


WRONG = {
    '{"auc": NaN}': "auc is nan, expected a finite number",
    '{"figures": [{"eer": -0.5}]}': "figures.0.eer is -0.5, expected greater than or equal to 0",
    '{"macro_f1": 101}': "macro_f1 is 101, expected less than or equal to 100.0001",
    '{"macro_f1": "90"}': "macro_f1 is '90', expected a valid number",
    '{"accuracy": true}': "accuracy is True, expected a valid number",
    '{"class_f1": [50, 1e999]}': "class_f1.1 is inf, expected a finite number",
    '{"class_f1": {"a": []}, "f1": {"b": {}}, "oscr": [[-1]]}': "oscr.0.0 is -1, expected greater than or equal to 0",
    '{"f1_interval": [1]}': "f1_interval is [1], expected at least 2 items",
    '{"f1_interval": [1, 2, 3]}': "f1_interval is [1, 2, 3], expected at most 2 items",
    '{"f1_interval": [2, 1]}': "f1_interval is [2, 1], expected 'in order'",
    '{"f1_interval": [1, null]}': "f1_interval.1 is None, expected a valid number",
    '{"class_f1_interval": [[1, 2], [2, 1]]}': "class_f1_interval.1 is [2, 1], expected 'in order'",
    '{"clips": -1}': "clips is -1, expected greater than or equal to 0",
    '{"files": 1.5}': "files is 1.5, expected a valid integer",
    '{"confusion": [[1, 2]]}': "confusion is [[1, 2]], expected 'square'",
    '{"confusion": [[1, 2], [3]]}': "confusion is [[1, 2], [3]], expected 'square'",
    '{"confusion": [[-1]]}': "confusion.0.0 is -1, expected greater than or equal to 0",
}


@pytest.mark.parametrize("ends", [[None] * 7, [[1, 2], None], {"a": None}, None])
def test_without_resamples_intervals_are_absent(ends, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"class_f1_interval": ends}))
    assert read_metrics(tmp_path / "a.json") == {"class_f1_interval": ends}


@pytest.mark.parametrize("text", WRONG)
def test_values_of_a_wrong_type_range_or_length_are_one_line_everywhere(text, written):
    paths = written / "result/other.json", written / "a/result/id_f1.json"
    for path in paths:
        path.write_text(text)
    assert shown(written)[1]["other.json"] == f"{paths[0]}: {WRONG[text]}: {AGAIN}"
    with pytest.raises(InputError) as caught:
        summarise_seeds.main([str(written / "a"), str(written / "b")])
    assert str(caught.value) == f"{paths[1]}: {WRONG[text]}: {AGAIN}"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("5", "holds 5, expected an object or a list"),
        ("{", "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("[" * 30 + "]" * 30, "is nested too deeply"),
        ("[" * 100_000, "is not JSON (it is nested too deeply)"),
    ],
)
def test_other_content_is_one_line(text, reason, written):
    path = written / "result/other.json"
    path.write_text(text)
    assert shown(written)[1] == {"other.json": f"{path} {reason}: {AGAIN}"}


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"runs": ["a"]}, "runs is ['a'], expected at least 2 items"),
        ({"figures": [{"figure": "f1", "mean": 1, "sd": -1, "values": {}}]}, "figures.0.sd is -1, expected greater"),
        ({"figures": [{"figure": "f1", "mean": 1, "sd": 1}]}, "figures.0.values is missing"),
        ({"figures": [{"figure": "f1", "mean": 1, "sd": 1, "values": {"a": 1}}]}, "KeyError('b')"),
    ],
)
def test_seeds_of_a_wrong_form_are_named(change, reason):
    collector = SectionCollector({})
    collector.add_files({"seeds.json": {"runs": ["a", "b"], "figures": []} | change})
    assert reason in collector.missing["seeds.json"] and collector.sections == {}


def test_metrics_that_others_list_are_no_error(written):
    (written / "result/other.json").write_text(
        json.dumps({"files": [{"file": "a.wav"}], "f1": None, "clips": {"a": 1}})  # as predict.py --json has files
    )
    assert shown(written)[1] == {}


@pytest.mark.parametrize(
    "log, reason",
    [
        ('{"epoch": 1, "train_loss": NaN, "dev_loss": 1}', "train_loss is nan, expected a finite number"),
        ('{"epoch": 2, "train_loss": 1, "dev_loss": 1}', "has the epoch 2 where 1 is expected"),
        ('{"epoch": 1, "train_loss": 1}', "epochs.0.dev_loss is missing"),
        ("[1]", "expected a valid dictionary"),
        ("{", "log.jsonl:1 is not JSON"),
        ("", "epochs is [], expected at least 1 item"),
    ],
)
def test_a_log_of_a_wrong_form_is_one_line(log, reason, tmp_path):
    (tmp_path / "args.json").write_text('{"config": {"model": "mellcnn"}}')
    (tmp_path / "log.jsonl").write_text(log)
    with pytest.raises(InputError) as caught:
        read_training(tmp_path)
    assert str(tmp_path / "log.jsonl") in str(caught.value) and reason in str(caught.value)
    assert "\n" not in str(caught.value)
