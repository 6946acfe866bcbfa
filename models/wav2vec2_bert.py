"""w2v-BERT 2.0: conformer layers on a filter bank. Source: Seamless Communication, 2023 (arXiv 2312.05187)."""

import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank, window_function
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertRotaryPositionalEmbedding

from data.audio import SAMPLE_RATE
from models.hugging_face import PREPROCESSOR
from models.transformers_front_end import TransformersFrontEnd
from utils.errors import InputError
from utils.hardware import MPS

WINDOW, HOP, SPECTRUM = 400, 160, 512  # samples
PCM = 2**15  # the filter bank was made for samples of 16 bits
PREEMPHASIS = 0.97
FLOOR = 1.192092955078125e-07  # of a band's power
MEL_BANDS = 80
STRIDE = 2  # frames of the filter bank in a vector


class FilterBank(nn.Module):
    """Wave [batch, samples] -> log mel filter bank [batch, frames, bands * stride], one every 20 ms.

    It is that of Kaldi, as transformers' SeamlessM4TFeatureExtractor makes it: each band of a clip has mean 0 and
    variance 1, and `stride` frames in a row are one vector; frames that fill none are left out. In double precision,
    since the power of speech spans ten decades; for the GPU of a Mac, which has none, on the CPU.
    """

    def __init__(self, bands=MEL_BANDS, stride=STRIDE):
        super().__init__()
        self.stride = stride
        bank = mel_filter_bank(
            *(SPECTRUM // 2 + 1, bands, 20, SAMPLE_RATE // 2, SAMPLE_RATE),
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.register_buffer("filters", torch.from_numpy(bank).double(), persistent=False)
        window = torch.from_numpy(window_function(WINDOW, "povey", periodic=False)).double()
        self.register_buffer("window", window, persistent=False)

    def _apply(self, move, recurse=True):
        return self if move(torch.zeros(0)).device.type == MPS else super()._apply(move, recurse)

    def forward(self, wave):
        frames = wave.to(self.window.device).double().mul(PCM).unfold(1, WINDOW, HOP)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        power = torch.fft.rfft((frames - PREEMPHASIS * before) * self.window, SPECTRUM).abs().square()
        image = (power @ self.filters).clamp(min=FLOOR).log()
        variance, mean = torch.var_mean(image, 1, keepdim=True)
        image = (image - mean) / torch.sqrt(variance + 1e-7)
        vectors = image.shape[1] // self.stride
        return image[:, : vectors * self.stride].reshape(len(wave), vectors, -1).to(wave.dtype).to(wave.device)


class RotaryPositions(Wav2Vec2BertRotaryPositionalEmbedding):
    """transformers' own, but it does not keep what it made for the last clip, which may lie on another device."""

    def forward(self, hidden_states):
        self.cached_sequence_length = None
        return super().forward(hidden_states)


class Wav2Vec2BertFrontEnd(TransformersFrontEnd):
    """w2v-BERT 2.0 on its own filter bank, which normalises each band: waves are taken as they are."""

    family = "wav2vec2-bert"
    config_class, model_class = "Wav2Vec2BertConfig", "Wav2Vec2BertModel"
    prefixes = ("wav2vec2_bert.",)
    required = (
        *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"),
        *("feature_projection_input_dim", "position_embeddings_type"),
    )
    rare_options = ("num_mel_bins",)  # the bands of the filter bank, where they are not MEL_BANDS
    dropouts = (*TransformersFrontEnd.dropouts, "conformer_conv_dropout")
    attention_projections = ("linear_q", "linear_k", "linear_v", "linear_out")
    unused_layers = r"model\.(encoder\.layers\.\d+|masked_spec_embed)"

    def checkpoint_norm(self, structure, preprocessing, path):
        return "none"

    def adapt(self, model, structure, cut, frozen):
        super().adapt(model, structure, cut, frozen)
        if isinstance(model.encoder.embed_positions, Wav2Vec2BertRotaryPositionalEmbedding):
            model.encoder.embed_positions.__class__ = RotaryPositions

    def make_constants(self, model):
        positions = model.encoder.embed_positions
        if positions is not None:  # sines and cosines, of the types "relative" and "rotary"
            model.encoder.embed_positions = type(positions)(model.config)

    def prepare_features(self, structure, preprocessing, path):
        bands = preprocessing.get("num_mel_bins", structure.get("num_mel_bins", MEL_BANDS))
        width = structure["feature_projection_input_dim"]
        whole = type(bands) is int and 0 < bands <= width
        stride = preprocessing.get("stride", width // bands) if whole else preprocessing.get("stride")
        if not whole or type(stride) is not int or bands * stride != width:
            raise InputError(
                f"{path}: {PREPROCESSOR} says {bands!r} bands and stride {stride!r}, but config.json"
                f" feature_projection_input_dim {width}: take the original files"
            )
        if bands != MEL_BANDS:
            self.structure = structure | {"num_mel_bins": bands}
        self.filter_bank = FilterBank(bands, stride)

    def features(self, wave):
        return self.filter_bank(wave)
