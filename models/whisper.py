"""Whisper's encoder: as an SSL front end, and as SASTNet uses it, frozen, on the first seconds of its 30 s window.

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
from models.hugging_face import PREPROCESSOR
from models.transformers_front_end import TransformersFrontEnd
from utils.errors import InputError

HOP = 160  # samples
WINDOW = 400  # samples
MEL_BANDS = 80
MEL_FRAMES = 3000  # of the log-mel image of 30 s
USED_STATES = 256  # of the 1500 hidden states: 5.12 s
WHISPER_REMEDY = "give --Whisper_path the folder of openai/whisper-small, or pass --no_pretrained for a dry run"
# Arguments of transformers' WhisperConfig
WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}


def mel_filters(bands=MEL_BANDS):
    """Whisper's mel filters [bands, 201], in Slaney's scale and norm."""
    bank = mel_filter_bank(WINDOW // 2 + 1, bands, 0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float().T.contiguous()


def log_mel(wave, filters, mel_frames=MEL_FRAMES):
    """Whisper's log-mel image [batch, bands, mel_frames] of `wave` [batch, samples] of at most 30 s, then silence."""
    frames = wave.shape[1] // HOP + 3  # beyond them, all is silence
    window = torch.hann_window(WINDOW, device=wave.device)
    wave = pad(wave.float(), (0, 3 * HOP + WINDOW))
    power = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)[..., :frames].abs().square()
    image = pad((filters @ power).clamp(min=1e-10).log10(), (0, mel_frames - frames), value=-10)
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


class WhisperFrontEnd(TransformersFrontEnd):
    """Whisper's encoder as an SSL front end, one hidden state for each 20 ms of the wave that are whole.

    The encoder sees the silence up to 30 s as well, as in its training; its hidden states there are left out. Its
    log-mel image has a scale of its own: waves are taken as they are.
    """

    family = "whisper"
    config_class = "WhisperConfig"
    prefixes = ("model.encoder.", "encoder.")
    required = ("encoder_layers", "d_model", "encoder_ffn_dim", "encoder_attention_heads", "num_mel_bins")
    depth_option, width_option, heads_option = "encoder_layers", "d_model", "encoder_attention_heads"
    dropouts = ("dropout", "attention_dropout")
    attention_projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    unused_layers = r"model\.(layers\.\d+|layer_norm)"
    default_norm = "none"
    expected_preprocessing = (*TransformersFrontEnd.expected_preprocessing, ("n_fft", WINDOW), ("hop_length", HOP))

    @classmethod
    def network_class(cls):
        return WhisperEncoder

    def final_norm(self, model, structure):
        return model, "layer_norm"

    def prepare_features(self, structure, preprocessing, path):
        bands = structure["num_mel_bins"]
        if preprocessing.get("feature_size", bands) != bands:
            raise InputError(
                f"{path}: {PREPROCESSOR} says {preprocessing['feature_size']} mel bands, but config.json {bands}:"
                " take the original files"
            )
        self.register_buffer("filters", mel_filters(bands), persistent=False)
        self.longest = 2 * HOP * structure["max_source_positions"]  # samples
        self.model.embed_positions.requires_grad_(False)  # sines and cosines, which Whisper's own training kept

    def transformer_layers(self):
        return self.model.layers

    def features(self, wave):
        return log_mel(wave, self.filters, self.longest // HOP)

    def hidden_states(self, wave):
        samples = wave.shape[1]
        if samples > self.longest:
            raise InputError(
                f"Whisper takes at most {self.longest / SAMPLE_RATE:g} s of audio, not {samples / SAMPLE_RATE:g} s"
            )
        return super().hidden_states(wave)[..., : max(1, samples // (2 * HOP)), :]
