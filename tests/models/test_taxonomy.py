"""models/taxonomy.py against the released code: keys, logits, gradients and losses (tests/fixtures/taxonomy)."""

import json

import numpy as np
import pytest
import torch
from helpers import FIXTURES
from torch import nn

from data.taxonomy import TAXONOMY_CLASSES, Labels
from models.cpu_layers import use_cpu_layers
from models.taxonomy import BRANCHES, FORMS, TaxonomyLoss, W2v2Aasist, probabilities
from models.weights import load_weights, read_checkpoint

ATTRIBUTES = dict(zip(BRANCHES, ("binary", "as", "ds", "qs"), strict=True))  # the fixtures' names of the tasks


class FrontEnd(nn.Module):
    """Stands for XLS-R: gives the hidden states that it is given."""

    hidden_size = 1024

    def forward(self, hidden):
        return hidden


def fixture(name):
    return FIXTURES / "taxonomy" / name


@pytest.fixture(scope="module")
def io():
    return np.load(fixture("m1_io.npz"))


@pytest.fixture
def m1():
    model = use_cpu_layers(W2v2Aasist(FrontEnd(), "M1"))
    path = fixture("m1_backend_state.pt")
    ignored = load_weights(model, read_checkpoint(path), path)
    assert ignored == [f"encoder.{block}.0.bn1" for block in range(1, 6)]
    return model.eval()


def relative(found, expected):
    """Largest error, in units of the largest expected value."""
    expected = torch.as_tensor(np.asarray(expected), dtype=found.dtype)
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def labels_of_fixture(labels):
    """The fixtures' labels, whose binary class 1 is bona fide, as Labels."""
    columns = {task: torch.tensor(labels[name]) for task, name in ATTRIBUTES.items()}
    return Labels(**columns)._replace(bin=1 - columns["bin"])


def test_the_table_covers_the_taxonomy():
    assert {task for tasks in FORMS.values() for task in tasks} == set(BRANCHES) == set(TAXONOMY_CLASSES)
    assert all(len(BRANCHES[task].weights) == len(TAXONOMY_CLASSES[task]) for task in BRANCHES)


@pytest.mark.parametrize("form", FORMS)
def test_parameter_counts_are_the_released_ones(form):
    """Less the 512 of the five batch norms without effect."""
    counts = json.loads(fixture("param_counts.json").read_text())[form]
    model = W2v2Aasist(FrontEnd(), form)
    assert sum(weight.numel() for weight in model.parameters()) == counts["backend_params"] - 512


@pytest.mark.parametrize("frames, prefix", [(201, "out"), (73, "out73")])
def test_logits(frames, prefix, m1, io):
    features = torch.from_numpy(io["features_f16"].astype(np.float32))[:, :frames]
    with torch.no_grad():
        embeddings, logits = m1(features)
    assert embeddings.shape == (2, 640)
    for task, name in ATTRIBUTES.items():
        assert relative(logits[task], io[f"{prefix}_{name}"]) < 1e-5
    if frames == 201:
        assert relative(embeddings[:, :160], io["bin_last_hidden"]) < 1e-5


def test_loss_and_gradients(m1, io):
    """In float64, as rounding errors of float32 in the encoder's gradients differ from one processor to the next."""
    labels = labels_of_fixture(json.loads(fixture("m1_io.json").read_text())["labels"])
    objective = TaxonomyLoss("M1").double()
    outputs = m1.double()(torch.from_numpy(io["features_f16"].astype(np.float64)))
    assert relative(objective.parts(outputs, labels), io["loss_parts"]) < 1e-5
    loss = objective(outputs, labels)
    assert loss.item() == pytest.approx(float(io["loss"]), rel=1e-5)
    loss.backward()
    for key in io:
        if key.startswith("grad_"):
            weight = m1.get_parameter(key.removeprefix("grad_").replace("/", "."))
            assert relative(weight.grad, io[key]) < 1e-4, key
    assert [name for name, weight in m1.named_parameters() if weight.grad is None] == []


def test_batch_statistics_of_training(m1, io):
    m1.train()
    for part in m1.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    with torch.no_grad():
        _, logits = m1(torch.from_numpy(io["features_f16"].astype(np.float32)))
    for task, name in ATTRIBUTES.items():
        assert relative(logits[task], io[f"trainbn_out_{name}"]) < 1e-4
    for key in io:
        name = key.removeprefix("trainbn_").replace("/", ".")
        if key.startswith("trainbn_") and "." in name and ".bn1." not in name:
            assert relative(m1.get_buffer(name), io[key]) < 1e-4, key


@pytest.mark.parametrize("form", FORMS)
def test_losses_of_every_form(form):
    case = json.loads(fixture("losses.json").read_text())
    labels = labels_of_fixture(case["labels"])
    logits = {task: torch.tensor(case["logits"][ATTRIBUTES[task]]) for task in FORMS[form]}
    expected = case["by_model_type"][form]
    objective = TaxonomyLoss(form)
    assert objective((None, logits), labels).item() == pytest.approx(expected["loss"], abs=1e-6)
    parts = [part for part in expected["parts_binary_as_ds_qs"] if part is not None]
    assert objective.parts((None, logits), labels).tolist() == pytest.approx(parts, abs=1e-6)

    learnable = TaxonomyLoss(form, learnable=True)
    learned = expected["learnable"]
    count = len(FORMS[form])
    if count == 1:
        assert not any(weight.requires_grad for weight in learnable.parameters())
        return
    learnable.raw_weights.data = torch.tensor(learned["raw_weight"])
    loss = learnable((None, logits), labels)
    assert loss.item() == pytest.approx(learned["loss"], abs=1e-6)
    loss.backward()
    gradient = next(value for name, value in learned.items() if "grad" in name)
    assert learnable.raw_weights.grad.tolist() == pytest.approx(gradient, abs=1e-6)


def test_probabilities_of_spoof_detection():
    case = json.loads(fixture("losses.json").read_text())
    logits = {task: torch.tensor(case["logits"][name]) for task, name in ATTRIBUTES.items()}
    scores = probabilities(logits)
    assert scores["bin"].squeeze(1).tolist() == pytest.approx(case["binary_bonafide_probability"], abs=1e-6)
    assert scores["aux"].sum(dim=1).tolist() == pytest.approx([1] * 8)
    del logits["bin"]
    scores = probabilities(logits)
    assert scores["bin"].squeeze(1).tolist() == pytest.approx(case["M2_bonafide_probability"], abs=1e-6)
    certain = {task: torch.tensor([[80.0, 0.0, 0.0]]) for task in ("aux", "dec", "vq")}
    assert probabilities(certain)["bin"].item() == 1
