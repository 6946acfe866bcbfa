"""Learned weights of the layers of a front end: softmaxed scalars that start equal.

Source: Yang et al., Interspeech 2021 (arXiv 2105.01051), section 3.
"""

import re

import torch
from torch import nn

# Attribute of a model that is a LayerMix, and what its weights are for, in words
MIXES = {"layer_weights": "", "key_layers": " for keys", "value_layers": " for values"}
RAW = re.compile(rf"(?:.+\.)?(?P<mix>{'|'.join(MIXES)})\.raw")  # its tensor in a state dict


class LayerMix(nn.Module):
    """Hidden states of several layers [batch, layers, frames, width] -> their weighted mean [batch, frames, width].

    The hidden states of one layer may be [batch, frames, width]: they stay as they are.
    """

    def __init__(self, layers):
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(layers))

    def forward(self, hidden):
        hidden = hidden[:, None] if hidden.dim() == 3 else hidden  # a lone weight, of 1, has a gradient all the same
        return (hidden * self.raw.softmax(0)[:, None, None]).sum(1)


def layer_shares(state, layers):
    """{what for: {number of a layer: its weight}} of the mixes in a state dict; the weights of each add up to 1.

    `layers` are the numbers. Where they are fewer than two, there is nothing to weigh: {}. Raises ValueError where the
    weights are not as many, or not finite.
    """
    shares = {}
    for name, raw in state.items():
        match = RAW.fullmatch(name)
        if match and len(layers) > 1:
            if raw.shape != (len(layers),) or not raw.isfinite().all():
                raise ValueError(f"{name} is {raw.tolist()}, expected {len(layers)} finite numbers")
            shares[MIXES[match["mix"]]] = dict(zip(layers, raw.softmax(0).tolist(), strict=True))
    return shares


def shares_in_words(model):
    """Lines on the learned weights of layers in a model, for the user; [] where it has none."""
    layers = getattr(getattr(model, "front_end", None), "layers", ())
    return [
        f"weights of the layers{purpose}: " + ", ".join(f"{number}: {share:.3f}" for number, share in shares.items())
        for purpose, shares in layer_shares(model.state_dict() if layers else {}, layers).items()
    ]
