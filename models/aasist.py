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
from models.graph import GraphAttention, GraphPool, HeterogeneousGraphAttention
from models.levels import LEVELS

CHANNELS = (1, 32, 32, 64, 64, 64, 64)  # of the encoder's input and after each of its six blocks
NODE_WIDTH = CHANNELS[-1]  # features of a graph node


class ResidualBlock(nn.Module):
    """Two convolutions and a skip: [batch, channels_in, f, t] -> [batch, channels_out, f, t / pool].

    The released blocks 1-5 also hold a `bn1` whose output is thrown away. It is not built here: it has no effect, and
    a parameter without gradient stops distributed training. models.weights.load_weights() ignores its keys.
    """

    def __init__(self, channels_in, channels_out, pool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        same = channels_in == channels_out
        self.conv_downsample = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))
        self.pool = nn.Identity() if pool == 1 else nn.MaxPool2d((1, pool))

    def forward(self, x):
        out = self.conv2(selu(self.bn2(self.conv1(x)), inplace=True))
        out += self.conv_downsample(x)
        return self.pool(out)


def residual_encoder(pool):
    """The six blocks of AASIST, each shortening time by the factor `pool`: [batch, 1, f, t] -> [batch, 64, f, t']."""
    return nn.Sequential(*(nn.Sequential(ResidualBlock(*channels, pool)) for channels in pairwise(CHANNELS)))


def heterogeneous_path(nodes, attentions, pools):
    """One of the two paths of AASIST's max graph operation over `nodes`: temporal and spectral ones, and the master.

    `attentions` are the two layers of the path, `pools` those of the spectral and of the temporal nodes between them.
    """
    first_attention, second_attention = attentions
    pool_spectral, pool_temporal = pools
    temporal, spectral, master = first_attention(*nodes)
    spectral = pool_spectral(spectral)
    temporal = pool_temporal(temporal)
    nodes = temporal, spectral, master
    changes = second_attention(*nodes)
    return [node + change for node, change in zip(nodes, changes, strict=True)]


class GraphBranch(nn.Module):
    """AASIST's graph read-out: two kinds of nodes -> features [batch, 160], logits [batch, classes].

    A model inherits from it where the released weights hold the keys of this branch without a prefix; other models
    hold branches. In training mode the features are returned after dropout, as released. Source: AASIST.
    """

    def __init__(self, num_classes, spectral_nodes=42, temporal_ratio=0.5):
        super().__init__()
        half = NODE_WIDTH // 2
        self.pos_S = nn.Parameter(torch.randn(1, spectral_nodes, NODE_WIDTH))
        self.master1 = nn.Parameter(torch.randn(1, 1, NODE_WIDTH))
        self.master2 = nn.Parameter(torch.randn(1, 1, NODE_WIDTH))
        self.GAT_layer_S = GraphAttention(NODE_WIDTH, NODE_WIDTH, temperature=2)
        self.GAT_layer_T = GraphAttention(NODE_WIDTH, NODE_WIDTH, temperature=2)
        self.pool_S = GraphPool(0.5, NODE_WIDTH)
        self.pool_T = GraphPool(temporal_ratio, NODE_WIDTH)
        self.HtrgGAT_layer_ST11 = HeterogeneousGraphAttention(NODE_WIDTH, half, temperature=100)
        self.HtrgGAT_layer_ST12 = HeterogeneousGraphAttention(half, half, temperature=100)
        self.HtrgGAT_layer_ST21 = HeterogeneousGraphAttention(NODE_WIDTH, half, temperature=100)
        self.HtrgGAT_layer_ST22 = HeterogeneousGraphAttention(half, half, temperature=100)
        self.pool_hS1 = GraphPool(0.5, half)
        self.pool_hT1 = GraphPool(0.5, half)
        self.pool_hS2 = GraphPool(0.5, half)
        self.pool_hT2 = GraphPool(0.5, half)
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
        """Features [batch, 160] and logits of nodes [batch, spectral_nodes, 64] and [batch, t, 64]."""
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        first_path = heterogeneous_path(
            (temporal, spectral, self.master1),
            (self.HtrgGAT_layer_ST11, self.HtrgGAT_layer_ST12),
            (self.pool_hS1, self.pool_hT1),
        )
        second_path = heterogeneous_path(
            (temporal, spectral, self.master2),
            (self.HtrgGAT_layer_ST21, self.HtrgGAT_layer_ST22),
            (self.pool_hS2, self.pool_hT2),
        )
        temporal, spectral, master = (
            torch.maximum(self.drop_way(first), self.drop_way(second))
            for first, second in zip(first_path, second_path, strict=True)
        )
        summary = [part for nodes in (temporal, spectral) for part in (nodes.abs().amax(dim=1), nodes.mean(dim=1))]
        features = self.drop(torch.cat((*summary, master.squeeze(1)), dim=1))
        return features, self.out_layer(features)


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
    """AASIST on the waveform through 70 sinc filters: wave [batch, samples] -> features [batch, 160], logits.

    As released, the scores depend on the level of a recording. `level` "normalise" takes it away: models/levels.py.
    """

    def __init__(self, num_classes, level="none"):
        super().__init__(num_classes, spectral_nodes=23, temporal_ratio=0.7)
        self.at_level = LEVELS[level]
        self.register_buffer("band_pass", sinc_bank(), persistent=False)  # constant, so not in the released weights
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = residual_encoder(pool=3)

    def forward(self, wave):
        wave = self.at_level(wave)
        bands = conv1d(wave[:, None], self.band_pass[:, None]).abs_()  # [batch, 70, samples - 128]
        x = selu(self.first_bn(max_pool2d(bands[:, None], 3)))
        magnitude = self.encoder(x).abs()  # [batch, 64, 23, 29] of 64,600 samples
        return self.read_out(magnitude.amax(3).transpose(1, 2), magnitude.amax(2).transpose(1, 2))
