"""Attentive statistics pooling of hidden states.

Source: Okabe et al., Interspeech 2018 (arXiv 1803.10963), section 3.
"""

import torch
from torch import nn

ATTENTION = 128  # width of the layer between a frame and its score
EMBEDDING = 256
LEAST_VARIANCE = 1e-6  # below it, the gradient of the square root is too large


class AttentiveStatisticsPooling(nn.Module):
    """Attentive statistics: hidden states [batch, frames, hidden_size] -> features [batch, 256], logits.

    Mean and standard deviation over the frames, weighted by an attention, and a linear layer.
    """

    def __init__(self, num_classes, hidden_size=1024):
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(hidden_size, ATTENTION), nn.Tanh(), nn.Linear(ATTENTION, 1))
        self.embedding = nn.Linear(2 * hidden_size, EMBEDDING)
        self.head = nn.Linear(EMBEDDING, num_classes)

    def forward(self, hidden):
        weights = self.attention(hidden).softmax(dim=1)  # a_t of equations 1 and 2: [batch, frames, 1]
        mean = (weights * hidden).sum(1)  # equation 3
        # Equation 6, as the mean square of the deviations: the difference of two large numbers would lose digits
        variance = (weights * (hidden - mean[:, None]).square()).sum(1)
        features = self.embedding(torch.cat((mean, variance.clamp(min=LEAST_VARIANCE).sqrt()), dim=1))
        return features, self.head(features)
