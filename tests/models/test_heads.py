"""Heads on the hidden states of a front end: their numbers, and how --head travels with a trained model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import save_run, small_corpus

import main_train
import ood_detector_e2e
import source_tracing_id
import source_tracing_ood
from config import Config
from models import HEADS
from models.asp import AttentiveStatisticsPooling
from models.building import build_model, check_network_flags, load_model, start_from
from models.mhfa import MultiHeadFactorisedAttention
from utils.errors import InputError
from utils.model_files import CHECKPOINT

TINY = Config(SSL_path="tiny-random", num_classes=3)


def double(network):
    """{name: weights of a network} in double precision."""
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def softmax(x, axis):
    power = np.exp(x - x.max(axis, keepdims=True))
    return power / power.sum(axis, keepdims=True)


def assert_near(outputs, due):
    for found, expected in zip(outputs, due, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_mhfa_is_the_paper_s(layers):
    torch.manual_seed(0)
    network = MultiHeadFactorisedAttention(5, hidden_size=12, layers=layers)
    with torch.no_grad():
        network.key_layers.raw.normal_()
        network.value_layers.raw.normal_()
    hidden = torch.randn(2, layers, 9, 12)
    w = double(network)
    due = []
    for clip in hidden.double().numpy():  # [layers, frames, 12]
        states = {}
        for part in ("key", "value"):
            shares = softmax(w[f"{part}_layers.raw"], 0)
            mixed = sum(share * layer for share, layer in zip(shares, clip, strict=True))
            states[part] = mixed @ w[f"{part}.weight"].T + w[f"{part}.bias"]
        attention = softmax(states["key"] @ w["query.weight"].T + w["query.bias"], axis=0)  # [frames, heads]
        heads = [sum(attention[t, h] * states["value"][t] for t in range(9)) for h in range(attention.shape[1])]
        features = w["embedding.weight"] @ np.concatenate(heads) + w["embedding.bias"]
        due.append((features, w["head.weight"] @ features + w["head.bias"]))
    assert_near(network(hidden if layers > 1 else hidden[:, 0]), map(np.stack, zip(*due, strict=True)))


def test_attentive_statistics_are_the_paper_s():
    torch.manual_seed(0)
    network = AttentiveStatisticsPooling(5, hidden_size=12)
    hidden = torch.randn(2, 9, 12) + 3
    w = double(network)
    due = []
    for clip in hidden.double().numpy():
        scores = [
            np.tanh(frame @ w["attention.0.weight"].T + w["attention.0.bias"]) @ w["attention.2.weight"][0]
            for frame in clip
        ]
        attention = softmax(np.array(scores), 0)
        mean = sum(a * frame for a, frame in zip(attention, clip, strict=True))
        deviation = np.sqrt(sum(a * frame**2 for a, frame in zip(attention, clip, strict=True)) - mean**2)
        features = w["embedding.weight"] @ np.concatenate((mean, deviation)) + w["embedding.bias"]
        due.append((features, w["head.weight"] @ features + w["head.bias"]))
    assert_near(network(hidden), map(np.stack, zip(*due, strict=True)))


def test_equal_frames_give_finite_gradients():
    network = AttentiveStatisticsPooling(3, hidden_size=4)
    hidden = torch.ones(2, 9, 4, requires_grad=True)
    network(hidden)[1].sum().backward()
    assert hidden.grad.isfinite().all() and all(w.grad.isfinite().all() for w in network.parameters())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layers", [2, (1, 3)])
def test_every_head_takes_one_layer_or_several(head, layers):
    model = build_model(replace(TINY, head=head, ssl_layer=layers))
    features, logits = model.train()(torch.randn(2, 16_000))
    assert features.shape == (2, model.head.in_features) and logits.shape == (2, 3)
    logits.square().sum().backward()
    learned = [w for name, w in model.named_parameters() if not name.startswith("wav2vec2.")]
    assert all(w.grad is not None for w in learned)
    mixed = [name for name in model.state_dict() if name.endswith(".raw")]
    own = ["w2vaasist.key_layers.raw", "w2vaasist.value_layers.raw"]
    assert mixed == (own if head == "mhfa" else ["layer_weights.raw"] if layers == (1, 3) else [])


def test_the_head_travels_with_the_model(tmp_path):
    for head in HEADS:
        config = replace(TINY, head=head, ssl_layer=(1, 3))
        model = build_model(config).eval()
        save_run(tmp_path / head, model, config)
        wave = torch.randn(2, 16_000)
        loaded = load_model(tmp_path / head, Config())
        assert all(map(torch.equal, loaded(wave), model(wave)))
    old = replace(TINY, ssl_layer=2)
    save_run(tmp_path / "old", build_model(old), old, without=["head"])
    assert load_model(tmp_path / "old", replace(TINY, head="asp")).network.encoder


def test_another_head_is_refused_by_the_flag_that_fits(tmp_path):
    save_run(tmp_path, build_model(replace(TINY, head="mhfa")))
    path = tmp_path / CHECKPOINT
    due = [
        (TINY, f"{path} holds the weights of --head mhfa, not of aasist: pass --head mhfa"),
        (
            replace(TINY, model="mellcnn"),
            f"{path} holds the weights of --model W2VAASIST --head mhfa, not of mellcnn:"
            " pass --model W2VAASIST --head mhfa",
        ),
    ]
    for config, message in due:
        with pytest.raises(InputError) as caught:
            load_model(tmp_path, config)
        assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        start_from(tmp_path, build_model(TINY), TINY, ("a", "b", "c"))
    assert str(caught.value) == due[0][1]
    (tmp_path / "args.json").write_text(json.dumps({"config": json.loads(replace(TINY, head="x").json_text())}))
    with pytest.raises(InputError) as caught:
        load_model(tmp_path, TINY)
    said = f"{tmp_path / 'args.json'} is of a run of --head x, expected one of aasist, mhfa, asp"
    assert str(caught.value) == said
    with pytest.raises(InputError, match=r"^--head is only for --model W2VAASIST, not for mellcnn: leave it out$"):
        check_network_flags(Config(model="mellcnn", head="asp"))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["mhfa", "asp"])
def test_scripts_use_any_head(head, corpus, tmp_path, capsys):
    work = ["--data_root", corpus, "--num_workers", 0, "--batch_size", 7, "--SSL_path", "tiny-random"]
    cache = ["--cache_features", tmp_path / "cache"]
    train = [*work, *cache, "-o", tmp_path / "model", "--num_epochs", 1, "--ssl_layer", 1, 2, "--head", head]
    main_train.main([str(word) for word in train])
    assert "weights of the layers for keys: 1: 0." in capsys.readouterr().out or head == "asp"
    folders = ["--model_folder", tmp_path / "model", "--result", tmp_path / "result", "--save_feats", tmp_path / "f"]
    for script in (source_tracing_id, source_tracing_ood, ood_detector_e2e):
        script.main([str(word) for word in (*work, *folders)])
    features = torch.load(tmp_path / "f/evaldict_id.pt", weights_only=True)["feas"]
    assert features.shape[1] == 256
    other = small_corpus(tmp_path / "other", 2)
    more = ["--data_root", other, "--num_workers", 0, "--SSL_path", "tiny-random", "--ssl_layer", 1, 2, "--head", head]
    more += ["--init_from", tmp_path / "model", "-o", tmp_path / "next", "--num_epochs", 1, "--num_classes", 2]
    main_train.main([str(word) for word in more])
    assert "left w2vaasist.head.weight and w2vaasist.head.bias" in capsys.readouterr().out
