"""A last layer whose logits are scaled cosines, for losses with a margin (--base_loss aam).

As in ArcFace (arXiv 1801.07698, section 3.1): features and the weights of each class have length 1, there is no bias,
and a logit is `scale` times the cosine between the two. Only the loss adds margins (engine/losses.py).
"""

import torch
from torch import nn
from torch.nn.functional import linear, normalize

from utils.errors import InputError

COSINE_LOSS = "aam"  # value of --base_loss
ROUNDING = 1e-4  # weights whose length differs less from 1 stay as they are, such as those of a checkpoint
COSINE_FLAGS = ("base_loss", "aam_scale")  # that the last layer depends on


class CosineHead(nn.Linear):
    """Features [batch, d] -> `scale` times their cosines with the weights of the classes: logits [batch, classes].

    In eval mode the rows of `weight` have length 1, so that a checkpoint holds the weights that make the logits of the
    features that with_scaled_features() gives. `bias` is a constant 0: the tensors have the names of a plain layer.
    """

    def __init__(self, in_features, out_features, scale):
        super().__init__(in_features, out_features, bias=False)
        del self.bias  # a parameter of the value None
        self.register_buffer("bias", torch.zeros(out_features))
        self.scale = scale

    def train(self, mode=True):
        if not mode and (self.weight.norm(dim=1) - 1).abs().max() > ROUNDING:
            with torch.no_grad():
                self.weight.copy_(normalize(self.weight))
        return super().train(mode)

    def scaled(self, features):
        """`features` [batch, d] at the length `scale`."""
        return self.scale * normalize(features)

    def forward(self, features):
        return linear(self.scaled(features), normalize(self.weight))


def with_scaled_features(network, inputs, outputs):
    """(features, logits) where weight @ features + bias are the logits, for detectors that compute with all three."""
    features, logits = outputs
    return network.head.scaled(features), logits


def use_cosine_head(network, name, scale):
    """Give `network`, of --model `name`, a CosineHead in place of its last layer, and features that fit it.

    Raises InputError where the last layer is not a linear one.
    """
    plain = network.head
    if not isinstance(plain, nn.Linear):
        raise InputError(f"--base_loss {COSINE_LOSS} needs a linear last layer, which --model {name} lacks")
    place = next(place for place, part in network.named_modules() if part is plain)
    network.set_submodule(place, CosineHead(plain.in_features, plain.out_features, scale))
    network.register_forward_hook(with_scaled_features)
    return network


def uses_cosines(config):
    """Whether the last layer of the model that `config` describes is a CosineHead."""
    return config.base_loss == COSINE_LOSS
