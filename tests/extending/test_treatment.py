"""A treatment of one's own is a row of LAUNDERING: it runs through evaluate_laundering.py, and the report shows it."""

import json
import shutil

import numpy as np
import pytest

import evaluate_laundering
import report
from data.laundering import LAUNDERING
from engine.feature_files import read_features


def backwards(wave, rng):
    return np.ascontiguousarray(wave[::-1])


@pytest.mark.slow
def test_a_treatment_from_outside_runs_end_to_end(calibrated, trained, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LAUNDERING, "backwards", backwards)
    run = shutil.copytree(calibrated, tmp_path / "run")
    shutil.copytree(trained / "result", run / "result")
    flags = ["--data_root", corpus, "--num_workers", 0, "--resamples", 20, "--model_folder", run / "model"]
    flags = [str(flag) for flag in (*flags, "--save_feats", run / "save_feats", "--result", run / "result")]
    written = run / "result/laundering.json"
    evaluate_laundering.main([*flags, "--treatment", "backwards", "--json", str(written)])
    rows = json.loads(written.read_text())["treatments"]
    assert [row["treatment"] for row in rows] == ["none", "backwards"]
    assert any(line.startswith("backwards ") for line in capsys.readouterr().out.splitlines())

    untreated, treated = (
        read_features(next((run / "save_feats/treated").glob(f"{row['treatment']}-*"))) for row in rows
    )
    assert untreated.names == treated.names
    assert not np.allclose(untreated.logits, treated.logits)  # the model has heard another wave
    report.main(flags)
    plots = json.loads((run / "result/report.json").read_text())["figures"]
    assert plots["laundering"]["rows"][1][:2] == ["backwards", rows[1]["macro_f1"]]
