"""W2V-AASIST: AASIST's graphs on the hidden states of a self-supervised speech model.

Source: Tak et al., Odyssey 2022 (arXiv 2202.12233), with a frozen front end as in Xie et al. (arXiv 2405.04880).
Attributes are named as in the released weights.
"""

from torch import nn
from torch.nn.functional import max_pool2d, selu

from models.aasist import WIDTH, GraphBranch, residual_encoder
from models.cpu_layers import BatchNorm2d

BANDS = 128  # to which a hidden state is reduced: the frequency axis of the encoder's input


class HiddenStateEncoder(nn.Module):
    """What comes before the graphs: `encode` turns hidden states into an encoder map and its attention scores.

    Models whose released weights hold these layers without a prefix inherit from it, alone or together with
    GraphBranch, to which `rest` goes.
    """

    def __init__(self, hidden_size=1024, **rest):
        super().__init__(**rest)
        self.LL = nn.Linear(hidden_size, BANDS)
        self.first_bn = nn.BatchNorm2d(1)
        self.first_bn1 = BatchNorm2d(WIDTH)
        self.encoder = residual_encoder(pool=1)
        self.attention = nn.Sequential(
            nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.SELU(), BatchNorm2d(2 * WIDTH), nn.Conv2d(2 * WIDTH, WIDTH, 1)
        )

    def encode(self, hidden):
        """[batch, frames, hidden_size] -> map and attention scores, both [batch, 64, 42, frames / 3]."""
        image = self.LL(hidden).transpose(1, 2)[:, None]  # [batch, 1, 128, frames]
        x = self.encoder(selu(self.first_bn(max_pool2d(image, 3))))
        x = selu(self.first_bn1(x))
        return x, self.attention(x)


class W2vAasistBackEnd(HiddenStateEncoder, GraphBranch):
    """AASIST on hidden states of a frozen XLS-R: [batch, frames, hidden_size] -> features [batch, 160], logits."""

    def __init__(self, num_classes, hidden_size=1024):
        super().__init__(hidden_size, num_classes=num_classes)

    def forward(self, hidden):
        return super().forward(*self.encode(hidden))


class StoredHiddenStates(nn.Module):
    """In the place of a front end: takes its hidden states, kept in half precision, instead of a wave.

    `digest` is that of the front end's weights, see models.weights.frozen_digest.
    """

    def __init__(self, hidden_size, digest):
        super().__init__()
        self.hidden_size, self.digest = hidden_size, digest

    def forward(self, hidden):
        return hidden.float()


class W2vAasist(nn.Module):
    """Speech front end and back end: wave [batch, samples] -> features [batch, 160], logits [batch, classes].

    `front_end` maps a wave to hidden states [batch, frames, front_end.hidden_size].
    """

    def __init__(self, front_end, num_classes):
        super().__init__()
        self.wav2vec2 = front_end
        self.w2vaasist = W2vAasistBackEnd(num_classes, front_end.hidden_size)

    @property
    def head(self):
        return self.w2vaasist.head

    def forward(self, wave):
        return self.w2vaasist(self.wav2vec2(wave))
