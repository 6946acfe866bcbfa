"""Whisper's encoder as SASTNet uses it: frozen, on the first seconds of its 30 s window.

Source: Radford et al., 2022 (arXiv 2212.04356). The part before the network runs on the wave's own device.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import avg_pool1d, pad
from transformers import WhisperConfig, WhisperModel
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from data.audio import SAMPLE_RATE
from utils.errors import InputError

HOP = 160  # samples
WINDOW = 400  # samples
MEL_BANDS = 80
MEL_FRAMES = 3000  # of the log-mel image of 30 s
USED_STATES = 256  # of the 1500 hidden states: 5.12 s
WHISPER_REMEDY = "give --Whisper_path the folder of openai/whisper-small, or pass --no_pretrained for a dry run"
# Arguments of transformers' WhisperConfig
WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}


def mel_filters():
    """Whisper's mel filters [80, 201], in Slaney's scale and norm."""
    bank = mel_filter_bank(
        WINDOW // 2 + 1, MEL_BANDS, 0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(bank).float().T.contiguous()


def log_mel(wave, filters):
    """Whisper's log-mel image [batch, 80, 3000] of `wave` [batch, samples] of at most 30 s, silence after it."""
    frames = wave.shape[1] // HOP + 3  # beyond them, all is silence
    window = torch.hann_window(WINDOW, device=wave.device)
    wave = pad(wave.float(), (0, 3 * HOP + WINDOW))
    power = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)[..., :frames].abs().square()
    image = pad((filters @ power).clamp(min=1e-10).log10(), (0, MEL_FRAMES - frames), value=-10)
    return (image.maximum(image.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


@torch.no_grad()
def random_encoder(sizes):
    """A random encoder of `sizes`, arguments of WhisperConfig. It has a seed of its own, so it is always the same.

    Its convolutions have larger weights than transformers' own initial ones (deviation 0.02): with those, the speech
    would be a hundredth of the positions that are added to it, and nothing could be learned from it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(688)
        encoder = WhisperEncoder(WhisperConfig(**sizes, attn_implementation="sdpa"))
        for convolution in (encoder.conv1, encoder.conv2):
            nn.init.kaiming_normal_(convolution.weight).mul_(2)
    return encoder


def read_encoder(path):
    """The encoder of the Whisper in a Hugging Face folder or of a hub name. Raises InputError when there is none."""
    try:
        return WhisperModel.from_pretrained(path, attn_implementation="sdpa", dtype=torch.float32).encoder
    except Exception as error:  # transformers, safetensors and the hub have many kinds
        known = Path(path).exists()
        reason = str(error).strip().splitlines()[0] if known else type(error).__name__
        raise InputError(
            f"{path} {'is no Whisper model that can be read' if known else 'is not here and cannot be fetched'}"
            f" ({reason}): {WHISPER_REMEDY}"
        ) from None


class WhisperFeatures(nn.Module):
    """Wave [batch, samples] -> features [batch, 128, dim], one every 40 ms: means of two hidden states each."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.dim = encoder.config.d_model
        self.register_buffer("filters", mel_filters(), persistent=False)
        self.train()

    def train(self, mode=True):
        """Set training mode, in which the frozen encoder still has no dropout."""
        super().train(mode)
        self.encoder.eval()
        return self

    @torch.no_grad()
    def forward(self, wave):
        # The encoder attends to the silence up to 30 s as well, so it must see all of it.
        hidden = self.encoder(log_mel(wave, self.filters)).last_hidden_state[:, :USED_STATES]
        return avg_pool1d(hidden.transpose(1, 2), 2).transpose(1, 2)
