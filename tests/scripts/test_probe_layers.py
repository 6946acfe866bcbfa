"""probe_layers.py: the layer that carries the label is found, states are kept, and bad input is told in one line."""

import json

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

import probe_layers
from data.dataset import Clips
from data.protocols import label_file
from evaluation import held_out, layer_probe
from evaluation.intervals import Resampling, interval
from models import FRONT_ENDS
from models.front_ends import FrontEnd, build_front_end
from models.layer_choice import layer_numbers
from utils.errors import InputError, MissingInput

PLANTED, DEPTH, WIDTH = 3, 4, 8


class Planted(FrontEnd):
    """Layers that see only the signs of the samples, but for layer PLANTED, which also sees how loud they are."""

    def __init__(self, path, layer=5, norm="checkpoint", frozen=True):
        super().__init__(nn.Linear(320, WIDTH), WIDTH, "none", frozen, layer_numbers(layer, DEPTH, path))
        for weight in self.model.parameters():
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))

    def hidden_states(self, wave):
        frames = wave.unfold(1, 320, 320)
        signs = self.model(frames.sign())
        loudness = (frames.abs().mean(dim=-1, keepdim=True) + 1e-4).log()
        states = [signs + 100 * loudness if number == PLANTED else signs + number for number in self.layers]
        return torch.stack(states, dim=1) if self.several else states[0]


@pytest.fixture
def planted(tmp_path, monkeypatch):
    monkeypatch.setitem(FRONT_ENDS, "planted", Planted)
    (tmp_path / "front").mkdir()
    (tmp_path / "front/config.json").write_text(json.dumps({"model_type": "planted"}))
    return tmp_path / "front"


@pytest.fixture
def table(tmp_path):
    """Noise of two levels, by four hands; a codec that only the first hand has; every fourth clip is of development."""
    rng = np.random.default_rng(0)
    rows = ["file,label,hand,house,split\n"]
    for hand, label, number in [(hand, label, n) for hand in "abcd" for label in ("real", "loud") for n in range(4)]:
        name = f"{hand}_{label}_{number}.wav"
        label = "lone" if (hand, label, number) == ("a", "loud", 0) else label
        wave = {"lone": 2e-4, "real": 0.02, "loud": 0.2}[label] * rng.standard_normal(5000)
        soundfile.write(tmp_path / name, wave, 16_000, "FLOAT")
        rows.append(f"{name},{label},{hand},one,{'dev' if number == 3 else 'train'}\n")
    (tmp_path / "clips.csv").write_text("".join(rows))
    return tmp_path / "clips.csv"


def flags(table, front, *more):
    base = ["--train_list", table, "--SSL_path", front, "--cache_features", table.parent / "kept", "--num_workers", 0]
    return [str(part) for part in (*base, "--batch_size", 8, *more)]


@pytest.mark.parametrize(
    ("more", "clips", "left_out", "words"),
    [
        (["--group", "hand"], 23, 1, "held out: 4 groups of hand in 4 parts"),
        ([], 8, 0, "trained on the training clips, tested on the development clips"),
    ],
)
def test_the_layer_that_carries_the_label_is_found(planted, table, tmp_path, capsys, more, clips, left_out, words):
    outputs = ["--json", tmp_path / "layers.json", "--plot", tmp_path / "layers.png"]
    probe_layers.main(flags(table, planted, *more, *outputs))
    metrics = json.loads((tmp_path / "layers.json").read_text())
    f1 = {row["layer"]: row["macro_f1"] for row in metrics["layers"]}
    assert list(f1) == [0, 1, 2, 3, 4]
    assert f1.pop(PLANTED) > 90 and max(f1.values()) < 70
    assert metrics["best"] == metrics["smallest"] == PLANTED and PLANTED in metrics["several"]
    assert (metrics["clips"], metrics["left_out"], metrics["classes"]) == (clips, left_out, 2)
    assert all(row["macro_f1_interval"][0] <= row["macro_f1"] for row in metrics["layers"])
    out = capsys.readouterr().out
    assert f"Linear probe, {words}: {clips} test clips of 2 classes" in out
    several = " ".join(map(str, metrics["several"]))
    expected = f"Best: layer 3. The smallest within its interval: layer 3. The 4 best together: --ssl_layer {several}\n"
    assert expected in out
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_list_of_layers_and_a_single_one(planted, table, tmp_path, capsys):
    for layers, words in (((1, 3), "The 2 best together: --ssl_layer 1 3"), ((3,), "--ssl_layer 3")):
        probe_layers.main(flags(table, planted, "--json", tmp_path / "l.json", "--ssl_layer", *layers))
        assert [row["layer"] for row in json.loads((tmp_path / "l.json").read_text())["layers"]] == list(layers)
        assert words in capsys.readouterr().out
    probe_layers.main(flags(table, planted, "--ssl_layer", 0, 1))
    assert (
        "No layer carries the task: the interval of the best one reaches down to guessing.\n" in capsys.readouterr().out
    )


def test_states_are_kept_for_the_next_run(planted, table, monkeypatch, capsys):
    probe_layers.main(flags(table, planted, "--group", "hand"))
    first = capsys.readouterr().out.partition("Linear probe")[2]
    seen = []
    monkeypatch.setattr(Planted, "forward", lambda self, wave: seen.append(len(wave)))
    monkeypatch.setattr("models.front_end_costs.costs_in_words", lambda *_, **__: "")
    probe_layers.main(flags(table, planted, "--group", "hand"))
    assert capsys.readouterr().out.partition("Linear probe")[2] == first and first and not seen


def test_pooled_states_are_mean_and_deviation_of_each_layer(corpus, tmp_path):
    config = probe_layers.ProbeConfig(
        data_root=corpus, SSL_path="tiny-random", cache_features=tmp_path, num_workers=0, batch_size=4
    )
    clips = label_file("dev_wav", "dev_label")(config)
    layers, states = layer_probe.pooled_states(config, clips)
    waves = torch.stack([wave for _, wave, _ in Clips(clips)])
    front_end = build_front_end("tiny-random", layer="weighted")
    hidden = front_end(waves).numpy()
    assert layers == tuple(range(7)) and states.shape == (7, 7, 2 * 64)
    expected = np.concatenate((hidden.mean(axis=2), hidden.std(axis=2)), axis=-1)
    np.testing.assert_allclose(states, expected, rtol=2e-3, atol=1e-4)


def test_f1_and_intervals_are_those_of_a_plain_computation():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(3, size=60), rng.integers(6, size=60).astype(str)
    states = rng.standard_normal((60, 1, 5)).astype(np.float32) + labels[:, None, None]
    labels[groups == "0"] = np.where(labels[groups == "0"] == 2, 7, labels[groups == "0"])  # a class of one group
    folds = layer_probe.group_folds(labels, groups, "page")
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60)) and len(folds) == layer_probe.FOLDS
    assert all(not set(groups[train]) & set(groups[test]) for train, test in folds)
    kept = layer_probe.testable(folds, labels, None)
    metrics = layer_probe.probe_layers((4,), states, layer_probe.Probe([], labels, groups, kept, 0, "", ""))

    rows, answers = [], []
    for train, test in folds:
        test = [row for row in test if labels[row] != 7]
        scaler = StandardScaler().fit(states[train, 0])
        model = LogisticRegression(class_weight="balanced").fit(scaler.transform(states[train, 0]), labels[train])
        rows += test
        answers += model.predict(scaler.transform(states[test, 0])).tolist()
    order = np.argsort(rows)
    truth, answers, own = labels[np.sort(rows)], np.array(answers)[order], groups[np.sort(rows)]
    assert metrics["layers"][0]["macro_f1"] == pytest.approx(100 * held_out.macro_f1(truth, answers))
    assert metrics["layers"][0]["macro_f1"] < 100
    resampling = Resampling({"test": own.tolist()}, 1000, kind=None)
    draws = [resampling.drawn("test", number) for number in range(1000)]
    assert {len(set(own[draw])) for draw in draws} <= {1, 2, 3, 4, 5, 6}
    expected = interval(np.array([held_out.macro_f1(truth[draw], answers[draw]) for draw in draws]))
    assert metrics["layers"][0]["macro_f1_interval"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ssl_layer", 2, 9], "{front} has 4 layers: pass --ssl_layer 0 to 4 instead of 9"),
        (["--group", "page"], "--group page: {table} has no column page, expected one of file, label, hand"),
        (["--group", "house"], "--group house: all clips are of the one group one, expected at least 2: give another"),
        (["--group", "label"], "a probe needs two classes that are both in its training and in its test clips: give"),
        (["--label_column", "house"], "{table} has only the class one, expected two or more"),
        (["--plot", "layers.svg"], "--plot layers.svg: expected a file name that ends in .png"),
        (["--ssl_norm", "batch"], "--cache_features {kept}: with --ssl_norm batch, the output for a clip depends on"),
    ],
)
def test_bad_input_is_told_before_the_work(planted, table, more, message):
    with pytest.raises(InputError) as caught:
        probe_layers.main(flags(table, planted, *more))
    kept = table.parent / "kept"
    assert str(caught.value).startswith(message.format(front=planted, table=table, kept=kept))
    assert "\n" not in str(caught.value) and not kept.exists()


def test_a_group_without_a_list_or_a_text_is_told(planted, table, corpus):
    with pytest.raises(InputError) as caught:
        probe_layers.main(["--data_root", str(corpus), "--SSL_path", str(planted), "--group", "page"])
    assert str(caught.value) == ("--group page is a column of a list of clips: give --train_list, or leave it out")
    table.write_text(table.read_text().replace("a_real_1.wav,real,a,", "a_real_1.wav,real,,"))
    with pytest.raises(InputError) as caught:
        probe_layers.main(flags(table, planted, "--group", "hand"))
    assert str(caught.value).endswith(
        "clips.csv:3 has no text in the column hand: fill it in, or leave out --group hand"
    )
    table.write_text(table.read_text().replace("split", "part"))
    with pytest.raises(MissingInput, match="has no column split, so nothing says which of its lines are for dev"):
        probe_layers.main(flags(table, planted))
