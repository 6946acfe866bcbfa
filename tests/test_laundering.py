"""Treatments keep speech what it is; the audit finds a planted shortcut; the laundering matrix adds up and goes on."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from conftest import run_script

import audit_shortcuts
import evaluate_laundering
from data.audio import SAMPLE_RATE
from data.laundering import AUDITS, LAUNDERING, UNTREATED, at_level, silence_alone, trimmed, with_noise
from data.measures import root_mean_square
from errors import InputError, MissingInput


def tone(seconds=1.0, gain=0.2):
    """A tone that swells, after a quarter of a second of silence."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = gain * np.sin(2 * np.pi * 440 * time) * (time > 0.25)
    return wave.astype(np.float32)


@pytest.mark.parametrize("name", LAUNDERING)
def test_laundering_keeps_the_length_and_the_tone_and_repeats(name):
    wave = tone()
    copies = [LAUNDERING[name](wave, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*copies) and copies[0].shape == wave.shape and copies[0].dtype == np.float32
    spectrum = np.abs(np.fft.rfft(copies[0]))
    assert abs(int(spectrum.argmax()) - 440) <= 3
    assert (name == UNTREATED) == np.array_equal(copies[0], wave)


def test_what_the_audit_takes_away():
    wave, rng = tone(), np.random.default_rng(0)
    assert len(trimmed(wave, rng)) == pytest.approx(12_000, abs=40)
    assert np.abs(silence_alone(wave, rng)).max() < 0.02 and 3900 < len(silence_alone(wave, rng)) < 4100
    assert 20 * np.log10(root_mean_square(at_level(wave, rng))) == pytest.approx(-26, abs=0.01)
    noise = with_noise(wave, rng, 20) - wave
    assert 20 * np.log10(root_mean_square(wave) / root_mean_square(noise)) == pytest.approx(20, abs=0.3)
    for treatment in AUDITS.values():
        assert len(treatment(np.zeros(16_000, np.float32), rng))  # digital silence


def flags(folder, corpus, *more):
    models = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
    return [*models, "--data_root", str(corpus), "--num_workers", "0", "--resamples", "50", *map(str, more)]


def test_laundering_matrix_adds_up_and_is_continued(calibrated, corpus, tmp_path, capsys):
    folder, report = shutil.copytree(calibrated, tmp_path / "run"), tmp_path / "out.json"
    chosen = ("--treatment", "mp3", "gsm", "noise-0dB", "--json", report, "--figure", tmp_path / "out.png")
    evaluate_laundering.main(flags(folder, corpus, *chosen))
    found = json.loads(report.read_text())
    assert [row["treatment"] for row in found["treatments"]] == ["none", "mp3", "gsm", "noise-0dB"]
    for row in found["treatments"]:
        assert row["real_as_real"] + row["real_as_codec"] + row["real_as_unknown"] == pytest.approx(100)
        assert row["clips"] == 14 and row["real_clips"] == 2
        assert row["macro_f1_interval"][0] <= row["macro_f1"] <= row["macro_f1_interval"][1]
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    files = {path: path.stat().st_mtime_ns for path in (folder / "save_feats/treated").iterdir()}
    assert len(files) == 4
    next(path for path in files if path.name.startswith("gsm")).unlink()
    evaluate_laundering.main(flags(folder, corpus, *chosen))
    again = {path: path.stat().st_mtime_ns for path in (folder / "save_feats/treated").iterdir()}
    assert sorted(path.name.partition("-")[0] for path in again if again[path] != files[path]) == ["gsm"]
    assert json.loads(report.read_text()) == found
    assert "real: unknown (%)" in capsys.readouterr().out


def test_untreated_figures_are_those_of_tracing(calibrated, corpus, tmp_path):
    from features import read_features
    from metrics import macro_f1

    folder, report = shutil.copytree(calibrated, tmp_path / "run"), tmp_path / "out.json"
    evaluate_laundering.main(flags(folder, corpus, "--treatment", "none", "--json", report))
    traced = read_features(folder / "save_feats/evaldict_id.pt")
    expected = 100 * macro_f1(traced.labels.numpy(), traced.logits.argmax(dim=1).numpy())
    assert json.loads(report.read_text())["treatments"][0]["macro_f1"] == pytest.approx(expected)


def test_audit_finds_a_planted_shortcut(corpus, tmp_path, capsys):
    root, report = shutil.copytree(corpus, tmp_path / "corpus"), tmp_path / "audit.json"
    for path in (root / "eval_id").glob("*_3_*"):
        wave, rate = soundfile.read(path)
        soundfile.write(path, 0.01 * wave, rate, format=path.suffix[1:].upper())
    audit_shortcuts.main(["--data_root", str(root), "--data_alone", "--json", str(report), "--resamples", "50"])
    rows = {(row["measure"], row["class"]): row for row in json.loads(report.read_text())["measures"]}
    assert rows["level (dB)", 3]["auc"] == 0 and rows["sample rate (Hz)", 3]["auc"] == 50
    assert rows["level (dB)", 3]["auc_interval"] == [0, 0]
    assert "level (dB)" in capsys.readouterr().out


def test_audit_of_a_model(calibrated, corpus, tmp_path):
    folder, report = shutil.copytree(calibrated, tmp_path / "run"), tmp_path / "audit.json"
    more = ("--max_clips", 1, "--json", report, "--figure", tmp_path / "audit.svg")
    audit_shortcuts.main(flags(folder, corpus, *more))
    rows = json.loads(report.read_text())["treatments"]
    assert [row["treatment"] for row in rows] == list(AUDITS) and {row["clips"] for row in rows} == {7}
    assert rows[0]["same"] == 100 and (tmp_path / "audit.svg").exists()


def test_bad_requests(calibrated, trained, corpus, tmp_path):
    with pytest.raises(InputError, match="--treatment mp4: expected all or some of none, mp3, mp3-small"):
        evaluate_laundering.main(flags(calibrated, corpus, "--treatment", "mp4"))
    with pytest.raises(MissingInput, match=r"run calibrate\.py on this model first"):
        evaluate_laundering.main(flags(trained, corpus))
    finished = run_script("audit_shortcuts.py", "--data_root", tmp_path / "nowhere")
    assert finished.returncode == 2 and "does not exist" in finished.stderr
