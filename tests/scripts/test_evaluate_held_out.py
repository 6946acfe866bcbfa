"""evaluate_held_out.py: groups that training never heard, and a line for every table that cannot be used."""

import json

import numpy as np
import pytest
import soundfile

import evaluate_held_out
import predict
from engine import fingerprints
from evaluation.calibration import read_calibration
from models.fingerprint import fingerprint_views
from reporting.held_out_section import held_out_section
from utils.errors import InputError, MissingInput

LINES = {"real": (), "one": (1500, 3000, 4500), "two": (2100, 4200, 6300)}  # Hz, of the lines that a label has


def write_corpus(folder, pages=("a", "b"), clips=8):
    """Noise, and for two of three labels faint lines in it; each page has a colour of its own."""
    rng = np.random.default_rng(0)
    rows = ["file,label,page\n"]
    for page, colour in zip(pages, (0.3, 0.8), strict=False):
        for label, number in ((label, number) for label in LINES for number in range(clips)):
            time = np.arange(24_000) / 16_000
            wave = 0.05 * np.convolve(rng.standard_normal(len(time) + 31), colour ** np.arange(32), "valid")
            wave += sum(0.004 * np.sin(2 * np.pi * line * time + rng.uniform(0, 6)) for line in LINES[label])
            name = f"{page}_{label}_{number}.wav"
            soundfile.write(folder / name, wave, 16_000)
            rows.append(f"{name},{label},{page}\n")
    (folder / "clips.csv").write_text("".join(rows))
    return folder / "clips.csv"


@pytest.mark.slow
def test_lines_are_found_on_a_page_that_training_never_heard(tmp_path, capsys):
    table = write_corpus(tmp_path)
    evaluate_held_out.main([str(table), "--num_epochs", "40", "--json", str(tmp_path / "held_out.json")])
    metrics = json.loads((tmp_path / "held_out.json").read_text())
    assert (metrics["clips"], metrics["groups"]) == (48, 2) and metrics["macro_f1"] > 80
    assert [row["label"] for row in metrics["labels"]] == ["one", "real", "two"]
    assert list(metrics["measured_of"]["files"]) == ["clips.csv"]
    assert "called real (%)" in capsys.readouterr().out


def test_the_same_command_gives_the_same_metrics(tmp_path):
    table = write_corpus(tmp_path, clips=2)
    for name in "12":
        evaluate_held_out.main([str(table), "--num_epochs", "2", "--json", str(tmp_path / f"{name}.json")])
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_the_saved_model_traces_files(tmp_path, capsys):
    table = write_corpus(tmp_path)
    model = tmp_path / "model"
    evaluate_held_out.main([str(table), "--num_epochs", "10", "--save", str(model), "--json", str(tmp_path / "a.json")])
    assert "Verdicts at the operating point (%)" in capsys.readouterr().out
    known = json.loads((tmp_path / "a.json").read_text())["verdicts"]["known codec"]
    assert known["clips"] == 32
    shares = {"right", "real", "unknown codec", "cannot tell", "wrong codec"}
    assert sum(known[answer] for answer in shares) == pytest.approx(100)
    assert {f"{answer}_interval" for answer in shares} == known.keys() - shares - {"clips"}
    run = json.loads((model / "args.json").read_text())
    assert run["config"]["model"] == "fingerprint-kernel" and run["config"]["num_classes"] == 3
    assert str(tmp_path) not in (model / "args.json").read_text()  # it may be shared
    outputs = ["--json", str(tmp_path / "p.json"), "--plot", str(tmp_path / "plots")]
    predict.main([str(tmp_path / "a_one_0.wav"), "--model_folder", str(model), *outputs])
    [file] = json.loads((tmp_path / "p.json").read_text())["files"]
    assert list(file["probabilities"]) == ["real", "one", "two"]
    assert {10 * round(peak["hz"] / 10) for peak in file["peaks"]} >= {3000, 4500} and "spectrum" not in file
    assert {"hz", "height", "frame_rates"} == set(file["peaks"][0]) and 500 in file["peaks"][0]["frame_rates"]
    assert "multiples of 500 Hz" in capsys.readouterr().out and (tmp_path / "plots" / "a_one_0.png").is_file()
    mean, spread = read_calibration(model).fingerprints
    assert mean.shape == spread.shape == (3, 1024) and mean[1, 1500 * 1024 // 8000] > mean[0, 1500 * 1024 // 8000] + 1
    (model / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"calibration.json was made for another model.safetensors"):
        predict.main([str(tmp_path / "a_one_0.wav"), "--model_folder", str(model)])


def test_a_codec_of_one_group_is_an_other_codec(tmp_path):
    table = write_corpus(tmp_path, clips=8)
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if not row.startswith("b_two")) + "\n")
    metrics = tmp_path / "a.json"
    evaluate_held_out.main([str(table), "--num_epochs", "2", "--save", str(tmp_path / "model"), "--json", str(metrics)])
    metrics = json.loads(metrics.read_text())
    assert [row["label"] for row in metrics["labels"]] == ["one", "real"]
    assert metrics["verdicts"]["unseen codec"]["clips"] == 8
    calibration = json.loads((tmp_path / "model" / "calibration.json").read_text())
    assert calibration["class_names"] == ["real", "one", "other codec"]


def test_too_few_clips_to_calibrate_are_named_before_the_work(tmp_path):
    table = write_corpus(tmp_path, clips=2)
    with pytest.raises(InputError, match=r"^12 development clips are too few to find the threshold that keeps 0.95"):
        evaluate_held_out.main([str(table), "--save", str(tmp_path / "model")])
    assert not (tmp_path / "model").exists()


def test_fingerprints_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    table = write_corpus(tmp_path, clips=2)
    cache = tmp_path / "cache"
    command = [str(table), "--num_epochs", "1", "--copies", "1", "--cache", str(cache), "--json"]
    evaluate_held_out.main([*command, str(tmp_path / "1.json")])
    assert sorted(path.name for path in cache.iterdir()) == ["copy-1.safetensors", "none.safetensors"]
    computed = []
    monkeypatch.setattr(fingerprints, "fingerprint_views", lambda wave: computed.append(1) or fingerprint_views(wave))
    evaluate_held_out.main([*command, str(tmp_path / "2.json")])
    assert not computed
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    soundfile.write(tmp_path / "a_one_0.wav", np.random.default_rng(0).standard_normal(24_000) / 9, 16_000)
    evaluate_held_out.main([*command, str(tmp_path / "3.json")])
    assert len(computed) == 24


def test_treatments_and_enrolment_have_tables_of_their_own(tmp_path, capsys):
    table = write_corpus(tmp_path)
    table.write_text("\n".join(row for row in table.read_text().splitlines() if not row.startswith("b_two")) + "\n")
    command = [str(table), "--num_epochs", "10", "--treatments", "mp3", "first-1s", "--enrol", "1", "5"]
    outputs = ["--save", str(tmp_path / "model"), "--plot", str(tmp_path / "plots" / "curve.png")]
    evaluate_held_out.main([*command, *outputs, "--json", str(tmp_path / "a.json")])
    metrics = json.loads((tmp_path / "a.json").read_text())
    assert [row["treatment"] for row in metrics["treatments"]] == ["none", "mp3", "first-1s"]
    assert metrics["treatments"][0]["macro_f1"] == metrics["macro_f1"]
    assert metrics["treatments"][0]["known_right"] == metrics["verdicts"]["known codec"]["right"]
    assert [(row["k"], row["codecs"], row["clips"]) for row in metrics["enrolment"]] == [(1, 1, 8), (5, 1, 8)]
    assert metrics["risk_coverage"][-1]["coverage"] == 100
    pieces = held_out_section("a.json", metrics)  # of the report
    assert [piece.kind for piece in pieces if piece.kind != "paragraph"] == ["table", "table", "plot", "table", "table"]
    assert (tmp_path / "plots" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in (tmp_path / "model" / "args.json").read_text()
    printed = capsys.readouterr().out
    assert "After a treatment of the test clips (%)" in printed and "unseen named" in printed
    assert "Enrolment of codecs that the reader has not learned" in printed


def test_a_curve_that_cannot_be_drawn_is_refused_before_the_work(tmp_path):
    table = write_corpus(tmp_path, clips=1)
    (tmp_path / "folder.png").mkdir()
    save = ["--save", str(tmp_path / "model")]
    for name, more, message in (
        ("a.png", [], "--plot draws a curve of the calibrated model: give --save too"),
        ("a.svg", save, f"--plot {tmp_path / 'a.svg'}: expected a file name that ends in .png"),
        ("folder.png", save, f"{tmp_path / 'folder.png'} cannot be written: it is a folder"),
    ):
        with pytest.raises(InputError) as caught:
            evaluate_held_out.main([str(table), "--plot", str(tmp_path / name), *more])
        assert str(caught.value) == message


def test_merged_labels_become_one(tmp_path):
    table = write_corpus(tmp_path, clips=2)
    evaluate_held_out.main([str(table), "--merge", "one/two", "--num_epochs", "1", "--json", str(tmp_path / "a.json")])
    labels = json.loads((tmp_path / "a.json").read_text())["labels"]
    assert [(row["label"], row["clips"]) for row in labels] == [("one/two", 8), ("real", 4)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--merge", "one/three"], "--merge one/three: {} has no clip of the label three"),
        (["--treatments", "mp4"], "--treatments mp4: expected all, or some of: mp3, mp3-small, opus, opus-small, "),
    ],
)
def test_names_that_do_not_exist_are_refused(tmp_path, flags, message):
    table = write_corpus(tmp_path, clips=1)
    with pytest.raises(InputError) as caught:
        evaluate_held_out.main([str(table), *flags])
    assert str(caught.value).startswith(message.format(table))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1 has no column file, label, page: expected file, label and page, found no text"),
        ("file,label\n", ":1 has no column page: expected file, label and page, found file, label"),
        ("file,label,page\n", " names no clip"),
        ("file,label,page\na.wav,,x\n", ":2 has nothing in the column label"),
        ("file,label,page\na.wav,real,\n", ":2 has nothing in the column page"),
    ],
)
def test_a_broken_table_is_refused_by_line(tmp_path, text, message):
    table = tmp_path / "clips.csv"
    table.write_text(text)
    with pytest.raises(InputError) as caught:
        evaluate_held_out.main([str(table)])
    assert str(caught.value) == f"{table}{message}"


def test_an_absent_table_or_clip_is_named(tmp_path):
    with pytest.raises(MissingInput, match=r"none.csv does not exist: give a CSV file"):
        evaluate_held_out.main([str(tmp_path / "none.csv")])
    (tmp_path / "clips.csv").write_text("file,label,page\na.wav,real,x\n")
    with pytest.raises(MissingInput, match=r"clips.csv:2 names .*a.wav, which does not exist"):
        evaluate_held_out.main([str(tmp_path / "clips.csv")])


def test_one_group_is_not_enough(tmp_path):
    table = write_corpus(tmp_path, pages=("a",), clips=1)
    with pytest.raises(InputError) as caught:
        evaluate_held_out.main([str(table)])
    assert str(caught.value) == (
        f"{table}: 0 labels have clips in two groups or more, expected at least 2: give another --group"
    )
