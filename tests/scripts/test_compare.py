"""compare.py: paired differences of two runs, joined by file name, and which of them hold."""

import json
import random
import shutil

import pytest
import torch
from helpers import run_script

import compare
from engine.feature_files import read_features, write_features
from utils.errors import InputError, MissingInput


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on 60 closed-set and 40 C3-1 clips, b right more often; embeddings where a's detector fails."""
    root = tmp_path_factory.mktemp("runs")
    names = [f"p{number % 12:03d}_{number:03d}.wav" for number in range(60)]
    (root / "corpus/label").mkdir(parents=True)
    labels = "".join(f"{name} {'fake' if row % 7 else 'real'} {row % 7}\n" for row, name in enumerate(names))
    (root / "corpus/label/eval_id.txt").write_text(labels)
    generator = torch.Generator().manual_seed(0)
    for run, rights, gap in (("a", (0.5, 0.6), 0.0), ("b", (0.9, 0.6), 4.0)):
        rng = random.Random(run)
        for file, share, label in (("id", rights[0], None), ("C3-1", rights[1], 3)):
            lines = [
                f"{name} {(row % 7 if label is None else label) if rng.random() < share else rng.randrange(7)} 0.5"
                for row, name in enumerate(names[: 40 if label else 60])
            ]
            rng.shuffle(lines)
            (root / run / "result").mkdir(parents=True, exist_ok=True)
            (root / run / f"result/result_{file}.txt").write_text("\n".join(lines) + "\n")
        for file, shift in (("traindict", 0), ("evaldict_id", 0), ("evaldict_ood7", gap)):
            order = torch.randperm(60, generator=generator)
            features = torch.randn(60, 6, generator=generator) + torch.tensor([8 - shift, shift, 0, 0, 0, 0])
            shuffled = [names[row] for row in order]
            write_features(root / run / f"save_feats/{file}.pt", features, features[:, :4], order % 4, shuffled)
    return root


def compared(runs, *flags, a="a", b="b"):
    report = runs / "report.json"
    compare.main([str(runs / a), str(runs / b), "--data_root", str(runs / "corpus"), "--json", str(report), *flags])
    rows = json.loads(report.read_text())["differences"]
    return {(row["condition"], row["figure"]): row for row in rows}


def test_differences_and_which_hold(runs, capsys):
    rows = compared(runs)
    assert [key for key in rows] == [
        *(("id", "macro f1"), ("C3-1", "f1")),
        *(("single7", f"knn {figure}") for figure in ("auc", "fpr95", "eer")),
    ]
    files = json.loads((runs / "report.json").read_text())["measured_of"]["files"]
    own = [f"{run}/{path.relative_to(runs / run)}" for run in "ab" for path in (runs / run).glob("*/*.*")]
    assert sorted(files) == sorted([*own, "corpus/label/eval_id.txt"])
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["b"] - row["a"])
        assert row["interval"][0] <= row["difference"] + 1e-9 and row["difference"] <= row["interval"][1] + 1e-9
        assert row["better"] == (None if row["interval"][0] <= 0 <= row["interval"][1] else "b")
    assert rows["id", "macro f1"]["better"] == "b" and rows["C3-1", "f1"]["better"] is None
    assert rows["single7", "knn auc"]["difference"] > 20 and rows["single7", "knn eer"]["difference"] < -20
    assert rows["single7", "knn eer"]["better"] == "b"  # lower is better
    shown = capsys.readouterr().out
    assert "id macro f1" in shown and "B is better" in shown and "no difference shown" in shown
    held = sum(row["better"] is not None for row in rows.values())
    assert (
        f"{held} of 5 differences hold: their interval excludes 0. Of 5 without any true difference, about 0.2" in shown
    )
    assert "skipped C3-2: " in shown and "skipped voc: " in shown


def test_the_other_way_round_is_the_other_sign(runs):
    forth, back = compared(runs), compared(runs, a="b", b="a")
    for key, row in forth.items():
        assert back[key]["difference"] == pytest.approx(-row["difference"])
        assert back[key]["better"] == {"b": "a", None: None}[row["better"]]


def test_a_run_does_not_differ_from_itself(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "twin")
    twin = tmp_path / "twin/save_feats/evaldict_ood7.pt"  # the same clips in another order
    outputs = read_features(twin)
    back = list(range(59, -1, -1))
    names = [outputs.names[row] for row in back]
    write_features(twin, outputs.features[back], outputs.logits[back], outputs.labels[back], names)
    for row in compared(runs, b=tmp_path / "twin").values():
        assert row["difference"] == 0 and row["interval"] == [0, 0] and row["better"] is None


def test_pairing_narrows_the_interval(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "near")
    path = tmp_path / "near/result/result_C3-1.txt"
    lines = sorted(path.read_text().splitlines())
    wrong = next(row for row, line in enumerate(lines) if line.split()[1] != "3")
    lines[wrong] = lines[wrong].rsplit(" ", 2)[0] + " 3 0.5"
    path.write_text("\n".join(lines) + "\n")
    row = compared(runs, "--condition", "C3-1", b=tmp_path / "near")["C3-1", "f1"]
    assert row["difference"] == pytest.approx(2.5) and row["interval"][1] < 8  # of one clip in forty


def test_only_a_folder_of_score_files(runs, capsys):
    rows = compared(runs, "--condition", "id", "single7", a="a/result", b="b/result")
    assert len(rows) == 4  # save_feats/ lies beside
    shutil.move(runs / "b/save_feats", runs / "b/elsewhere")
    assert len(compared(runs, "--condition", "id", "single7")) == 1
    assert "skipped unseen codecs: " in capsys.readouterr().out
    shutil.move(runs / "b/elsewhere", runs / "b/save_feats")


def test_refusals(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "other")
    path = tmp_path / "other/result/result_C3-1.txt"
    path.write_text(path.read_text().replace("p001_001.wav", "p001_999.wav"))
    with pytest.raises(
        InputError, match=r"C3-1: the two runs were traced on different clips \(2 are in only one of them, such as "
    ):
        compared(runs, b=tmp_path / "other")
    with pytest.raises(InputError, match="--resamples 0: a difference cannot be judged without resamples"):
        compared(runs, "--resamples", "0")
    with pytest.raises(MissingInput, match="have no score file or embeddings of a condition in common"):
        compared(runs, "--condition", "valle")
    finished = run_script("compare.py", runs / "a", runs / "none")
    line = f"error: {runs / 'none'} is not a folder: give the folder of a run, which holds result/ and save_feats/\n"
    assert finished.returncode == 2 and finished.stderr == line
