"""Graph attention and pooling over fully connected graphs of nodes [batch, nodes, d].

Source: RawGAT-ST (Tak et al., 2021) and AASIST (Jung et al., ICASSP 2022). Attributes are named as in the released
weights: they are the file format.
"""

import torch
from torch import nn
from torch.nn.functional import selu


def attention_weight(size):
    """The vector w of an attention score w' tanh(...), as a trainable [size, 1]."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(size, 1)))


def pairs(nodes):
    """Products h_i * h_j of all pairs of nodes: [batch, n, d] -> [batch, n, n, d]."""
    return nodes[:, :, None] * nodes[:, None]


def activate(norm, nodes):
    """SELU(BN(h_i)), with the statistics taken over all nodes of the batch: [batch, n, d] -> [batch, n, d]."""
    return selu(norm(nodes.flatten(0, 1))).view_as(nodes)


class GraphAttention(nn.Module):
    """Attention among nodes of one kind: [batch, n, size_in] -> [batch, n, size_out].

    a_ij = softmax_j(w' tanh(W (h_i * h_j)) / temperature);  h_i <- SELU(BN(U sum_j a_ij h_j + V h_i)).
    """

    def __init__(self, size_in, size_out, temperature):
        super().__init__()
        self.temperature = temperature
        self.input_drop = nn.Dropout(0.2)
        self.att_proj = nn.Linear(size_in, size_out)
        self.att_weight = attention_weight(size_out)
        self.proj_with_att = nn.Linear(size_in, size_out)
        self.proj_without_att = nn.Linear(size_in, size_out)
        self.bn = nn.BatchNorm1d(size_out)

    def forward(self, nodes):
        nodes = self.input_drop(nodes)
        scores = torch.tanh(self.att_proj(pairs(nodes))) @ self.att_weight  # [batch, i, j, 1]
        attention = (scores.squeeze(-1) / self.temperature).softmax(dim=-1)
        return activate(self.bn, self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes))


class HeterogeneousGraphAttention(nn.Module):
    """Attention among nodes of two kinds, [batch, n1, size_in] and [batch, n2, size_in], and a master node.

    Gives the three with size_out features. Each kind has a projection of its own and each kind of edge (1-1, 2-2,
    1-2) an attention vector of its own; the rest is as in GraphAttention. The master, [batch, 1, size_in] or one for
    the whole batch [1, 1, size_in], attends to all nodes and is not normalised. Source: AASIST, section 3.2.
    """

    def __init__(self, size_in, size_out, temperature):
        super().__init__()
        self.temperature = temperature
        self.proj_type1 = nn.Linear(size_in, size_in)
        self.proj_type2 = nn.Linear(size_in, size_in)
        self.input_drop = nn.Dropout(0.2)
        self.att_proj = nn.Linear(size_in, size_out)
        self.att_projM = nn.Linear(size_in, size_out)
        self.att_weight11 = attention_weight(size_out)
        self.att_weight22 = attention_weight(size_out)
        self.att_weight12 = attention_weight(size_out)
        self.att_weightM = attention_weight(size_out)
        self.proj_with_att = nn.Linear(size_in, size_out)
        self.proj_without_att = nn.Linear(size_in, size_out)
        self.proj_with_attM = nn.Linear(size_in, size_out)
        self.proj_without_attM = nn.Linear(size_in, size_out)
        self.bn = nn.BatchNorm1d(size_out)

    def forward(self, first, second, master):
        n = first.shape[1]
        nodes = self.input_drop(torch.cat((self.proj_type1(first), self.proj_type2(second)), dim=1))
        master = self._update_master(nodes, master)
        nodes = activate(self.bn, self.proj_with_att(self._attention(nodes, n) @ nodes) + self.proj_without_att(nodes))
        return nodes[:, :n], nodes[:, n:], master

    def _attention(self, nodes, n):
        """Attention maps [batch, n1 + n2, n1 + n2] of nodes of which the first `n` are of the first kind."""
        edges = torch.tanh(self.att_proj(pairs(nodes)))
        from_first = torch.cat((edges[:, :n, :n] @ self.att_weight11, edges[:, :n, n:] @ self.att_weight12), dim=2)
        from_second = torch.cat((edges[:, n:, :n] @ self.att_weight12, edges[:, n:, n:] @ self.att_weight22), dim=2)
        return (torch.cat((from_first, from_second), dim=1).squeeze(-1) / self.temperature).softmax(dim=-1)

    def _update_master(self, nodes, master):
        # One master for the whole batch is broadcast; the released code copies it for every clip.
        scores = torch.tanh(self.att_projM(nodes * master)) @ self.att_weightM  # [batch, nodes, 1]
        attention = (scores / self.temperature).softmax(dim=1)
        return self.proj_with_attM(attention.transpose(1, 2) @ nodes) + self.proj_without_attM(master)


class GraphPool(nn.Module):
    """The max(int(n * ratio), 1) nodes of highest score, highest first, scaled by it: [batch, n, d] -> [batch, k, d].

    The order matters: paths are later compared node by node. Among equal scores the earlier node comes first, on
    every device; the released code leaves that to topk. Source: Graph U-Nets (Gao and Ji, ICML 2019).
    """

    def __init__(self, ratio, size):
        super().__init__()
        self.ratio = ratio
        self.drop = nn.Dropout(0.3)
        self.proj = nn.Linear(size, 1)

    def forward(self, nodes):
        scores = torch.sigmoid(self.proj(self.drop(nodes)))  # [batch, n, 1]
        kept = max(int(nodes.shape[1] * self.ratio), 1)
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :kept]
        return nodes.gather(1, order.expand(-1, -1, nodes.shape[2])) * scores.gather(1, order)
