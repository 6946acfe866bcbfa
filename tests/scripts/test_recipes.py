"""docs/recipes.py, as its page gives it, on a small corpus of tones."""

import csv
import json

import numpy as np
import pytest
import soundfile
from helpers import run_script

LABELS = ("real", "aac", "opus", "lyra", "snac")  # the last two are not known


@pytest.mark.slow
def test_a_recipe_is_trained_and_measured_on_held_out_groups(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for page in range(4):
        for pitch, label in enumerate(LABELS):
            if (label == "lyra" and page == 3) or (label == "snac" and page != 3):
                continue  # unseen codecs are in the test only, outliers are not in it
            for number in range(3):
                time = np.arange(16_000) / 16_000
                wave = 0.2 * np.sin(2 * np.pi * (300 + 900 * pitch) * time) + 0.01 * rng.standard_normal(len(time))
                soundfile.write(tmp_path / f"{page}-{label}-{number}.wav", wave, 16_000)
                rows.append((f"{page}-{label}-{number}.wav", label, f"utterance {number}", f"page{page}"))
    with open(tmp_path / "clips.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "utterance", "page"), *rows])
    groups = ["--known", "real", "aac", "opus", "--dev", "page2", "--test", "page3", "--out_fold", tmp_path / "runs"]
    run = ["--recipe", "fingerprint", "--seeds", 1, "--num_epochs", 2, "--json", tmp_path / "recipes.json"]
    done = run_script("-m", "docs.recipes", tmp_path / "clips.csv", *groups, *run)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "recipes.json").read_text())
    assert results["clips"] == {"train": 18, "dev": 9, "test": 9, "unseen": 3, "outliers": 6}
    figures = results["recipes"]["fingerprint"]
    assert figures["macro_f1"]["runs"] == [figures["macro_f1"]["value"]]
    assert figures["epochs"] == 2
    for metric in ("macro_f1", "real_kept", "auroc_unseen"):
        low, high = figures[metric]["interval"]
        assert 0 <= low <= figures[metric]["value"] <= high <= 100
    again = run_script("-m", "docs.recipes", tmp_path / "clips.csv", *groups, *run)
    assert again.returncode == 0 and "main_train.py" not in again.stdout  # a complete run is not trained again


def test_an_unknown_recipe_is_refused_with_the_known_ones(tmp_path):
    done = run_script("-m", "docs.recipes", tmp_path / "clips.csv", "--recipe", "magic")
    assert done.returncode == 2 and done.stderr.startswith("error: --recipe magic: expected some of mel-LCNN")
