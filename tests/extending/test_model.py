"""A model is one row: a dummy that is registered from outside is trained, traced and evaluated by the scripts."""

import json

import pytest
import torch
from torch import nn

import evaluate_id_f1
import main_train
import source_tracing_id
from models import MODELS, Model
from utils.model_files import CHECKPOINT


class Spectral(nn.Module):
    """A network that is in no paper, written with plain layers: wave -> features [batch, 8], logits.

    With `hidden_size` it takes the hidden states of a front end instead of a wave.
    """

    def __init__(self, num_classes, hidden_size=None):
        super().__init__()
        self.first = nn.Conv1d(hidden_size, 8, 1) if hidden_size else nn.Conv1d(1, 8, 400, 160)
        self.block = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d((1, 2)))
        self.head = nn.Linear(32, num_classes)

    def forward(self, signal):
        bands = self.first(signal[:, None] if signal.dim() == 2 else signal.transpose(1, 2))
        features = self.block(bands[:, None]).mean(dim=3).flatten(1)
        return features, self.head(features)


ROWS = {"spectral": Model(Spectral), "spectral-ssl": Model(Spectral, needs_front_end=True)}


@pytest.mark.parametrize("name", ROWS)
def test_an_added_row_is_trained_traced_and_evaluated(name, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(MODELS, name, ROWS[name])
    data = ["--data_root", str(corpus)]
    work = [*data, "--num_workers", "0", "--batch_size", "7"]
    model = ["--model", name, "--SSL_path", "tiny-random", "-o", str(tmp_path / "model"), "--num_epochs", "2"]
    main_train.main([*work, *model])
    state = torch.load(tmp_path / "model" / CHECKPOINT, weights_only=True)
    assert not any(key.startswith("wav2vec2.") for key in state)  # a frozen front end is not saved

    result = ["--result", str(tmp_path / "result")]
    source_tracing_id.main(
        [*work, "--model_folder", str(tmp_path / "model"), *result, "--save_feats", str(tmp_path / "feats")]
    )
    capsys.readouterr()
    evaluate_id_f1.main([*data, *result, "--json", str(tmp_path / "id.json")])
    assert "macro" in capsys.readouterr().out
    assert json.loads((tmp_path / "id.json").read_text())
    lines = (tmp_path / "result/result_id.txt").read_text().splitlines()
    assert len(lines) == 14 and all(0 <= int(line.split()[1]) < 7 for line in lines)
    saved = torch.load(tmp_path / "feats/evaldict_id.pt", weights_only=True)
    assert saved["feas"].shape == (14, 32) and saved["logits"].shape == (14, 7)


def test_help_lists_an_added_row(monkeypatch, capsys):
    monkeypatch.setitem(MODELS, "spectral", ROWS["spectral"])
    with pytest.raises(SystemExit):
        main_train.main(["--help"])
    assert ",spectral}" in capsys.readouterr().out
