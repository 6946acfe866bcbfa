"""MHFA: multi-head factorised attentive pooling of hidden states.

Source: Peng et al., SLT 2022 (arXiv 2210.01273), section 3. The equations are in the comments.
"""

from torch import nn

from models.layer_mix import LayerMix

COMPRESSED = 128  # width of keys and values
POOLING_HEADS = 8
EMBEDDING = 256


class MultiHeadFactorisedAttention(nn.Module):
    """Multi-head factorised attention: hidden states [batch, frames, hidden_size] -> features [batch, 256], logits.

    Hidden states of several `layers` are [batch, layers, frames, hidden_size]. Keys, which decide how much a frame
    counts, and values, which are pooled, have weights of the layers of their own.
    """

    weighs_layers = True

    def __init__(self, num_classes, hidden_size=1024, layers=1):
        super().__init__()
        self.key_layers = LayerMix(layers)
        self.value_layers = LayerMix(layers)
        self.key = nn.Linear(hidden_size, COMPRESSED)
        self.value = nn.Linear(hidden_size, COMPRESSED)
        self.query = nn.Linear(COMPRESSED, POOLING_HEADS)
        self.embedding = nn.Linear(POOLING_HEADS * COMPRESSED, EMBEDDING)
        self.head = nn.Linear(EMBEDDING, num_classes)

    def forward(self, hidden):
        # K = sum_l w_l^k Z_l S^k and V = sum_l w_l^v Z_l S^v
        keys = self.key(self.key_layers(hidden))
        values = self.value(self.value_layers(hidden))
        # A = softmax over the frames of K Q; c_h = sum_t A_th V_t; all c_h in a row, then a linear layer
        attention = self.query(keys).softmax(dim=1)  # [batch, frames, heads]
        pooled = attention.transpose(1, 2).to(values.dtype) @ values  # [batch, heads, compressed]
        features = self.embedding(pooled.flatten(1))
        return features, self.head(features)
