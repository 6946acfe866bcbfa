"""The hidden states of a front end without their frames: mean and standard deviation of each layer."""

import torch
from torch import nn


class PooledLayers(nn.Module):
    """Wave [batch, samples] -> [batch, layers, 2 hidden_size], float32: mean, then standard deviation over frames.

    The frames are gone after each batch: 25 layers of XLS-R 300M are 0.1 MB a clip instead of 10.
    """

    def __init__(self, front_end):
        super().__init__()
        self.front_end = front_end

    def forward(self, wave):
        hidden = self.front_end(wave).float()
        hidden = hidden[:, None] if hidden.dim() == 3 else hidden
        deviation, mean = torch.std_mean(hidden, dim=2, correction=0)
        return torch.cat((mean, deviation), dim=-1)
