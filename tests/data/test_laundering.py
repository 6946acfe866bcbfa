"""Treatments keep speech what it is; the audit finds a planted shortcut; the laundering matrix adds up and goes on."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from helpers import ROOT, run_script
from helpers.launching import launch

import audit_shortcuts
import evaluate_laundering
from data.audio import SAMPLE_RATE
from data.laundering import (
    AUDITS,
    LAUNDERING,
    UNTREATED,
    at_level,
    fixed_duration,
    in_room,
    louder,
    resampled,
    silence_alone,
    trimmed,
    with_noise,
    without_offset,
)
from data.measures import MEASURES, root_mean_square
from engine.bad_audio import write_bad_audio
from engine.feature_files import read_features
from evaluation import treatments
from evaluation.metrics import macro_f1
from reporting.build import Pieces
from utils.errors import InputError, MissingInput

RNG = np.random.default_rng(0)


def tone(seconds=1.0, gain=0.2):
    """A tone after a quarter of a second of silence."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = gain * np.sin(2 * np.pi * 440 * time) * (time > 0.25)
    return wave.astype(np.float32)


def decibel_between(wave, other):
    return 20 * np.log10(root_mean_square(wave) / root_mean_square(other))


def level_above(wave, hertz):
    """Power above a frequency in dB, relative to all of it."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return 10 * np.log10(power[round(hertz * len(wave) / SAMPLE_RATE) :].sum() / power.sum() + 1e-20)


# ---- treatments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAUNDERING)
def test_laundering_keeps_length_and_tone_and_repeats(name):
    wave = tone()
    copies = [LAUNDERING[name](wave, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*copies) and copies[0].shape == wave.shape and copies[0].dtype == np.float32
    spectrum = np.abs(np.fft.rfft(copies[0]))
    assert abs(int(spectrum.argmax()) - 440) <= 3
    assert (name == UNTREATED) == np.array_equal(copies[0], wave)


@pytest.mark.parametrize("name", LAUNDERING)
def test_laundering_delays_nothing(name):
    """The lag of the highest correlation with a noise in three bursts; a coder's delay is some hundred samples."""
    wave = np.random.default_rng(5).standard_normal(40_000) * np.repeat([0, 1, 0.1, 1, 0], 8000) * 0.1
    wave = wave.astype(np.float32)
    copy = LAUNDERING[name](wave, np.random.default_rng(3))
    size = 2 * len(wave)
    found = np.fft.irfft(np.fft.rfft(copy, size) * np.conj(np.fft.rfft(wave, size)))
    lag = int(np.abs(found).argmax())
    assert min(lag, size - lag) <= 1


@pytest.mark.parametrize("table,name", [(table, name) for table in (LAUNDERING, AUDITS) for name in table])
@pytest.mark.parametrize("wave", [np.zeros(16_000, np.float32), np.full(1, 0.5, np.float32)], ids=["silence", "sample"])
def test_nothing_breaks_on_silence_or_one_sample(table, name, wave):
    copy = table[name](wave, np.random.default_rng(3))
    assert len(copy) and np.isfinite(copy).all()


def test_what_laundering_does():
    wave = np.random.default_rng(5).standard_normal(32_000).astype(np.float32) * 0.1
    for snr in (20, 0):
        noise = with_noise(wave, np.random.default_rng(1), snr) - wave
        assert decibel_between(wave, noise) == pytest.approx(snr, abs=0.2)
    for rate in (8000, 11_025):
        assert level_above(resampled(wave, RNG, rate), rate / 2 + 200) < -40 < level_above(wave, rate / 2 + 200)
    for name in ("gsm", "mu-law"):
        assert level_above(LAUNDERING[name](wave, RNG), 4200) < -40
    assert level_above(LAUNDERING["mp3"](wave, RNG), 7700) < level_above(wave, 7700) - 6
    click = np.zeros(16_000, np.float32)
    click[1000] = 0.5
    heard = in_room(click, np.random.default_rng(1))
    assert np.abs(heard[:1000]).max() < 1e-6 and heard[1000] == pytest.approx(0.5)
    assert decibel_between(click, heard - click * (click > 0)) == pytest.approx(6, abs=0.1)
    assert decibel_between(heard[5000:5500], heard[2000:2500]) == pytest.approx(-60 * 3000 / 6400, abs=3)
    assert decibel_between(louder(wave, RNG, -20), wave) == pytest.approx(-20, abs=0.01)
    assert np.abs(louder(wave, RNG, 20)).max() == 1
    by_codec = [LAUNDERING[name](tone(), np.random.default_rng(1)) for name in ("codec-larch", "codec-cedar")]
    assert not np.allclose(*by_codec) and decibel_between(by_codec[0], tone()) == pytest.approx(0, abs=0.01)


def test_what_the_audit_takes_away():
    wave = tone()
    assert len(trimmed(wave, RNG)) == pytest.approx(12_000, abs=40)
    assert np.abs(silence_alone(wave, RNG)).max() < 0.02 and 3900 < len(silence_alone(wave, RNG)) < 4100
    pause = np.concatenate((tone(gain=0.2)[4200:], np.zeros(1000, np.float32), tone(gain=0.2)[4200:]))
    assert np.abs(silence_alone(pause, RNG)).max() == 0 and len(silence_alone(pause, RNG)) == 800
    assert 20 * np.log10(root_mean_square(at_level(wave, RNG))) == pytest.approx(-26, abs=0.01)
    assert abs(without_offset(wave + np.float32(0.1), RNG).mean()) < 1e-6
    assert len(fixed_duration(wave, RNG)) == len(fixed_duration(tone(9), RNG)) == 24_000


# ---- scripts --------------------------------------------------------------------------------------------------------


def flags(folder, corpus, *more):
    models = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
    models += ["--result", str(folder / "result")]
    return [*models, "--data_root", str(corpus), "--num_workers", "0", "--resamples", "50", *map(str, more)]


@pytest.fixture
def folder(calibrated, tmp_path):
    return shutil.copytree(calibrated, tmp_path / "run")


def launder(folder, corpus, *more):
    """The figures that evaluate_laundering.py writes."""
    evaluate_laundering.main(flags(folder, corpus, "--json", folder / "out.json", *more))
    return json.loads((folder / "out.json").read_text())


def shown(name, content):
    """What the report shows of a file of figures: (heading, {name: Figure}, its HTML)."""
    pieces = Pieces({})
    pieces.add_others({name: content})
    assert not pieces.missing
    (heading, found), *rest = pieces.found.items()
    assert not rest
    drawn = {piece.name: piece for piece in found if not isinstance(piece, str)}
    return heading, drawn, "".join(piece for piece in found if isinstance(piece, str))


def test_laundering_matrix_adds_up_and_is_continued(folder, corpus, capsys):
    chosen = ("--treatment", "mp3", "gsm", "noise-0dB")
    found = launder(folder, corpus, *chosen)
    assert [row["treatment"] for row in found["treatments"]] == ["none", "mp3", "gsm", "noise-0dB"]
    for row in found["treatments"]:
        assert row["real_as_real"] + row["real_as_codec"] + row["real_as_unknown"] == pytest.approx(100)
        assert row["clips"] == 14 and row["real_clips"] == 2
        for name in evaluate_laundering.SHOWN:
            assert row[f"{name}_interval"][0] <= row[name] <= row[f"{name}_interval"][1]
    assert "real: unknown (%)" in capsys.readouterr().out

    heading, drawn, page = shown("laundering.json", found)
    assert heading == "Laundering" and "real: a codec (%)" in page
    row = found["treatments"][2]
    assert drawn["laundering"].rows[2][:4] == ("gsm", row["macro_f1"], *row["macro_f1_interval"])
    assert "noise-0dB" in drawn["laundering"].svg

    kept = folder / "save_feats/treated"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(before) == 4
    lost, torn = (next(path for path in before if path.name.startswith(name)) for name in ("gsm", "mp3"))
    lost.unlink()
    torn.write_bytes(torn.read_bytes()[:500])
    assert launder(folder, corpus, *chosen) == found
    assert {path for path in kept.iterdir() if path.stat().st_mtime_ns != before[path]} == {lost, torn}
    assert launder(folder, corpus, "--treatment", "noise-0dB", "--seed", "1")["treatments"][1] != row
    assert len(list(kept.iterdir())) == 6  # another seed, another noise


def test_untreated_figures_are_those_of_tracing(folder, corpus):
    from evaluation import calibration

    traced, found = read_features(folder / "save_feats/evaldict_id.pt"), launder(folder, corpus, "--treatment", "none")
    predicted, row = traced.logits.argmax(dim=1).numpy(), found["treatments"][0]
    assert row["macro_f1"] == pytest.approx(100 * macro_f1(traced.labels.numpy(), predicted))
    known = calibration.read_calibration(folder / "model")
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
    with pytest.raises(InputError, match="what the model makes of it with treatment none is not finite"):
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
    found = json.loads(report.read_text())
    rows = {(row["measure"], row["class"]): row for row in found["measures"]}
    assert len(rows) == 7 * len(MEASURES) and found["treatments"] == []
    assert rows["level (dB)", "funcodec"]["auc"] == 0 and rows["level (dB)", "funcodec"]["auc_interval"] == [0, 0]
    assert rows["sample rate (Hz)", "funcodec"]["auc"] == 50
    for row in rows.values():
        assert row["auc_interval"][0] <= row["auc"] <= row["auc_interval"][1]
    assert "level (dB)" in capsys.readouterr().out

    heading, drawn, page = shown("audit.json", found)
    assert heading == "Shortcuts" and list(drawn) == ["shortcuts"] and "0.00 [0.0, 0.0]" in page
    matrix = {row[0]: dict(zip(drawn["shortcuts"].header, row, strict=True)) for row in drawn["shortcuts"].rows}
    assert matrix["level (dB)"]["funcodec"] == 100 and matrix["sample rate (Hz)"]["funcodec"] == 50

    audit_shortcuts.main([*alone, "--json", str(report), "--resamples", "0", "--max_clips", "1"])
    assert {row["auc_interval"] for row in json.loads(report.read_text())["measures"]} == {None}


def test_audit_of_a_model(folder, corpus):
    audit_shortcuts.main(flags(folder, corpus, "--max_clips", 1, "--json", folder / "audit.json"))
    found = json.loads((folder / "audit.json").read_text())
    rows = found["treatments"]
    assert [row["treatment"] for row in rows] == list(AUDITS) and {row["clips"] for row in rows} == {7}
    traced = read_features(folder / "save_feats/evaldict_id.pt")
    kept = read_features(next((folder / "save_feats/treated").glob("none-*")))
    where = [traced.names.index(name) for name in kept.names]
    torch.testing.assert_close(kept.logits, traced.logits[where])
    true = traced.logits.softmax(dim=1)[where, traced.labels[where]].mean()
    assert rows[0]["same"] == 100 and rows[0]["true"] == pytest.approx(100 * true.item(), rel=1e-4)
    for row in rows:
        assert row["macro_f1_interval"][0] <= row["macro_f1"] <= row["macro_f1_interval"][1]
    drawn = shown("audit.json", found)[1]
    assert [row[0] for row in drawn["audit"].rows] == list(AUDITS)
    assert drawn["audit"].rows[3][4] == rows[3]["same"] and "same answer" in drawn["audit"].svg


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "treatment"), [("audit_shortcuts.py", "level normalised"), ("evaluate_laundering.py", "gsm")]
)
def test_two_processes_do_what_one_does(folder, corpus, tmp_path, script, treatment):
    told, kept = [], []
    bad = read_features(folder / "save_feats/evaldict_id.pt").names[0]  # told of by one process alone
    write_bad_audio(folder / "result", "id", [(bad, "cannot be decoded")])
    for name, launcher in (("one", []), ("two", launch("torchrun", 2))):
        more = ["--treatment", treatment, "--save_feats", tmp_path / name, "--json", tmp_path / f"{name}.json"]
        command = [*launcher, ROOT / script, *flags(folder, corpus, *more)]
        finished = run_script(*command, env=os.environ | {"OMP_NUM_THREADS": "1"})  # as torchrun sets it
        assert finished.returncode == 0, finished.stderr[-3000:]
        told.append(finished.stdout.replace(f"{name}.json", ""))
        kept.append({path.name: path.read_bytes() for path in (tmp_path / name / "treated").iterdir()})
    assert told[0] == told[1] and kept[0] == kept[1] and len(kept[0]) == 2
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_bad_requests(calibrated, trained, corpus, tmp_path):
    with pytest.raises(InputError, match="--treatment mp4: expected all or some of none, mp3, mp3-small"):
        evaluate_laundering.main(flags(calibrated, corpus, "--treatment", "mp4"))
    with pytest.raises(MissingInput, match=r"run calibrate\.py on this model first"):
        evaluate_laundering.main(flags(trained, corpus))
    finished = run_script("audit_shortcuts.py", "--data_root", tmp_path / "nowhere")
    assert finished.returncode == 2 and "does not exist" in finished.stderr
