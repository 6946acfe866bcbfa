"""What tests of training share: flags, how weights are compared, a small corpus and a small network."""

import json

import numpy as np
import soundfile
import torch

from models import MODELS, Model
from models.weights import frozen_digest, trained_state
from utils.model_files import CHECKPOINT


def flags(corpus, out, *more, model="mellcnn"):
    base = ["--data_root", corpus, "-o", out, "--model", model, "--batch_size", "7", "--num_workers", "0"]
    return [str(part) for part in (*base, *more)]


def weights(path):
    return torch.load(path, weights_only=True)


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def save_run(folder, trained, config=None, without=(), record=None):
    """Write a checkpoint of the model `trained` and, where `config` is given, an args.json with it.

    Flags `without` are left out, as in a run from before they were there. With the model `record`, args.json says what
    its front end is.
    """
    folder.mkdir(exist_ok=True)
    torch.save(trained_state(trained), folder / CHECKPOINT)
    if config:
        run = {name: value for name, value in json.loads(config.json_text()).items() if name not in without}
        about = {"frozen": frozen_digest(record), "front_end": record.front_end.record()} if record else {}
        (folder / "args.json").write_text(json.dumps({"config": run} | about))


def small_corpus(root, classes):
    """Write a corpus of tones in ST-Codecfake's layout: of each class 2 training, 1 development and 2 test clips."""
    rng = np.random.default_rng(688)
    (root / "label").mkdir(parents=True)
    for part, count in (("train", 2), ("dev", 1), ("eval_id", 2)):
        (root / part).mkdir()
        lines = []
        for label in range(classes):
            for number in range(count):
                name = f"{part}_{label}_{number}.wav"
                time = np.arange(8000) / 16_000
                wave = 0.2 * np.sin(2 * np.pi * (300 + 250 * label) * time) + 0.02 * rng.standard_normal(len(time))
                soundfile.write(root / part / name, wave, 16_000)
                lines.append(f"{name} {'fake' if label else 'real'} {label}\n")
        (root / "label" / f"{part}.txt").write_text("".join(lines))
    return root


def small_model(num_classes, hidden_size=None):
    """A network that learns, forgets (dropout) and keeps statistics (batch norm), and takes no time.

    It takes waves [batch, samples], or with `hidden_size` the hidden states [batch, frames, hidden_size] of another.
    """

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            convolution = torch.nn.Conv1d(hidden_size, 8, 3) if hidden_size else torch.nn.Conv1d(1, 8, 400, 160)
            self.body = torch.nn.Sequential(
                *(convolution, torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.2))
            )
            self.head = torch.nn.Linear(8, num_classes)

        def forward(self, signal):
            features = self.body(signal.transpose(1, 2) if hidden_size else signal[:, None]).mean(dim=2)
            return features, self.head(features)

    return Small()


def use_small_model(monkeypatch=None):
    """Let --model mellcnn stand for small_model, until `monkeypatch` puts it back, or in the whole process."""
    row = Model(small_model)
    if monkeypatch:
        monkeypatch.setitem(MODELS, "mellcnn", row)
    else:
        MODELS["mellcnn"] = row
