"""Models: the numbers of the released code, and the contract (features, logits) that every model keeps.

Fixtures were made by running the released code with random weights (tests/fixtures/st_codecfake); its README gives the
tolerances. In double precision the two agree to rounding, so those tests are the sharp ones.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from helpers import FIXTURES
from torch import nn
from torch.nn.functional import cross_entropy

from config import Config
from data.audio import SAMPLES
from data.conditions import PAPER_MODELS
from models import MODELS
from models.aasist import RawAasist, sinc_bank
from models.building import build_network
from models.graph import GraphPool
from models.w2v_aasist import W2vAasistBackEnd
from models.weights import UNUSED_NORMS, head_weights, load_weights, read_checkpoint

FOLDER = FIXTURES / "st_codecfake"
# Released models: largest error of the features, of the logits, and relative of gradient norms, in float32
TOLERANCES = {"Rawaasist": (5e-5, 1e-5, 5e-3), "W2VAASIST": (5e-5, 1e-5, 1e-4), "mellcnn": (2e-5, 1e-5, 1e-4)}
SLOW_NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "Rawaasist" else name for name in TOLERANCES]


def read(name):
    return torch.load(FOLDER / name, weights_only=True)


@cache
def case(name):
    """Input, labels, expected tensors and expected numbers of a model."""
    waves = name != "W2VAASIST"  # whose fixtures are only of the back end
    inputs = read("inputs_wave.pt" if waves else "inputs_w2vfeats.pt")
    check = json.loads((FOLDER / f"{name.lower()}_check.json").read_text())
    return inputs["wave" if waves else "feats"], inputs["labels"], read(f"{name.lower()}_io.pt"), check


def released(name, dropout=True):
    """The trained part of model `name` with the weights of its fixture."""
    model = build_network(name, 7)
    path = FOLDER / f"{name.lower()}_state.pt"
    load_weights(model, read_checkpoint(path), path)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout) and not dropout:
            layer.p = 0.0
    return model


def trained_network(name):
    """The trained part of model `name`: with released weights where there are some, else with fresh ones."""
    return released(name) if name in TOLERANCES else build_network(name, 7)


def gradient_norms(model):
    return {name: weight.grad.norm().item() for name, weight in model.named_parameters()}


def assert_norms(found, expected, relative):
    """Equal up to `relative`, or to a tenth of it of the largest: a bias before a norm has rounding for a gradient."""
    expected = {name: value for name, value in expected.items() if value is not None}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=relative, abs=relative / 10 * max(expected.values())), name


@pytest.mark.parametrize("name", TOLERANCES)
def test_released_scores(name):
    wave, _, expected, _ = case(name)
    feature_error, logit_error, _ = TOLERANCES[name]
    with torch.inference_mode():
        features, logits = released(name).eval()(wave[:1])  # one clip, to be quick; in double precision all
    torch.testing.assert_close(features, expected["feats"][:1], atol=feature_error, rtol=0)
    torch.testing.assert_close(logits, expected["logits"][:1], atol=logit_error, rtol=0)


@pytest.mark.parametrize("name", SLOW_NAMES)
def test_released_scores_in_double_precision(name):
    wave, _, expected, _ = case(name)
    with torch.inference_mode():
        features, logits = released(name).double().eval()(wave.double())
    torch.testing.assert_close(features, expected["feats_f64"], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(logits, expected["logits_f64"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", SLOW_NAMES)
def test_released_training_step(name):
    wave, labels, expected, check = case(name)
    feature_error, logit_error, gradient_error = TOLERANCES[name]
    model = released(name, dropout=False).train()
    features, logits = model(wave)
    torch.testing.assert_close(features, expected["train_feats"], atol=feature_error, rtol=0)
    torch.testing.assert_close(logits, expected["train_logits"], atol=logit_error, rtol=0)
    loss = cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(check["loss"], abs=1e-6)
    loss.backward()
    assert_norms(gradient_norms(model), check["grad_norm"], gradient_error)
    norms = {layer: part for layer, part in check["bn_after_one_forward"].items() if not re.match(UNUSED_NORMS, layer)}
    assert norms
    for layer, part in norms.items():
        norm = model.get_submodule(layer)
        assert norm.num_batches_tracked == part["num_batches_tracked"]
        assert norm.running_mean.norm().item() == pytest.approx(part["running_mean_l2"], rel=1e-5)
        assert norm.running_var.norm().item() == pytest.approx(part["running_var_l2"], rel=1e-5)


@pytest.mark.parametrize("name", SLOW_NAMES)
@pytest.mark.slow
def test_released_training_in_double_precision(name):
    wave, labels, expected, check = case(name)
    check = check["f64"]
    model = released(name, dropout=False).double().train()
    start = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=5e-4)
    for step in range(3):
        _, logits = model(wave.double())
        loss = cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            torch.testing.assert_close(logits, expected["train_logits_f64"], rtol=1e-9, atol=1e-11)
            assert_norms(gradient_norms(model), check["grad_norm"], 1e-9)
        assert loss.item() == pytest.approx(check["adam_losses"][step], rel=1e-9)
        optimizer.step()
    assert cross_entropy(model(wave.double())[1], labels).item() == pytest.approx(check["adam_loss_final"], rel=1e-9)
    for key, weight in model.named_parameters():
        assert (weight - start[key]).norm().item() == pytest.approx(check["adam_delta_norm"][key], rel=1e-6), key


def test_sinc_bank_is_the_released_one():
    torch.testing.assert_close(sinc_bank(), read("rawaasist_io.pt")["band_pass"], atol=4e-8, rtol=0)
    assert "band_pass" not in RawAasist(2).state_dict()


def test_mel_spectrogram_is_the_released_one():
    wave, _, expected, _ = case("mellcnn")
    mel = released("mellcnn").mel(wave)
    assert mel.shape == (3, 80, 505)
    stride = expected["mel_frame_stride"].item()
    torch.testing.assert_close(mel[:, :, ::stride], expected["mel"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, parameters", [("Rawaasist", 298_671), ("W2VAASIST", 448_047), ("mellcnn", 973_799)])
def test_parameters_are_those_of_the_paper_less_the_unused_norms(name, parameters):
    unused = 0 if name == "mellcnn" else 512
    assert sum(weight.numel() for weight in build_network(name, 7).parameters()) == parameters - unused


def short_input(name, batch=2):
    """Random input of the trained part of a model, no longer than it needs."""
    shape = {"Rawaasist": (16_000,), "W2VAASIST": (60, 1024)}.get(name, (SAMPLES,))
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 7])
def test_every_trainable_parameter_learns(name, classes):
    model = build_network(name, classes).train()
    features, logits = model(short_input(name))
    assert features.shape[0] == 2 and logits.shape == (2, classes)
    logits.sum().backward()
    assert [key for key, weight in model.named_parameters() if weight.requires_grad and weight.grad is None] == []


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_the_batch(name):
    model = trained_network(name).eval()
    data = short_input(name, batch=3)
    with torch.inference_mode():
        together = torch.cat(model(data), dim=1)
        one_by_one = torch.cat([torch.cat(model(item[None]), dim=1) for item in data])
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-4)


TRAINED_HEADS = [(name, True) for name in TOLERANCES]  # other models may give features before dropout


@pytest.mark.parametrize("name, training", [*((name, False) for name in MODELS), *TRAINED_HEADS])
def test_head_turns_features_into_logits(name, training):
    model = build_network(name, 7).train(training)
    if not getattr(model, "head_makes_logits", True):
        assert head_weights(model) is None
        return
    features, logits = model(short_input(name))  # released models give features after dropout
    weight, bias = head_weights(model)
    torch.testing.assert_close(features @ weight.T + bias, logits)
    assert weight.shape == (7, features.shape[1]) and not weight.requires_grad


@pytest.mark.parametrize("name", ["Rawaasist", "W2VAASIST"])
def test_training_features_of_aasist_are_dropped_out(name):
    features, _ = released(name).train()(short_input(name))
    assert 0.3 < (features == 0).float().mean() < 0.7


def test_pooling_keeps_the_highest_scores_in_descending_order():
    pool = GraphPool(0.5, 1).eval()
    nn.init.ones_(pool.proj.weight)
    nn.init.zeros_(pool.proj.bias)
    nodes = torch.tensor([0.0, 3.0, -1.0, 2.0, 1.0])
    kept = torch.tensor([3.0, 2.0])
    torch.testing.assert_close(pool(nodes[None, :, None])[0, :, 0], kept * kept.sigmoid())
    assert pool(nodes[None, :1, None]).shape == (1, 1, 1)  # never an empty graph


def test_pooling_resolves_equal_scores_by_position():
    pool = GraphPool(0.5, 2).eval()
    nn.init.zeros_(pool.proj.weight)  # what weight decay makes of it in some released weights
    nn.init.zeros_(pool.proj.bias)
    nodes = torch.randn(3, 42, 2)
    assert torch.equal(pool(nodes), nodes[:, :21] / 2)


def test_back_end_takes_other_hidden_sizes_and_lengths():
    features, logits = W2vAasistBackEnd(3, hidden_size=16).eval()(torch.randn(2, 99, 16))
    assert features.shape == (2, 160) and logits.shape == (2, 3)


def test_one_list_of_models():
    choices = Config.__dataclass_fields__["model"].metadata["argparse"]["choices"]
    assert set(choices) == set(MODELS) and set(PAPER_MODELS) <= set(MODELS)


@pytest.mark.slow
def test_official_aasist():
    """Runs where CODECTRACE_WEIGHTS names a folder that holds the AASIST.pth of github.com/clovaai/aasist."""
    path = Path(os.environ.get("CODECTRACE_WEIGHTS", "")) / "AASIST.pth"
    if not path.is_file():
        pytest.skip("AASIST.pth is not at hand: set CODECTRACE_WEIGHTS to its folder")
    model = RawAasist(2)
    load_weights(model, read_checkpoint(path), path)
    with torch.inference_mode():
        features, logits = model.eval()(read("inputs_wave.pt")["wave"])
    expected = read("aasist_official_io.pt")
    torch.testing.assert_close(features, expected["AASIST.last_hidden"], atol=2e-4, rtol=0)
    torch.testing.assert_close(logits, expected["AASIST.output"], atol=2e-4, rtol=0)
