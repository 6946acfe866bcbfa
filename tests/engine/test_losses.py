"""Losses of the first system against plain double-precision computations, and the last layer of the margin loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import assert_same_weights, flags, save_run, use_small_model

import calibrate
import main_train
import source_tracing_ood
from config import Config
from engine.losses import OWN_FLAGS, check_loss, supervised_contrastive
from engine.objectives import ClassLoss
from models.building import build_model, load_model, start_from
from models.weights import head_weights
from utils.errors import InputError

CLASSES = 4
LABELS = [0, 1, 2, 3, 0, 1, 1]


def numbers(*shape):
    return np.random.default_rng(len(shape) + shape[0]).normal(size=shape)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def plain_cross_entropy(logits, smoothing):
    targets = np.full(logits.shape, smoothing / CLASSES)
    targets[range(len(logits)), LABELS] += 1 - smoothing
    return -(targets * log_softmax(logits)).sum(1).mean()


def plain_binary(logits, smoothing):
    targets = np.full(logits.shape, smoothing / 2)
    targets[range(len(logits)), LABELS] += 1 - smoothing
    shares = 1 / (1 + np.exp(-logits))
    return -(targets * np.log(shares) + (1 - targets) * np.log(1 - shares)).mean()


def plain_contrastive(features, labels, temperature):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = []
    for i in range(len(unit)):
        others = [j for j in range(len(unit)) if j != i]
        same = [j for j in others if labels[j] == labels[i]]
        total = sum(np.exp(unit[i] @ unit[j] / temperature) for j in others)
        if same:
            losses.append(-np.mean([np.log(np.exp(unit[i] @ unit[j] / temperature) / total) for j in same]))
    return np.mean(losses) if losses else 0.0


def plain_margin(cosines, margin, scale, smoothing):
    cosines = cosines.copy()
    for row, label in enumerate(LABELS):
        angle = np.arccos(cosines[row, label])
        beyond = angle + margin > np.pi
        cosines[row, label] -= margin * np.sin(margin) if beyond else cosines[row, label] - np.cos(angle + margin)
    return plain_cross_entropy(scale * cosines, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["ce", "bce", "aam", "supcon+ce"])
def test_losses_against_a_plain_computation(name, smoothing):
    features, logits = numbers(len(LABELS), 6), 3 * numbers(len(LABELS), CLASSES)
    if name == "aam":
        logits = 16 * np.tanh(logits / 3)
        logits[0, 0] = -15.99  # an angle that the margin takes beyond 180 degrees
    options = {"aam_margin": 0.3, "aam_scale": 16.0, "supcon_temperature": 0.2, "supcon_weight": 0.7}
    expected = {
        "ce": lambda: plain_cross_entropy(logits, smoothing),
        "bce": lambda: plain_binary(logits, smoothing),
        "aam": lambda: plain_margin(logits / 16, 0.3, 16, smoothing),
        "supcon+ce": lambda: plain_cross_entropy(logits, smoothing) + 0.7 * plain_contrastive(features, LABELS, 0.2),
    }[name]()
    loss = ClassLoss(Config(base_loss=name, label_smoothing=smoothing, **options))
    outputs = torch.tensor(features).float(), torch.tensor(logits).float()
    labels = torch.tensor(LABELS)
    assert loss(outputs, labels).item() == pytest.approx(expected, rel=2e-5)
    plain = plain_binary(logits, 0) if name == "bce" else plain_cross_entropy(logits, 0)
    assert loss.development(outputs, labels).item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 0], [1, 1, 0]])
def test_a_clip_without_another_of_its_class_has_no_contrastive_loss(labels):
    features = numbers(len(labels), 5)
    given = torch.tensor(features).float().requires_grad_()
    loss = supervised_contrastive(given, torch.tensor(labels), 0.1)
    assert loss.item() == pytest.approx(plain_contrastive(features, labels, 0.1), abs=1e-5)
    loss.backward()
    assert given.grad.isfinite().all()


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_the_margin_loss_has_a_finite_slope_everywhere(cosine):
    logits = torch.tensor([[30 * cosine, 0.0]], requires_grad=True)
    ClassLoss(Config(base_loss="aam"))((None, logits), torch.tensor([0])).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["mellcnn", "fingerprint", "W2VAASIST"])
def test_features_head_and_logits_of_the_margin_loss_fit(name, tmp_path):
    config = Config(model=name, base_loss="aam", aam_scale=20.0, num_classes=3, SSL_path="tiny-random")
    torch.manual_seed(0)
    model = build_model(config).eval()
    wave = 0.1 * torch.randn(2, 64600)
    with torch.inference_mode():
        features, logits = model(wave)
    weight, bias = head_weights(model)
    torch.testing.assert_close(features @ weight.T + bias, logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.norm(dim=1), torch.full((2,), 20.0))
    assert logits.abs().max() <= 20.001
    save_run(tmp_path, model, config)
    again = load_model(tmp_path, Config(SSL_path="tiny-random"))  # the run says what its last layer is
    with torch.inference_mode():
        torch.testing.assert_close(again(wave)[1], logits)
        if name == "fingerprint":
            torch.testing.assert_close(again(again.views(wave))[0], features)
    assert torch.equal(head_weights(again)[0], weight)


def test_a_head_of_another_kind_is_not_taken_over(tmp_path):
    config = Config(model="mellcnn", num_classes=3)
    save_run(tmp_path, build_model(config), config)
    margin = replace(config, base_loss="aam")
    text = start_from(tmp_path, build_model(margin), margin, ["class 0", "class 1", "class 2"])
    assert "left fc_mu.weight and fc_mu.bias" in text


def test_a_model_without_a_linear_last_layer_is_refused():
    from models import MODELS, Model

    class Other(torch.nn.Module):
        head = torch.nn.Identity()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "other", Model(lambda classes: Other()))
        with pytest.raises(InputError, match="--base_loss aam needs a linear last layer, which --model other lacks"):
            build_model(Config(model="other", base_loss="aam", num_classes=2))


@pytest.mark.parametrize("loss, flag", [(loss, flag) for loss, flags in OWN_FLAGS.items() for flag in flags])
def test_a_flag_of_another_loss_is_refused(loss, flag):
    check_loss(Config(**{"base_loss": loss, flag: 0.5}))
    with pytest.raises(InputError) as caught:
        check_loss(Config(**{flag: 0.5}))
    assert str(caught.value) == f"--{flag} is only for --base_loss {loss}, not for ce: leave it out"


@pytest.mark.parametrize("name", ["aam", "supcon+ce"])
def test_a_run_is_resumed_traced_and_calibrated(name, corpus, tmp_path, monkeypatch):
    use_small_model(monkeypatch)
    for run, epochs in (("whole", 2), ("parts", 1), ("parts", 2)):
        more = ["--continue_training"] if (run, epochs) == ("parts", 2) else []
        loss = ["--base_loss", name, "--label_smoothing", "0.1", "--num_epochs", epochs]
        main_train.main(flags(corpus, tmp_path / run, *loss, *more))
    best = "anti-spoofing_feat_model.pt"
    assert_same_weights(tmp_path / "whole" / best, tmp_path / "parts" / best)
    with pytest.raises(InputError, match=f"trained with --base_loss {name.replace('+', '.')}, not ce"):
        main_train.main(flags(corpus, tmp_path / "parts", "--continue_training", "--num_epochs", 3))
    work = ["--data_root", corpus, "--num_workers", "0", "--model_folder", tmp_path / "parts", "--result", tmp_path]
    work = [str(part) for part in (*work, "--save_feats", tmp_path / "feats")]
    source_tracing_ood.main([*work, "--condition", "train", "dev", "single7"])
    calibrate.main([*work, "--tpr", "0.8"])  # every detector, some with the weights of the last layer
    assert json.loads((tmp_path / "parts/calibration.json").read_text())["detectors"]
