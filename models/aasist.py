"""AASIST: residual encoder, graph read-out, and RawAASIST with its bank of sinc filters.

Source: Jung et al., ICASSP 2022 (arXiv 2110.01200). Attributes are named as in the released weights.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv1d, max_pool2d, selu

from data.audio import SAMPLE_RATE
from models.cpu_layers import BatchNorm2d, Conv2d, MaxPool
from models.graph import GraphAttention, GraphPool, HeterogeneousGraphAttention

CHANNELS = (1, 32, 32, 64, 64, 64, 64)  # of the encoder's input and after each of its six blocks
WIDTH = CHANNELS[-1]  # of a graph node


class ResidualBlock(nn.Module):
    """Two convolutions and a skip: [batch, channels_in, f, t] -> [batch, channels_out, f, t / pool].

    The released blocks 1-5 also hold a `bn1` whose output is thrown away. It is not built here: it has no effect, and
    a parameter without gradient stops distributed training. `models.load_weights` ignores its keys.
    """

    def __init__(self, channels_in, channels_out, pool):
        super().__init__()
        self.conv1 = Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.bn2 = BatchNorm2d(channels_out)
        self.conv2 = Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        same = channels_in == channels_out
        self.conv_downsample = nn.Identity() if same else Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))
        self.pool = nn.Identity() if pool == 1 else MaxPool(1, pool)

    def forward(self, x):
        out = self.conv2(selu(self.bn2(self.conv1(x)), inplace=True))
        out += self.conv_downsample(x)
        return self.pool(out)


def residual_encoder(pool):
    """The six blocks of AASIST, each shortening time by the factor `pool`: [batch, 1, f, t] -> [batch, 64, f, t']."""
    return nn.Sequential(*(nn.Sequential(ResidualBlock(*channels, pool)) for channels in pairwise(CHANNELS)))


class GraphBranch(nn.Module):
    """AASIST's graph read-out: two kinds of nodes -> features [batch, 160], logits [batch, classes].

    Models whose released weights have this branch's keys without a prefix inherit from it; others hold branches.
    In train mode the features are returned after dropout, as released.
    """

    def __init__(self, num_classes, spectral_nodes=42, temporal_ratio=0.5):
        super().__init__()
        half = WIDTH // 2
        self.pos_S = nn.Parameter(torch.randn(1, spectral_nodes, WIDTH))
        self.master1 = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.master2 = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.GAT_layer_S = GraphAttention(WIDTH, WIDTH, temperature=2)
        self.GAT_layer_T = GraphAttention(WIDTH, WIDTH, temperature=2)
        self.pool_S = GraphPool(0.5, WIDTH)
        self.pool_T = GraphPool(temporal_ratio, WIDTH)
        self.HtrgGAT_layer_ST11 = HeterogeneousGraphAttention(WIDTH, half, temperature=100)
        self.HtrgGAT_layer_ST12 = HeterogeneousGraphAttention(half, half, temperature=100)
        self.HtrgGAT_layer_ST21 = HeterogeneousGraphAttention(WIDTH, half, temperature=100)
        self.HtrgGAT_layer_ST22 = HeterogeneousGraphAttention(half, half, temperature=100)
        self.pool_hS1, self.pool_hT1 = GraphPool(0.5, half), GraphPool(0.5, half)
        self.pool_hS2, self.pool_hT2 = GraphPool(0.5, half), GraphPool(0.5, half)
        self.drop_way = nn.Dropout(0.2)
        self.drop = nn.Dropout(0.5)
        self.out_layer = nn.Linear(5 * half, num_classes)

    @property
    def head(self):
        """The layer that turns features into logits."""
        return self.out_layer

    def forward(self, x, weights):
        """Read out an encoder map `x` [batch, 64, f, t] by attention scores `weights` of the same shape.

        Spectral nodes are means over time weighted by softmax_t, temporal ones over frequency by softmax_f.
        """
        spectral = (x * weights.softmax(dim=3)).sum(dim=3).transpose(1, 2)
        temporal = (x * weights.softmax(dim=2)).sum(dim=2).transpose(1, 2)
        return self.read_out(spectral, temporal)

    def read_out(self, spectral, temporal):
        """Features and logits of nodes [batch, spectral_nodes, 64] and [batch, t, 64]."""
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        paths = zip(self._path(1, temporal, spectral), self._path(2, temporal, spectral), strict=True)
        temporal, spectral, master = (torch.maximum(self.drop_way(one), self.drop_way(two)) for one, two in paths)
        summary = [part for nodes in (temporal, spectral) for part in (nodes.abs().amax(dim=1), nodes.mean(dim=1))]
        features = self.drop(torch.cat((*summary, master.squeeze(1)), dim=1))
        return features, self.out_layer(features)

    def _path(self, number, temporal, spectral):
        """Temporal and spectral nodes and the master after one of the two paths of heterogeneous attention."""

        def layer(name):
            return getattr(self, name.format(number))

        temporal, spectral, master = layer("HtrgGAT_layer_ST{}1")(temporal, spectral, layer("master{}"))
        spectral, temporal = layer("pool_hS{}")(spectral), layer("pool_hT{}")(temporal)
        nodes = temporal, spectral, master
        changes = layer("HtrgGAT_layer_ST{}2")(*nodes)
        return [node + change for node, change in zip(nodes, changes, strict=True)]


def sinc_bank(filters=70, taps=129):
    """Windowed band-pass filters [filters, taps], float32, whose edges are equally spaced in mel from 0 to 8 kHz.

    h_i[n] = hamming[n] (b_i sinc(b_i n) - a_i sinc(a_i n)), with the band edges a_i, b_i in units of half the sample
    rate. The order of the operations is that which gives the released models' filters to the last bit.
    Source: SincNet (Ravanelli and Bengio, 2018).
    """
    mel = np.linspace(0, 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700), filters + 1)
    edges = 2 * 700 * (10 ** (mel[:, None] / 2595) - 1)  # twice the edge, Hz
    time = np.arange(taps, dtype=np.float32) - taps // 2
    low_pass = (edges / SAMPLE_RATE).astype(np.float32) * np.sinc(edges.astype(np.float32) * time / SAMPLE_RATE)
    return torch.from_numpy(np.hamming(taps).astype(np.float32) * (low_pass[1:] - low_pass[:-1]))


class RawAasist(GraphBranch):
    """AASIST on the waveform through 70 sinc filters: wave [batch, samples] -> features [batch, 160], logits."""

    def __init__(self, num_classes):
        super().__init__(num_classes, spectral_nodes=23, temporal_ratio=0.7)
        self.register_buffer("band_pass", sinc_bank(), persistent=False)  # constant, so not in the released weights
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = residual_encoder(pool=3)

    def forward(self, wave):
        bands = conv1d(wave[:, None], self.band_pass[:, None]).abs_()  # [batch, 70, samples - 128]
        x = selu(self.first_bn(max_pool2d(bands[:, None], 3)))
        magnitude = self.encoder(x).abs()  # [batch, 64, 23, 29] of 64,600 samples
        return self.read_out(magnitude.amax(3).transpose(1, 2), magnitude.amax(2).transpose(1, 2))
