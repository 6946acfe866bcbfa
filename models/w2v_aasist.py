"""W2V-AASIST: AASIST's graphs on the hidden states of a self-supervised speech model.

Source: Tak et al., Odyssey 2022 (arXiv 2202.12233), with a frozen front end as in Xie et al. (arXiv 2405.04880).
Attributes are named as in the released weights.
"""

from torch import nn
from torch.nn.functional import max_pool2d, selu

from models.aasist import NODE_WIDTH, GraphBranch, residual_encoder

HIDDEN_BANDS = 128  # to which a hidden state is reduced: the frequency axis of the encoder's input


class HiddenStateEncoder(nn.Module):
    """The part before the graphs: encode() turns hidden states into an encoder map and its attention scores.

    A model inherits from it where the released weights hold these layers without a prefix. `rest` goes to the next
    parent class, such as GraphBranch.
    """

    def __init__(self, hidden_size=1024, **rest):
        super().__init__(**rest)
        self.LL = nn.Linear(hidden_size, HIDDEN_BANDS)
        self.first_bn = nn.BatchNorm2d(1)
        self.first_bn1 = nn.BatchNorm2d(NODE_WIDTH)
        self.encoder = residual_encoder(pool=1)
        self.attention = nn.Sequential(
            nn.Conv2d(NODE_WIDTH, 2 * NODE_WIDTH, 1),
            nn.SELU(),
            nn.BatchNorm2d(2 * NODE_WIDTH),
            nn.Conv2d(2 * NODE_WIDTH, NODE_WIDTH, 1),
        )

    def encode(self, hidden):
        """[batch, frames, hidden_size] -> map and attention scores, both [batch, 64, 42, frames / 3]."""
        image = self.LL(hidden).transpose(1, 2)[:, None]  # [batch, 1, 128, frames]
        x = self.encoder(selu(self.first_bn(max_pool2d(image, 3))))
        x = selu(self.first_bn1(x))
        return x, self.attention(x)


class W2vAasistBackEnd(HiddenStateEncoder, GraphBranch):
    """AASIST: hidden states [batch, frames, hidden_size] -> features [batch, 160], logits."""

    def __init__(self, num_classes, hidden_size=1024):
        super().__init__(hidden_size, num_classes=num_classes)

    def forward(self, hidden):
        return super().forward(*self.encode(hidden))
