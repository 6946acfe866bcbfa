"""The audit finds a planted shortcut; the laundering matrix adds up, and a stopped run continues."""

import json
import os
import shutil

import pytest
import soundfile
import torch
from helpers import ROOT, run_script
from helpers.launching import launch

import audit_shortcuts
import evaluate_laundering
from data.laundering import AUDITS
from data.measures import MEASURES
from engine.bad_audio import write_bad_audio
from engine.feature_files import read_features
from evaluation import treatments
from evaluation.calibration import read_calibration
from evaluation.laundering_matrix import LAUNDERING_COLUMNS
from evaluation.metrics import macro_f1
from models.weights import checkpoint_in
from reporting.build import SectionCollector
from reporting.page import render_page
from utils.errors import InputError, MissingInput


def flags(folder, corpus, *more):
    models = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
    models += ["--result", str(folder / "result")]
    return [*models, "--data_root", str(corpus), "--num_workers", "0", "--resamples", "50", *map(str, more)]


@pytest.fixture
def folder(calibrated, tmp_path):
    return shutil.copytree(calibrated, tmp_path / "run")


def launder(folder, corpus, *more):
    """The metrics that evaluate_laundering.py writes."""
    evaluate_laundering.main(flags(folder, corpus, "--json", folder / "out.json", *more))
    return json.loads((folder / "out.json").read_text())


def shown(name, content):
    """What the report shows of a file of metrics: (heading, {name: Plot}, its HTML)."""
    collector = SectionCollector({})
    collector.add_files({name: content})
    assert not collector.missing
    (heading, pieces), *rest = collector.sections.items()
    assert not rest
    plots = {piece.name: piece for piece in pieces if piece.kind == "plot"}
    return heading, plots, render_page("", "", collector.sections)


@pytest.mark.slow
def test_laundering_matrix_adds_up_and_is_continued(folder, corpus, capsys):
    chosen = ("--treatment", "mp3", "gsm", "noise-0dB")
    metrics = launder(folder, corpus, *chosen)
    assert [row["treatment"] for row in metrics["treatments"]] == ["none", "mp3", "gsm", "noise-0dB"]
    for row in metrics["treatments"]:
        assert row["real_as_real"] + row["real_as_codec"] + row["real_as_unknown"] == pytest.approx(100)
        assert row["clips"] == 14 and row["real_clips"] == 2
        for name in LAUNDERING_COLUMNS:
            assert row[f"{name}_interval"][0] <= row[name] <= row[f"{name}_interval"][1]
    assert "real: unknown (%)" in capsys.readouterr().out
    names = {os.path.basename(name) for name in metrics["measured_of"]["files"]}
    assert names == {"eval_id.txt", "calibration.json", os.path.basename(checkpoint_in(folder / "model"))}

    heading, plots, page = shown("laundering.json", metrics)
    assert heading == "Laundering" and "real: a codec (%)" in page
    row = metrics["treatments"][2]
    assert plots["laundering"].rows[2][:4] == ("gsm", row["macro_f1"], *row["macro_f1_interval"])
    assert "noise-0dB" in plots["laundering"].svg

    kept = folder / "save_feats/treated"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(before) == 4
    lost, torn = (next(path for path in before if path.name.startswith(name)) for name in ("gsm", "mp3"))
    lost.unlink()
    torn.write_bytes(torn.read_bytes()[:500])
    assert launder(folder, corpus, *chosen) == metrics
    assert {path for path in kept.iterdir() if path.stat().st_mtime_ns != before[path]} == {lost, torn}
    assert launder(folder, corpus, "--treatment", "noise-0dB", "--seed", "1")["treatments"][1] != row
    assert len(list(kept.iterdir())) == 6  # another seed, another noise


def test_untreated_metrics_are_those_of_tracing(folder, corpus):
    traced = read_features(folder / "save_feats/evaldict_id.pt")
    predicted = traced.logits.argmax(dim=1).numpy()
    row = launder(folder, corpus, "--treatment", "none")["treatments"][0]
    assert row["macro_f1"] == pytest.approx(100 * macro_f1(traced.labels.numpy(), predicted))
    known = read_calibration(folder / "model")
    accepted = known.score("knn", traced) >= known.threshold("knn")
    real = traced.labels.numpy() == 0
    assert row["unknown"] == pytest.approx(100 * (~accepted).mean())
    assert row["real_as_real"] == pytest.approx(100 * (accepted & (predicted == 0))[real].mean())
    assert row["real_as_unknown"] == pytest.approx(100 * (~accepted)[real].mean())


def test_files_that_tracing_passed_over_are_left_out(folder, corpus, capsys):
    name = read_features(folder / "save_feats/evaldict_id.pt").names[0]
    write_bad_audio(folder / "result", "id", [(name, "cannot be decoded")])
    assert launder(folder, corpus, "--treatment", "none")["treatments"][0]["clips"] == 13
    assert "1 files are not counted" in capsys.readouterr().out


def test_what_is_not_finite_stops_it_and_is_not_kept(folder, corpus, monkeypatch):
    nothing = torch.full((14, 7), float("nan"))
    monkeypatch.setattr(treatments, "infer", lambda *_: (nothing, nothing))
    with pytest.raises(InputError, match="the output of the model is not finite after the treatment none"):
        launder(folder, corpus, "--treatment", "none")
    assert not (folder / "save_feats/treated").exists()


@pytest.fixture
def quiet(corpus, tmp_path):
    """A corpus of which class 3 is quiet in the test, as no other is."""
    root = shutil.copytree(corpus, tmp_path / "corpus")
    for path in (root / "eval_id").glob("*_3_*"):
        wave, rate = soundfile.read(path)
        soundfile.write(path, 0.01 * wave, rate, format=path.suffix[1:].upper())
    return root


def test_audit_finds_a_planted_shortcut(quiet, tmp_path, capsys):
    report, alone = tmp_path / "audit.json", ["--data_root", str(quiet), "--data_alone"]
    audit_shortcuts.main([*alone, "--json", str(report), "--resamples", "50"])
    metrics = json.loads(report.read_text())
    rows = {(row["measure"], row["class"]): row for row in metrics["measures"]}
    assert len(rows) == 7 * len(MEASURES) and metrics["treatments"] == []
    assert rows["level (dB)", "funcodec"]["auc"] == 0 and rows["level (dB)", "funcodec"]["auc_interval"] == [0, 0]
    assert rows["sample rate (Hz)", "funcodec"]["auc"] == 50
    for row in rows.values():
        assert row["auc_interval"][0] <= row["auc"] <= row["auc_interval"][1]
    assert "level (dB)" in capsys.readouterr().out

    heading, plots, page = shown("audit.json", metrics)
    assert heading == "Shortcuts" and list(plots) == ["shortcuts"] and "0.00 [0.0, 0.0]" in page
    matrix = {row[0]: dict(zip(plots["shortcuts"].header, row, strict=True)) for row in plots["shortcuts"].rows}
    assert matrix["level (dB)"]["funcodec"] == 100 and matrix["sample rate (Hz)"]["funcodec"] == 50

    audit_shortcuts.main([*alone, "--json", str(report), "--resamples", "0", "--max_clips", "1"])
    assert {row["auc_interval"] for row in json.loads(report.read_text())["measures"]} == {None}


@pytest.mark.slow
def test_audit_of_a_model(folder, corpus):
    audit_shortcuts.main(flags(folder, corpus, "--max_clips", 1, "--json", folder / "audit.json"))
    metrics = json.loads((folder / "audit.json").read_text())
    rows = metrics["treatments"]
    assert [row["treatment"] for row in rows] == list(AUDITS) and {row["clips"] for row in rows} == {7}
    traced = read_features(folder / "save_feats/evaldict_id.pt")
    kept = read_features(next((folder / "save_feats/treated").glob("none-*")))
    where = [traced.names.index(name) for name in kept.names]
    torch.testing.assert_close(kept.logits, traced.logits[where])
    true = traced.logits.softmax(dim=1)[where, traced.labels[where]].mean()
    assert rows[0]["same"] == 100 and rows[0]["true"] == pytest.approx(100 * true.item(), rel=1e-4)
    for row in rows:
        assert row["macro_f1_interval"][0] <= row["macro_f1"] <= row["macro_f1_interval"][1]
    plots = shown("audit.json", metrics)[1]
    assert [row[0] for row in plots["audit"].rows] == list(AUDITS)
    assert plots["audit"].rows[3][4] == rows[3]["same"] and "same answer" in plots["audit"].svg


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "treatment"), [("audit_shortcuts.py", "level normalised"), ("evaluate_laundering.py", "gsm")]
)
def test_two_processes_do_what_one_does(folder, corpus, tmp_path, script, treatment):
    printed = []
    kept = []
    bad = read_features(folder / "save_feats/evaldict_id.pt").names[0]  # printed by only one process
    write_bad_audio(folder / "result", "id", [(bad, "cannot be decoded")])
    for name, launcher in (("one", []), ("two", launch("torchrun", 2))):
        more = ["--treatment", treatment, "--save_feats", tmp_path / name, "--json", tmp_path / f"{name}.json"]
        command = [*launcher, ROOT / script, *flags(folder, corpus, *more)]
        finished = run_script(*command, env=os.environ | {"OMP_NUM_THREADS": "1"})  # as torchrun sets it
        assert finished.returncode == 0, finished.stderr[-3000:]
        printed.append(finished.stdout.replace(f"{name}.json", ""))
        kept.append({path.name: path.read_bytes() for path in (tmp_path / name / "treated").iterdir()})
    assert printed[0] == printed[1] and kept[0] == kept[1] and len(kept[0]) == 2
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_bad_requests(calibrated, trained, corpus, tmp_path):
    with pytest.raises(InputError, match="--treatment mp4: expected all or some of none, mp3, mp3-small"):
        evaluate_laundering.main(flags(calibrated, corpus, "--treatment", "mp4"))
    with pytest.raises(MissingInput, match=r"run calibrate\.py on this model first"):
        evaluate_laundering.main(flags(trained, corpus))
    finished = run_script("audit_shortcuts.py", "--data_root", tmp_path / "nowhere")
    assert finished.returncode == 2 and "does not exist" in finished.stderr
