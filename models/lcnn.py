"""Mel-LCNN: a light CNN on mel spectrograms. Attributes are named as in the released weights.

Source: Xie et al. (arXiv 2501.06514) after Wu et al., "A light CNN for deep face representation" (arXiv 1511.02683).
"""

import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram, SpecAugment

from data.audio import SAMPLE_RATE
from models.levels import LEVELS, at_speech_level

LCNN_FEATURES = 256  # of a clip
MEL_FLOOR = 1e-8  # added to mel powers of speech at SPEECH_LEVEL_DB, which is about 80 dB stronger
# The masks of the policy SM of arXiv 1904.08779, table 1, without time warping, which matters least, as it says. The
# value 0 of a masked part is the mean of a logarithmic spectrogram, and silence in one of linear power.
SPEC_AUGMENT = {"n_time_masks": 2, "time_mask_param": 70, "n_freq_masks": 2, "freq_mask_param": 15, "p": 0.2}


class MaxFeatureMap(nn.Module):
    """The larger of two channels, i and i + c: [batch, 2 c, ...] -> [batch, c, ...]; the network's only activation."""

    def forward(self, x):
        return torch.maximum(*x.chunk(2, dim=1))


def convolution(channels_in, channels_out, kernel, pool=False, norm=False):
    """A convolution and its max-feature-map, which halves `channels_out`; then pooling by 2 and a batch norm.

    Pooling and max-feature-map both take maxima, so their order does not matter: after pooling, the max-feature-map
    sees a quarter of the values. The places in the sequence are those of the released weights' names.
    """
    parts = [nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)]
    parts += [nn.MaxPool2d(2)] if pool else []
    parts += [MaxFeatureMap()]
    parts += [nn.BatchNorm2d(channels_out // 2, affine=False)] if norm else []
    return nn.Sequential(*parts)


def log_mel(mel, wave):
    """Log mel spectrogram [batch, bands, frames] of `wave` [batch, samples], of mean 0 and variance 1 in each clip.

    It does not depend on the level of the clip. `mel` turns waves into mel powers.
    """
    level = (mel(at_speech_level(wave)) + MEL_FLOOR).log()
    variance, mean = torch.var_mean(level, (1, 2), correction=0, keepdim=True)
    return (level - mean) * (variance + 1e-6).rsqrt()


class MelLcnn(nn.Module):
    """LCNN on 80 mel bands of linear power: wave [batch, 64600] -> features [batch, 256], logits [batch, classes].

    As released, the convolutions see the linear power mel spectrogram [batch, 1, 80, 505], without logarithm or
    normalisation: the scores depend on the level of a recording. `level` "normalise" takes the level away, see
    models/levels.py; so does `mel` "log", see log_mel(). With `spec_augment`, training hides bands and frames at
    random. The layer after the convolutions fixes the number of samples.
    """

    def __init__(self, num_classes, mel="power", level="none", spec_augment=False):
        super().__init__()
        self.mel = MelSpectrogram(SAMPLE_RATE, n_fft=512, hop_length=128, n_mels=80)
        self.logarithmic = mel == "log"
        self.at_level = LEVELS[level]
        self.masks = SpecAugment(**SPEC_AUGMENT, zero_masking=True) if spec_augment else nn.Identity()
        self.conv1 = convolution(1, 64, 5, pool=True)
        self.conv2 = convolution(32, 64, 1, norm=True)
        self.conv3 = convolution(32, 96, 3, pool=True, norm=True)
        self.conv4 = convolution(48, 96, 1, norm=True)
        self.conv5 = convolution(48, 128, 3, pool=True)
        self.conv6 = convolution(64, 128, 1, norm=True)
        self.conv7 = convolution(64, 64, 3, norm=True)
        self.conv8 = convolution(32, 64, 1, norm=True)
        self.conv9 = convolution(32, 64, 3, pool=True)
        # The last map is [32, 80 / 16, 505 / 16], rounded down.
        self.out = nn.Sequential(
            nn.Dropout(0.7), nn.Linear(32 * 5 * 31, 160), MaxFeatureMap(), nn.Linear(80, LCNN_FEATURES)
        )
        self.fc_mu = nn.Linear(LCNN_FEATURES, num_classes)

    @property
    def head(self):
        """The layer that turns features into logits."""
        return self.fc_mu

    def forward(self, wave):
        with torch.autocast(wave.device.type, enabled=False):  # the range of power is too large for half precision
            wave = self.at_level(wave)
            x = (log_mel(self.mel, wave) if self.logarithmic else self.mel(wave))[:, None]
        if self.training:
            x = self.masks(x)
        x = self.conv3(self.conv2(self.conv1(x)))
        x = self.conv6(self.conv5(self.conv4(x)))
        x = self.conv9(self.conv8(self.conv7(x)))
        features = self.out(x.flatten(1))
        return features, self.fc_mu(features)
