"""Score files and the evaluation scripts: joined by name, right to the last digit, a line for every bad input."""

import json
import random

import pytest
import torch
from helpers import FIXTURES, run_script, shared

import evaluate_alm
import evaluate_id_config
import evaluate_id_f1
import evaluate_id_source
import evaluate_id_unseenreal
from engine.score_files import class_scores, find_score_file, read_class_scores, score_text
from utils.errors import InputError, MissingInput

PUBLISHED = {
    "AASIST": {
        "class_f1": [99.98, 99.99, 100, 100, 100, 100, 99.98],
        "macro": 99.99,
        **{"19LA": 0.73, "ITW": 24.83, "NCSSD": 8.00, "C3-1": 99.99, "C3-2": 100, "C3-3": 100, "C3-4": 100},
        **{"C4-1": 99.98, "C4-2": 99.95, "C4-3": 99.87, "mimi": 96.64, "snac": 98.93},
        **{"moshi": 10.98, "mini-omni": 100, "speechgpt-gen": 100, "valle": 99.48},
    },
    "Mel-LCNN": {
        "class_f1": [90.33, 99.86, 98.84, 99.34, 97.50, 98.32, 91.29],
        "macro": 96.50,
        **{"19LA": 1.96, "ITW": 26.80, "NCSSD": 21.67, "C3-1": 98.65, "C3-2": 99.03, "C3-3": 98.98, "C3-4": 98.98},
        **{"C4-1": 96.05, "C4-2": 66.25, "C4-3": 8.07, "mimi": 93.33, "snac": 51.12},
        **{"moshi": 97.70, "mini-omni": 99.88, "speechgpt-gen": 100, "valle": 68.03},
    },
}


@pytest.mark.parametrize("model", PUBLISHED)
@pytest.mark.slow
def test_published_score_files_give_the_published_tables(model, tmp_path, capsys):
    root = shared("published/st_codecfake")
    flags = ["--result", str(root / model / "result"), "--data_root", str(tmp_path), "--json"]
    report = tmp_path / "report.json"
    evaluate_id_f1.main([*flags, str(report), "--eval_label", str(root / "label/eval_id.txt")])
    figures = json.loads(report.read_text())
    assert figures["class_f1"] == pytest.approx(PUBLISHED[model]["class_f1"], abs=0.0051)
    assert figures["macro_f1"] == pytest.approx(PUBLISHED[model]["macro"], abs=0.0051)
    assert figures["files"] == 92_596
    seen = set()
    for script in (evaluate_id_config, evaluate_id_source, evaluate_id_unseenreal, evaluate_alm):
        script.main([*flags, str(report)])
        for row in json.loads(report.read_text())["conditions"]:
            seen.add(row["condition"])
            assert row["f1"] == pytest.approx(PUBLISHED[model][row["condition"]], abs=0.0051), row
    assert seen == PUBLISHED[model].keys() - {"class_f1", "macro"}
    assert f"{PUBLISHED[model]['macro']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["mellcnn", "rawaasist", "w2vaasist"])
def test_score_lines_equal_those_of_the_released_code(model):
    lines = json.loads((FIXTURES / f"st_codecfake/{model}_check.json").read_text())["result_lines"]
    logits = torch.load(FIXTURES / f"st_codecfake/{model}_io.pt", weights_only=True)["logits"]
    assert score_text([line.split()[0] for line in lines], class_scores(logits)).splitlines() == lines


def write_id_scores(corpus, path, change=lambda lines: lines):
    """Score lines of eval_id, all right, in another order than the label file's; then `change` damages them."""
    labels = (corpus / "label/eval_id.txt").read_text().splitlines()
    lines = [f"{line.split()[0]} {line.split()[2]} 0.75" for line in labels]
    random.Random(0).shuffle(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(change(lines)) + "\n")
    return path


def test_scores_are_joined_by_name(corpus, tmp_path, capsys):
    write_id_scores(corpus, tmp_path / "result/result_id.txt")
    evaluate_id_f1.main(["--data_root", str(corpus), "--result", str(tmp_path / "result")])
    assert "macro                 14  100.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: sorted(lines)[1:], "has no score of eval_id_0_0.wav, named by {label}:1 (1 of 14 are missing)"),
        (
            lambda lines: [*lines, "stray.wav 0 0.5"],
            "scores stray.wav, which {label} does not name (1 files are unknown)",
        ),
        (lambda lines: [*lines, sorted(lines)[0]], ":15 scores eval_id_0_0.wav again: keep one line for each file"),
        (lambda lines: [*lines, "eval_id.wav 1"], ":15 reads 'eval_id.wav 1', expected FILE CLASS CONFIDENCE"),
        (lambda lines: [*lines, "a.wav one 0.5"], ":15 reads 'a.wav one 0.5', expected FILE CLASS CONFIDENCE"),
        (lambda lines: [*lines, "a.wav 1 1_0"], ":15 reads 'a.wav 1 1_0', expected FILE CLASS CONFIDENCE"),
        (lambda lines: [*lines, "a.wav ٣ 0.5"], ":15 reads 'a.wav ٣ 0.5', expected FILE CLASS CONFIDENCE"),
        (lambda lines: [*lines, "a.wav 1 nan"], ":15 gives class 1 at nan, expected 0 <= confidence <= 1"),
        (lambda lines: [*lines, "a.wav 1 1.5"], ":15 gives class 1 at 1.5, expected 0 <= confidence <= 1"),
        (
            lambda lines: [*lines[:-1], lines[-1].rsplit(" ", 2)[0] + " 7 0.5"],
            "gives {name} the class 7, expected 0 to 6",
        ),
    ],
)
def test_a_broken_score_file_is_named(corpus, tmp_path, change, line):
    path = write_id_scores(corpus, tmp_path / "result_id.txt", change)
    report = tmp_path / "report.json"
    with pytest.raises(InputError) as caught:
        evaluate_id_f1.main(["--data_root", str(corpus), "--result", str(tmp_path), "--json", str(report)])
    name = path.read_text().splitlines()[-1].rsplit(" ", 2)[0]
    assert str(caught.value).startswith(str(path))
    assert line.format(label=corpus / "label/eval_id.txt", name=name) in str(caught.value)
    assert not report.exists()


def test_a_condition_is_checked_against_its_corpus(corpus, tmp_path):
    path = tmp_path / "id_diff_config/result_C3-1.txt"
    path.parent.mkdir()
    path.write_text("C3-1_3_0.wav 3 0.5\nC3-1_3_9.wav 3 0.5\n")
    flags = ["--data_root", str(corpus), "--result", str(tmp_path), "--condition", "C3-1"]
    with pytest.raises(InputError, match=r"has no score of C3-1_3_1.wav"):
        evaluate_id_config.main(flags)


def test_missing_results_are_an_error_or_skipped(tmp_path, capsys):
    with pytest.raises(MissingInput, match=r"result_C3-1.txt does not exist: run the source_tracing script first"):
        evaluate_id_config.main(["--result", str(tmp_path)])
    (tmp_path / "result_C4-3.txt").write_text("a.wav 4 0.5\nb.wav 0 0.5\n")
    evaluate_id_config.main(["--result", str(tmp_path), "--data_root", str(tmp_path), "--skip_missing"])
    shown = capsys.readouterr().out
    assert "skipped C3-1" in shown and "C4-3           4      2  50.00 [0.0, 100.0]" in shown


def test_two_score_files_of_one_condition_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "alm"):
        folder.mkdir(exist_ok=True)
        (folder / "moshi.txt").write_text("a.wav 1 0.5\n")
    with pytest.raises(InputError, match="are both there"):
        find_score_file(tmp_path, ("alm/moshi.txt",))


def test_figures_that_cannot_be_written(tmp_path):
    (tmp_path / "result_C3-1.txt").write_text("a.wav 3 0.5\n")
    flags = ["--result", str(tmp_path), "--data_root", str(tmp_path), "--condition", "C3-1", "--json"]
    for report in (tmp_path / "result_C3-1.txt/report.json", tmp_path):
        with pytest.raises(InputError, match=f"^{report} cannot be written: "):
            evaluate_id_config.main([*flags, str(report)])
    assert [path.name for path in tmp_path.iterdir()] == ["result_C3-1.txt"]


def test_every_f1_has_an_interval(corpus, tmp_path, capsys):
    def some_wrong(lines):
        return [line.replace(" 0 0.75", " 1 0.75") for line in lines]

    write_id_scores(corpus, tmp_path / "result_id.txt", some_wrong)  # no real speech is told
    flags = ["--data_root", str(corpus), "--result", str(tmp_path), "--json", str(tmp_path / "id.json")]
    evaluate_id_f1.main(flags)
    figures = json.loads((tmp_path / "id.json").read_text())
    low, high = figures["macro_f1_interval"]
    assert low < figures["macro_f1"] < high
    assert figures["class_f1_interval"][0] == [0, 0] and figures["class_f1_interval"][6] == [100, 100]
    assert figures["accuracy_interval"][0] < figures["accuracy"] == pytest.approx(600 / 7)
    shown = capsys.readouterr().out
    assert f"  {figures['macro_f1']:.2f} [{low:.1f}, {high:.1f}]  " in shown
    evaluate_id_f1.main([*flags, "--resamples", "0"])
    assert json.loads((tmp_path / "id.json").read_text())["macro_f1_interval"] is None
    assert "[" not in capsys.readouterr().out


def test_names_with_blanks(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("a b  c.wav 2 0.5\n")
    assert read_class_scores(path, 7) == {"a b  c.wav": (2, 0.5)}


def test_bad_input_exits_with_status_2_and_one_line(tmp_path):
    finished = run_script("evaluate_id_f1.py", "--result", tmp_path / "none", "--data_root", tmp_path)
    assert finished.returncode == 2 and finished.stdout == ""
    expected = f"error: {tmp_path / 'none'} is not a folder: give the folder of score files as --result\n"
    assert finished.stderr == expected


def write_classes(folder, names):
    (folder / "classes.json").write_text(json.dumps({"classes": names, "corpus": None}))


def test_published_values_stand_only_beside_st_codecfake(corpus, tmp_path, capsys):
    result = tmp_path / "result"
    write_id_scores(corpus, result / "result_id.txt")
    flags = ["--data_root", str(corpus), "--result", str(result), "--json", str(tmp_path / "id.json")]
    evaluate_id_f1.main(flags)
    table = capsys.readouterr().out
    assert "paper W2V2-AASIST" in table and "99.99" in table and "90.33" in table
    write_classes(result, ["real", "larch", "rowan", "alder", "hazel", "maple", "birch"])
    evaluate_id_f1.main(flags)
    table = capsys.readouterr().out
    assert "1 larch" in table and "paper" not in table and "99.86" not in table
    assert json.loads((tmp_path / "id.json").read_text())["paper"] == {}


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_any_number_of_classes(tmp_path, count, capsys):
    result, label = tmp_path / "result", tmp_path / "label/eval_id.txt"
    label.parent.mkdir()
    label.write_text("".join(f"{n}.wav {'fake' if n % count else 'real'} {n % count}\n" for n in range(2 * count)))
    result.mkdir()
    (result / "result_id.txt").write_text("".join(f"{n}.wav {n % count} 0.5\n" for n in range(2 * count)))
    write_classes(result, ["real", *(f"codec{number}" for number in range(1, count))])
    flags = ["--data_root", str(tmp_path), "--result", str(result), "--num_classes", str(count)]
    evaluate_id_f1.main([*flags, "--json", str(tmp_path / "id.json")])
    metrics = json.loads((tmp_path / "id.json").read_text())
    assert metrics["class_f1"] == [100] * count and len(metrics["confusion"]) == count
    assert f"{count - 1} codec{count - 1}" in capsys.readouterr().out
