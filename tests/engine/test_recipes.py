"""Recipes and objectives: a row for each model, one form for both systems."""

import pytest
import torch

from config import Config
from config_taxonomy import TaxonomyConfig
from data.taxonomy import Labels
from engine.objectives import ClassObjective, TaskObjective
from engine.recipes import RECIPES, recipe_of
from evaluation.metrics import accuracy
from models import MODELS, TAXONOMY_MODELS
from models.taxonomy import TaxonomyLoss


def test_every_shipped_model_has_a_recipe():
    assert {*MODELS, *TAXONOMY_MODELS} >= RECIPES.keys()
    assert RECIPES.keys() >= {"mellcnn", "Rawaasist", "W2VAASIST", "W2V2AASIST", "SASTNet"}


def test_adam_of_the_first_system_and_its_steps():
    config = Config(lr=0.2, beta_1=0.5, beta_2=0.6, eps=0.01, weight_decay=0.3, lr_decay=0.1, interval=2)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4).requires_grad_(False))
    recipe = recipe_of(config)
    optimizer = recipe.optimizer(config, model, torch.nn.Module())
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.Adam and len(group["params"]) == 2
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.2, (0.5, 0.6), 0.01, 0.3)
    assert [recipe.schedule(config, done) for done in range(5)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_adam_of_the_second_system_trains_the_weights_of_the_loss():
    config = TaxonomyConfig(lr_decay=0.5)
    recipe = recipe_of(config)
    optimizer = recipe.optimizer(config, torch.nn.Linear(2, 3), TaxonomyLoss("M1", learnable=True))
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 3
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-6, (0.9, 0.999), 1e-4)
    assert [recipe.schedule(config, done) for done in range(3)] == [1, 0.5, 0.25]


def test_adamw_of_sastnet_has_two_rates_and_a_cosine():
    config = TaxonomyConfig(model="SASTNet")
    recipe = recipe_of(config)
    optimizer = recipe.optimizer(config, torch.nn.Linear(2, 3), torch.nn.Linear(1, 1, bias=False))
    assert type(optimizer) is torch.optim.AdamW
    rates = [(len(group["params"]), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert rates == [(2, 1e-5, 1e-4), (1, 1e-3, 0)]
    assert [recipe.schedule(config, done) for done in (0, 20, 40)] == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("base_loss", ["ce", "bce"])
def test_the_objective_of_the_first_system(base_loss):
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), [0, 1, 2, 3, 0, 1]
    objective = ClassObjective(Config(base_loss=base_loss), {"accuracy": accuracy})
    if base_loss == "ce":
        expected = -logits.log_softmax(1)[range(6), labels].mean()
    else:
        target = torch.eye(4)[labels]
        expected = -(target * logits.sigmoid().log() + (1 - target) * (-logits).sigmoid().log()).mean()
    torch.testing.assert_close(objective.loss((None, logits), torch.tensor(labels)), expected)
    right = (logits.argmax(1) == torch.tensor(labels)).float().mean().item()
    metrics = objective.metrics((None, logits), labels)
    assert metrics == pytest.approx({"dev_loss": expected.item(), "dev_accuracy": right})


def test_the_objective_of_the_second_system_has_metrics_of_each_task():
    labels = [Labels(0, 0, 0, 0), Labels(1, 2, 1, 3)]
    logits = {"bin": torch.tensor([[-1.0, 1], [-1, 1]]), "vq": torch.eye(4)[[0, 3]]}  # bin: [spoof, bona fide]
    objective = TaskObjective(TaxonomyLoss("D_VQ"), {"accuracy": accuracy})
    metrics = objective.metrics((None, logits), labels)
    assert metrics.keys() == {"dev_loss", "dev_accuracy_bin", "dev_accuracy_vq"}
    assert (metrics["dev_accuracy_bin"], metrics["dev_accuracy_vq"]) == (0.5, 1)
