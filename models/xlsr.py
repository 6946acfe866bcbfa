"""XLS-R, the SSL front end of the papers of both systems: wave -> hidden states of one of its layers.

Source: Babu et al., Interspeech 2022 (arXiv 2111.09296): wav2vec 2.0 (arXiv 2006.11477) with layer norms before each
part and in the convolutions. Weights are read from transformers' or fairseq's files; names are those of transformers.
"""

import re
from pathlib import Path

import torch
from scipy.fft import next_fast_len
from torch import nn
from torch.nn.functional import conv2d, linear
from transformers import Wav2Vec2Config, Wav2Vec2Model

from models.fairseq_checkpoint import read_fairseq, require_form, require_options
from models.front_ends import FrontEnd
from models.hugging_face import SSL_REMEDY, model_folder, read_folder_weights, read_options
from models.random_init import coloured_noise, standardise
from models.weights import current_name
from utils.errors import InputError

# Random front ends for dry runs: layers, width, width of the feed-forward networks, heads, channels of the convolutions
TINY = "tiny-random"
FULL = "random"
RANDOM = {TINY: (6, 64, 128, 4, [32] * 7), FULL: (24, 1024, 4096, 16, [512] * 7)}
CONVOLUTIONS = ([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2], True, 128, 16)  # the rest of STRUCTURE
# What a Hugging Face configuration must say to be of XLS-R's form; the second line holds transformers' defaults
XLSR_FORM = {"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": True}
DEFAULT_FORM = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "add_adapter": False, "adapter_attn_dim": None}
# The entries of it that say how large the model is
STRUCTURE = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "conv_dim", "conv_kernel"),
    *("conv_stride", "conv_bias", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)
# Names of the tensors of a wav2vec 2.0 model
XLSR_NAMES = re.compile(
    r"(feature_extractor|feature_projection|encoder\.(layer_norm|pos_conv_embed))\.|masked_spec_embed$"
    r"|encoder\.layers\.\d+\.(attention\.[kvq]_proj|attention\.out_proj|feed_forward|layer_norm|final_layer_norm)\."
)


def wav2vec2_configuration(structure, layers, dropout=0.0, layerdrop=0.0):
    """transformers' configuration of the first `layers` layers, without the parts that only pre-training uses."""
    return Wav2Vec2Config(
        **structure | {"num_hidden_layers": layers},
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        **dict.fromkeys(("hidden_dropout", "attention_dropout", "feat_proj_dropout"), dropout),
        activation_dropout=0.0,
        layerdrop=layerdrop,
        mask_time_prob=0.0,
        apply_spec_augment=False,
        attn_implementation="sdpa",
    )


def known_structure(name):
    """The structure that RANDOM names."""
    return dict(zip(STRUCTURE, (*RANDOM[name], *CONVOLUTIONS), strict=True))


def structure_of(state, path):
    """The structure of the XLS-R whose tensors are `state`, from the file `path`.

    The tensors do not show all of it: the rest is that of the model in RANDOM of the same width. Raises InputError
    when there is none.
    """
    width = len(state.get("encoder.layer_norm.weight", ()))
    name = next((name for name, sizes in RANDOM.items() if sizes[1] == width), None)
    if name is None:
        raise InputError(f"{path} holds an XLS-R of width {width}, expected {[sizes[1] for sizes in RANDOM.values()]}")
    layers = {key.split(".")[2] for key in state if key.startswith("encoder.layers.")}
    widths = [len(bias) for key, bias in state.items() if key.endswith("feed_forward.intermediate_dense.bias")]
    return known_structure(name) | {"num_hidden_layers": len(layers), "intermediate_size": min(widths, default=1)}


def random_weights(name):
    """Structure and weights of the random front end that RANDOM names, in XLS-R's form. It has learned nothing.

    It has a seed of its own: it is always the same, and it does not change the state of the global generators.
    """
    structure = known_structure(name)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(688)
        model = Wav2Vec2Model(wav2vec2_configuration(structure, structure["num_hidden_layers"])).eval()
        if name == TINY:
            standardise(model, coloured_noise())
        return structure, model.state_dict()


def read_xlsr_folder(folder):
    """Structure and {name: tensor} of a Hugging Face model in `folder`, heads and quantizer included."""
    path = folder / "config.json"
    options = DEFAULT_FORM | read_options(folder)
    require_form(options, XLSR_FORM | DEFAULT_FORM, path)
    require_options(options, STRUCTURE, path)
    weights = read_folder_weights(folder)
    state = {current_name(name.removeprefix("wav2vec2.")): value for name, value in weights.items()}
    return {name: options[name] for name in STRUCTURE}, state


def read_xlsr(path):
    """Structure (arguments of Wav2Vec2Config) and {transformers' name: tensor} of what --SSL_path may name.

    That is a Hugging Face folder, a hub name, a fairseq checkpoint, or a name of RANDOM. A pair of structure and
    tensors is given back as it is. Raises InputError for anything else.
    """
    if isinstance(path, tuple):
        return path
    if str(path) in RANDOM:
        return random_weights(str(path))
    if Path(path).is_file():
        return read_fairseq(Path(path))
    folder = model_folder(path)
    if folder is None:
        raise InputError(f"{path} does not exist: {SSL_REMEDY}")
    return read_xlsr_folder(folder)


def empty_wav2vec2(path, *configuration):
    """transformers' model without memory for its weights; `configuration` is what wav2vec2_configuration() takes.

    Raises InputError, which names `path`, where the configuration contradicts itself.
    """
    try:
        with torch.device("meta"):  # no memory, and no random weights that would be replaced at once
            return Wav2Vec2Model(wav2vec2_configuration(*configuration))
    except Exception as error:  # transformers has its own kinds
        reason = " ".join(str(error).split())
        raise InputError(f"{path} describes no model that can be built: {reason}") from None


def check_xlsr_weights(state, expected, path):
    """Raise InputError when the tensors `state`, from `path`, cannot take the place of those `expected`."""
    lacking = [name for name in expected if name not in state]
    if lacking:
        raise InputError(f"{path} lacks {len(lacking)} tensors of XLS-R (first {lacking[0]}): {SSL_REMEDY}")
    for name, own in expected.items():
        if state[name].shape != own.shape:
            shapes = list(state[name].shape), list(own.shape)
            raise InputError(
                f"{path}: {name} is {shapes[0]}, but its configuration says {shapes[1]}: take the original file"
            )
        if not state[name].isfinite().all():
            raise InputError(f"{path} holds values that are NaN or infinite, in {name}: download it again")


class Extractor(nn.Module):
    """XLS-R's convolutions, those of transformers' model under its names: wave [batch, samples] -> [batch, d, frames].

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


class PositionCode(nn.Module):
    """XLS-R's positional convolution, transformers' under its names: [batch, frames, d] -> the same shape.

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
        reach = self.conv.padding[0]
        size = next_fast_len(frames + reach, real=True)
        spectrum = torch.fft.rfft(hidden.to(self.conv.bias.dtype).transpose(1, 2), size)
        product = spectrum.unflatten(1, (self.conv.groups, -1)).permute(3, 1, 0, 2) @ self.spectra(size)
        code = torch.fft.irfft(product.permute(2, 1, 3, 0).flatten(1, 2), size).roll(reach, dims=2)[..., :frames]
        return self.activation((code + self.conv.bias[:, None]).transpose(1, 2))


class XlsrFrontEnd(FrontEnd):
    """Wave [batch, samples] at 16 kHz -> hidden states [batch, frames, hidden_size], 64600 samples -> 201 frames.

    `path` is what --SSL_path may name, see read_xlsr(). `layer` counts as the published systems do: 0 is what enters
    the first layer, n the output of layer n; only the last one, also called None, has passed the final layer norm.
    Layers above it are not built. `norm` and `frozen` are as in FrontEnd. A front end that is not frozen is trained
    with the given `dropout` (of hidden states, attention and projected features) and `layerdrop`, without SpecAugment.
    Raises InputError when the weights cannot be used or have fewer layers.
    """

    unused_layers = (
        r"model\.(encoder\.layers\.\d+"  # above the layer that the network sees
        r"|encoder\.layer_norm"  # only of the last layer
        r"|masked_spec_embed)"  # only of pre-training
    )

    def __init__(self, path, layer=5, norm="utterance", frozen=True, dropout=0.0, layerdrop=0.0):
        structure, state = read_xlsr(path)
        path = "the XLS-R in the checkpoint" if isinstance(path, tuple) else path
        depth = structure["num_hidden_layers"]
        layer = depth if layer is None else layer
        if not 0 <= layer <= depth:
            raise InputError(f"{path} has {depth} layers: pass --ssl_layer 0 to {depth} instead of {layer}")
        model = empty_wav2vec2(path, structure, layer, dropout, layerdrop)
        if frozen:
            model.feature_extractor = Extractor(model.feature_extractor)
            model.encoder.pos_conv_embed = PositionCode(model.encoder.pos_conv_embed)
        if layer < depth:
            model.encoder.layer_norm = nn.Identity()
        expected = model.state_dict()
        check_xlsr_weights(state, expected, path)
        # Copies: a file that changes later must not change the model.
        weights = {name: state[name].to(torch.float32, copy=True) for name in expected}
        model.load_state_dict(weights, assign=True)
        super().__init__(model, structure["hidden_size"], norm, frozen)

    @staticmethod
    def fits(state):
        """Whether the names of `state` are those of a wav2vec 2.0 model."""
        return "encoder.layer_norm.weight" in state and all(XLSR_NAMES.match(name) for name in state)

    @classmethod
    def from_state(cls, state, path, **options):
        """A front end of the tensors `state`, from the checkpoint `path`, in the structure that they show."""
        return cls((structure_of(state, path), state), **options)
