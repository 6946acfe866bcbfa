"""Cross-modal transformer: one sequence attends to another.

Source: Tsai et al., ACL 2019 (arXiv 1906.00295). Attributes are named as in the released weights of SASTNet.
"""

import torch
from torch import nn
from torch.nn.functional import dropout, relu

DROPOUT = 0.1


def positions(x):
    """Codes [batch, time, dim] of the places 1, 2, ... in `x` [batch, time, dim]: all sines, then all cosines.

    A token whose first feature is exactly 0 counts as padding and gets none, as released.
    """
    half = x.shape[2] // 2
    rates = 10_000 ** -(torch.arange(half, device=x.device, dtype=torch.float32) / (half - 1))
    angles = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None] * rates
    codes = torch.cat((angles.sin(), angles.cos()), dim=1)
    return torch.where(x[:, :, :1] != 0, codes.to(x.dtype), 0)


class CrossModalLayer(nn.Module):
    """Pre-norm attention from `x` to `key` and `value`, then a feed-forward network: shape of `x` -> the same.

    Keys and values pass the layer norm of `x`, as released.
    """

    def __init__(self, dim, heads):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x, key, value):
        norm = self.layer_norms[0]
        attended, _ = self.self_attn(norm(x), norm(key), norm(value), need_weights=False)
        x = x + self.drop(attended)
        return x + self.drop(self.fc2(self.drop(relu(self.fc1(self.layer_norms[1](x))))))


class CrossModalTransformer(nn.Module):
    """Tokens `x` [batch, t, dim] after they have attended to `source` [batch, s, dim] in every layer."""

    def __init__(self, dim=768, heads=16, layers=2):
        super().__init__()
        self.layers = nn.ModuleList(CrossModalLayer(dim, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(dim)

    def embed(self, x):
        return dropout(x.shape[2] ** 0.5 * x + positions(x), DROPOUT, self.training)

    def forward(self, x, source):
        x = self.embed(x)
        key = self.embed(source)
        value = self.embed(source)  # differs from the key by dropout
        for layer in self.layers:
            x = layer(x, key, value)
        return self.layer_norm(x)
