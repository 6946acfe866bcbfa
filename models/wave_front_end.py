"""What wav2vec 2.0 and the families that grew out of it share: convolutions on the wave, then a transformer.

A frozen front end has its convolutions replaced by faster ones of the same outputs, up to rounding.
"""

import torch
from scipy.fft import next_fast_len
from torch import nn
from torch.nn.functional import conv2d, linear

from data.audio import SAMPLES
from models.transformers_front_end import TransformersFrontEnd
from utils.errors import InputError
from utils.hardware import MPS

SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride", "conv_bias")
POSITIONS = ("num_conv_pos_embeddings", "num_conv_pos_embedding_groups")


class WaveFrontEnd(TransformersFrontEnd):
    """A front end of convolutions and a transformer, in wav2vec 2.0's base form or with layer norms before each part.

    In the base form each layer ends with its layer norms, and the first convolution has a group norm.
    """

    required = (*SIZES, *CONVOLUTIONS, *POSITIONS)
    rare_options = ("adapter_attn_dim",)  # width of the adapter of a language in each layer, as in MMS
    attention_projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    unused_layers = (
        r"model\.(encoder\.layers\.\d+"  # above the layer that the network sees
        r"|encoder\.layer_norm"  # only of the last layer
        r"|masked_spec_embed)"  # only of pre-training
    )

    @classmethod
    def check_structure(cls, structure, path):
        """As in other families; and the convolutions must leave a frame of a clip."""
        super().check_structure(structure, path)
        frames = SAMPLES
        for option in ("conv_kernel", "conv_stride"):
            sizes = structure[option]
            if not isinstance(sizes, (list, tuple)) or any(type(size) is not int or size < 1 for size in sizes):
                raise InputError(
                    f"{path} describes no model that can be built: {option} is {sizes!r}, expected numbers from 1"
                )
        for kernel, stride in zip(structure["conv_kernel"], structure["conv_stride"], strict=False):
            frames = (frames - kernel) // stride + 1
        if frames < 1:
            raise InputError(f"{path} describes no model that can be built: its convolutions leave no frame of a clip")

    def final_norm(self, model, structure):
        return (model.encoder, "layer_norm") if structure.get("do_stable_layer_norm") else None

    def adapt(self, model, structure, cut, frozen):
        super().adapt(model, structure, cut, frozen)
        norms = [getattr(layer, "layer_norm", None) for layer in model.feature_extractor.conv_layers]
        if frozen and all(isinstance(norm, nn.LayerNorm) for norm in norms):
            model.feature_extractor = Extractor(model.feature_extractor)
        if frozen and hasattr(getattr(model.encoder.pos_conv_embed, "conv", None), "parametrizations"):
            model.encoder.pos_conv_embed = PositionCode(model.encoder.pos_conv_embed)


class MicrosoftNorm:
    """Of a family whose base models were trained on waves as they are, and whose large ones on normalised waves."""

    def family_norm(self, structure):
        return "utterance" if structure["feat_extract_norm"] == "layer" else "none"


class Extractor(nn.Module):
    """Convolutions with layer norms, those of transformers' model: wave [batch, samples] -> [batch, d, frames].

    Each frame's channels stay together in memory, as layer norm needs them: no copy between a convolution and the next.
    """

    def __init__(self, plain):
        super().__init__()
        self.conv_layers = plain.conv_layers

    def forward(self, wave):
        first, *others = self.conv_layers
        x = wave.unfold(1, *first.conv.kernel_size, *first.conv.stride)  # of one channel: a matrix product is faster
        x = linear(x, first.conv.weight[:, 0], first.conv.bias)
        x = first.activation(first.layer_norm(x))  # [batch, frames, channels]
        for layer in others:
            conv = layer.conv
            x = x.transpose(1, 2)[:, :, None].contiguous(memory_format=torch.channels_last)
            x = conv2d(x, conv.weight[:, :, None], conv.bias, conv.stride)
            x = layer.activation(layer.layer_norm(x[:, :, 0].transpose(1, 2)))
        return x.transpose(1, 2)


def multiplies_spectra(device):
    """Whether matrix products of complex numbers run on `device`; MPS, the GPU of a Mac, has none."""
    return device.type != MPS


class PositionCode(nn.Module):
    """The positional convolution, transformers' under its names: [batch, frames, d] -> the same shape.

    Its kernels of 128 frames act in the frequency domain, with a fortieth of the multiplications. Their spectra are
    kept for the next clips of as many frames.
    """

    def __init__(self, plain):
        super().__init__()
        self.conv = plain.conv
        self.activation = plain.activation
        self.kept = None, None  # what the spectra were made of, and the spectra

    def spectra(self, size):
        """Conjugate spectra [frequencies, groups, d / groups, d / groups] of the kernels, padded to `size` frames."""
        made_of = size, [(tensor.data_ptr(), tensor._version) for tensor in self.conv.parameters()]
        if self.kept[0] != made_of:
            spectra = torch.fft.rfft(self.conv.weight, size).conj().unflatten(0, (self.conv.groups, -1))
            self.kept = made_of, spectra.permute(3, 0, 2, 1).resolve_conj().contiguous()
        return self.kept[1]

    def forward(self, hidden):
        frames = hidden.shape[1]
        if not multiplies_spectra(hidden.device):
            return self.activation(self.conv(hidden.transpose(1, 2))[..., :frames].transpose(1, 2))
        reach = self.conv.padding[0]
        size = next_fast_len(frames + reach, real=True)
        spectrum = torch.fft.rfft(hidden.to(self.conv.bias.dtype).transpose(1, 2), size)
        product = spectrum.unflatten(1, (self.conv.groups, -1)).permute(3, 1, 0, 2) @ self.spectra(size)
        code = torch.fft.irfft(product.permute(2, 1, 3, 0).flatten(1, 2), size).roll(reach, dims=2)[..., :frames]
        return self.activation((code + self.conv.bias[:, None]).transpose(1, 2))
