"""Recipes: the optimizer of each model, and how its step sizes change from epoch to epoch.

A new model needs no row: it is trained with ADAM.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from models.fine_tuning_choice import LORA, NONE

FRONT_END_LR = {False: 1e-5, True: 1e-4}  # by whether --finetune is lora, whose matrices start anew


class Recipe(NamedTuple):
    """A row of RECIPES."""

    optimizer: Callable  # (config, model, loss) -> torch optimizer
    schedule: Callable  # (config, whole epochs that are done) -> factor on each initial step size


def trained_weights(*modules):
    """The parameters of `modules` that take a gradient."""
    return [weight for module in modules for weight in module.parameters() if weight.requires_grad]


def adam(config, model, loss):
    """Adam with L2 penalty; betas and epsilon are torch's defaults where the system has no flag for them.

    Where --finetune trains the front end, its weights have a step size of their own. They have no penalty, which
    would pull them away from where pre-training left them.
    """
    options = {"lr": config.lr, "weight_decay": config.weight_decay}
    if hasattr(config, "beta_1"):
        options |= {"betas": (config.beta_1, config.beta_2), "eps": config.eps}
    weights = trained_weights(model, loss)
    if getattr(config, "finetune", NONE) == NONE:
        return torch.optim.Adam(weights, **options)
    tuned = trained_weights(model.front_end)
    rest = [weight for weight in weights if all(weight is not other for other in tuned)]
    group = {"params": tuned, "lr": front_end_step_size(config), "weight_decay": 0.0}
    return torch.optim.Adam([{"params": rest}, group], **options)


def front_end_step_size(config):
    """--front_end_lr; left out, that of its kind of fine-tuning."""
    return FRONT_END_LR[config.finetune == LORA] if config.front_end_lr is None else config.front_end_lr


def step_decay(config, epochs_done):
    """--lr_decay after every --interval epochs; after every epoch where the system has no such flag."""
    return config.lr_decay ** (epochs_done // getattr(config, "interval", 1))


def adamw_two_rates(config, model, loss):
    """AdamW; the weights of the losses have a step size of their own and no penalty."""
    groups = [
        {"params": trained_weights(model), "lr": config.lr, "weight_decay": config.weight_decay},
        {"params": trained_weights(loss), "lr": 1e-3, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups)


def cosine_decay(config, epochs_done):
    """Half a cosine from 1 at the start to 0 after --num_epochs."""
    return (1 + math.cos(math.pi * epochs_done / config.num_epochs)) / 2


ADAM = Recipe(adam, step_decay)
RECIPES = {
    "mellcnn": ADAM,  # arXiv 2501.06514, section IV
    "Rawaasist": ADAM,
    "W2VAASIST": ADAM,
    "W2V2AASIST": ADAM,  # arXiv 2505.12994, section 4
    "SASTNet": Recipe(adamw_two_rates, cosine_decay),  # arXiv 2506.07294, section 4
}


def recipe_of(config):
    """The Recipe of --model."""
    return RECIPES.get(config.model, ADAM)
