"""A test condition is one row of the table: a row added from outside is traced and evaluated."""

import json

import pytest
import soundfile

import check_data
import evaluate_id_source
import source_tracing_id_other
from data.conditions import CONDITIONS, Condition
from data.protocols import audio_folder


@pytest.fixture
def own_condition(corpus, tmp_path):
    """A folder of clips of class 2 that no published row has, and its row."""
    folder = tmp_path / "own"
    folder.mkdir()
    for source in sorted((corpus / "ALM/speechgpt-gen").iterdir()):
        soundfile.write(folder / f"{source.stem}.flac", *soundfile.read(source))
    row = Condition("own", "source", 2, audio_folder(folder), ("result_own.txt",), paper={"mellcnn": 50.0})
    CONDITIONS.append(row)
    yield row
    CONDITIONS.remove(row)


def test_an_added_row_is_traced_and_evaluated(own_condition, trained, corpus, tmp_path, capsys):
    flags = ["--data_root", str(corpus), "--result", str(tmp_path / "result"), "--condition", "own"]
    model = ["--model_folder", str(trained / "model"), "--num_workers", "0"]
    source_tracing_id_other.main([*flags, *model, "--save_feats", str(tmp_path / "save_feats")])
    evaluate_id_source.main([*flags, "--json", str(tmp_path / "own.json")])
    (row,) = json.loads((tmp_path / "own.json").read_text())["conditions"]
    assert (row["condition"], row["class"], row["files"]) == ("own", 2, 2)
    assert row["paper"] == {"mellcnn": 50.0, "Rawaasist": None, "W2VAASIST": None}
    assert "own" in capsys.readouterr().out


def test_an_added_row_is_checked(own_condition, corpus, tmp_path, capsys):
    flags = ["--data_root", str(corpus), "--condition", "own", "--check_folder", str(tmp_path / "check")]
    check_data.main([*flags, "--num_workers", "0"])
    assert "findings that count as wrong: 0, in 2 files" in capsys.readouterr().out
