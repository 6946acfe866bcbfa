"""A published protocol is one row: a format that is registered from outside is a list for every script."""

import json

import numpy as np
import soundfile

import main_train
from data.corpus_formats import CORPUS_FORMATS, CorpusFormat

LABELS = ("genuine", "VOC1", "VOC2")
ROW = CorpusFormat(
    "a protocol of ours",
    ("kind", "file", "maker", "year"),
    *("maker", "kind"),
    keys={"genuine": True, "machine": False},
    delimiter=";",
)


def test_an_added_format_trains_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(CORPUS_FORMATS, "ours", ROW)
    rng = np.random.default_rng(0)
    for label in LABELS:
        soundfile.write(tmp_path / f"{label}.flac", 0.1 * rng.standard_normal(4000), 16_000)
    lines = [f"{'genuine' if label == 'genuine' else 'machine'}; {label} ; {label};2026\n" for label in LABELS]
    protocol = tmp_path / "protocol.lst"
    protocol.write_text("".join(lines))
    flags = ["--train_list", protocol, "--dev_list", protocol, "-o", tmp_path / "model", "--num_workers", "0"]
    main_train.main([str(flag) for flag in (*flags, "--model", "mellcnn", "--num_epochs", "1")])
    assert json.loads((tmp_path / "model/args.json").read_text())["classes"] == ["real", "VOC1", "VOC2"]
    note = "it was read as a protocol of ours; 3 files were found under another extension"
    assert f"{protocol}: {note}\n" in capsys.readouterr().out
