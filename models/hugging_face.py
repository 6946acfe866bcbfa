"""XLS-R, the self-supervised speech front end of both systems: wave -> hidden states of one of its layers.

Source: Babu et al., Interspeech 2022 (arXiv 2111.09296): wav2vec 2.0 (arXiv 2006.11477) with layer norms before each
part and in the convolutions. Weights are read from transformers' or fairseq's files; names are those of transformers.
"""

import json
from contextlib import suppress
from pathlib import Path

import torch
from scipy.fft import next_fast_len
from torch import nn
from torch.nn.functional import conv2d, linear

from models.fairseq_checkpoint import read_fairseq, require, require_form
from models.random_init import coloured_noise, standardise
from models.weights import current_name, read_checkpoint
from utils.errors import InputError

TINY, FULL = "tiny-random", "random"
# Random front ends for dry runs: layers, width, width of the feed-forward networks, heads, channels of the convolutions
RANDOM = {TINY: (6, 64, 128, 4, [32] * 7), FULL: (24, 1024, 4096, 16, [512] * 7)}
CONVOLUTIONS = ([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2], True, 128, 16)  # the rest of STRUCTURE
REMEDY = "give --SSL_path the folder of facebook/wav2vec2-xls-r-300m or fairseq's xlsr2_300m.pt"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference
# What a Hugging Face configuration must say to be of XLS-R's form; the second line are transformers' defaults
FORM = {"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": True}
DEFAULT_FORM = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "add_adapter": False, "adapter_attn_dim": None}
# ... and what of it says how large the model is
STRUCTURE = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "conv_dim", "conv_kernel"),
    *("conv_stride", "conv_bias", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)
NORMS = {"utterance": (1,), "batch": (0, 1), "none": None}  # axes of wave [batch, samples] that share mean and variance


def configuration(structure, layers, dropout=0.0, layerdrop=0.0):
    """transformers' configuration of the first `layers` layers, without the parts that only pre-training uses."""
    from transformers import Wav2Vec2Config

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

    What the tensors do not tell is that of the one in RANDOM that is as wide. Raises InputError when there is none.
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

    The same whatever was drawn before it, and draws nothing from the global generators itself.
    """
    from transformers import Wav2Vec2Model

    structure = known_structure(name)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(688)
        model = Wav2Vec2Model(configuration(structure, structure["num_hidden_layers"])).eval()
        if name == TINY:
            standardise(model, coloured_noise())
        return structure, model.state_dict()


def read_folder(folder):
    """Structure and {name: tensor} of a Hugging Face model in `folder`, heads and quantizer included."""
    path = folder / "config.json"
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no config.json, so it is no Hugging Face model: {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): download it again") from None
    options = DEFAULT_FORM | (options if isinstance(options, dict) else {})
    require_form(options, FORM | DEFAULT_FORM, path)
    require(options, STRUCTURE, path)
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}: download the whole folder")
    state = read_safetensors(weights) if weights.suffix == ".safetensors" else read_checkpoint(weights)
    state = {current_name(name.removeprefix("wav2vec2.")): value for name, value in state.items()}
    return {name: options[name] for name in STRUCTURE}, state


def read_safetensors(path):
    """{name: tensor} of a safetensors file. Raises InputError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error}): download it again") from None


def hub_file(name, file):
    """The local path of a file of the Hugging Face hub's model `name`: from the cache if it is there, else fetched."""
    from transformers.utils import cached_file

    try:
        return Path(cached_file(name, file, local_files_only=True))
    except OSError:
        return Path(cached_file(name, file))


def download(name):
    """The local folder of the Hugging Face hub's model `name`. Raises InputError when it cannot be fetched."""
    try:
        folder = hub_file(name, "config.json").parent
    except OSError as error:
        raise InputError(
            f"{name} is no file or folder here, and the Hugging Face hub does not give a model of that name"
            f" ({type(error.__cause__ or error).__name__}): download its folder elsewhere and {REMEDY}"
        ) from None
    for file in WEIGHT_FILES:
        with suppress(OSError):  # the hub has one or the other
            if not any((folder / known).is_file() for known in WEIGHT_FILES):
                hub_file(name, file)
    return folder


def read_xlsr(path):
    """Structure (arguments of Wav2Vec2Config) and {transformers' name: tensor} of what --SSL_path may name.

    That is a Hugging Face folder, a hub name, a fairseq checkpoint, or a name of RANDOM; structure and tensors
    themselves will do, too. Raises InputError otherwise.
    """
    if isinstance(path, tuple):
        return path
    if str(path) in RANDOM:
        return random_weights(str(path))
    local = Path(path)
    if local.is_dir():
        return read_folder(local)
    if local.is_file():
        return read_fairseq(local)
    if len(local.parts) == 2 and not (local.is_absolute() or local.suffix == ".pt"):
        return read_folder(download(str(path)))
    raise InputError(f"{path} does not exist: {REMEDY}")


def check_weights(state, expected, path):
    """Raise InputError when the tensors `state`, from `path`, are not fit to be those `expected`."""
    lacking = [name for name in expected if name not in state]
    if lacking:
        raise InputError(f"{path} lacks {len(lacking)} tensors of XLS-R (first {lacking[0]}): {REMEDY}")
    for name, own in expected.items():
        if state[name].shape != own.shape:
            found, due = list(state[name].shape), list(own.shape)
            raise InputError(f"{path}: {name} is {found}, but its configuration says {due}: take the original file")
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
        self.conv, self.activation = plain.conv, plain.activation
        self.kept = None, None  # what the spectra were made of, and they

    def spectra(self, size):
        """Conjugate spectra [frequencies, groups, d / groups, d / groups] of the kernels, padded to `size` frames."""
        made_of = size, [(tensor.data_ptr(), tensor._version) for tensor in self.conv.parameters()]
        if self.kept[0] != made_of:
            spectra = torch.fft.rfft(self.conv.weight, size).conj().unflatten(0, (self.conv.groups, -1))
            self.kept = made_of, spectra.permute(3, 0, 2, 1).resolve_conj().contiguous()
        return self.kept[1]

    def forward(self, hidden):
        frames, reach = hidden.shape[1], self.conv.padding[0]
        size = next_fast_len(frames + reach, real=True)
        spectrum = torch.fft.rfft(hidden.to(self.conv.bias.dtype).transpose(1, 2), size)
        product = spectrum.unflatten(1, (self.conv.groups, -1)).permute(3, 1, 0, 2) @ self.spectra(size)
        code = torch.fft.irfft(product.permute(2, 1, 3, 0).flatten(1, 2), size).roll(reach, dims=2)[..., :frames]
        return self.activation((code + self.conv.bias[:, None]).transpose(1, 2))


class XlsrFrontEnd(nn.Module):
    """Wave [batch, samples] at 16 kHz -> hidden states [batch, frames, hidden_size], 64600 samples -> 201 frames.

    `path` is what --SSL_path may name, see read_xlsr. `layer` counts as the published systems do: 0 is what enters the
    first layer, n the output of layer n; only the last one, also called None, has passed the final layer norm. Layers
    above it are not built. `norm` gives each utterance, or the batch as a whole, mean 0 and variance 1.

    Frozen, it takes no gradients and stays in eval mode. Otherwise it is trained with the given `dropout` (of hidden
    states, attention and projected features) and `layerdrop`; SpecAugment is not used.
    Raises InputError when the weights cannot be used or have fewer layers.
    """

    def __init__(self, path, layer=5, norm="utterance", frozen=True, dropout=0.0, layerdrop=0.0):
        super().__init__()
        from transformers import Wav2Vec2Model

        structure, state = read_xlsr(path)
        path = "the XLS-R in the checkpoint" if isinstance(path, tuple) else path
        depth = structure["num_hidden_layers"]
        layer = depth if layer is None else layer
        if not 0 <= layer <= depth:
            raise InputError(f"{path} has {depth} layers: pass --ssl_layer 0 to {depth} instead of {layer}")
        try:
            with torch.device("meta"):  # no memory, and no random weights that would be replaced at once
                self.model = Wav2Vec2Model(configuration(structure, layer, dropout, layerdrop))
        except Exception as error:  # transformers has its own kinds
            reason = " ".join(str(error).split())
            raise InputError(f"{path} describes no model that can be built: {reason}") from None
        if frozen:
            self.model.feature_extractor = Extractor(self.model.feature_extractor)
            self.model.encoder.pos_conv_embed = PositionCode(self.model.encoder.pos_conv_embed)
        if layer < depth:
            self.model.encoder.layer_norm = nn.Identity()
        expected = self.model.state_dict()
        check_weights(state, expected, path)
        # Copies: a file that changes later must not change the model.
        weights = {name: state[name].to(torch.float32, copy=True) for name in expected}
        self.model.load_state_dict(weights, assign=True)
        self.model.requires_grad_(not frozen)
        self.hidden_size = structure["hidden_size"]
        self.axes = NORMS[norm]
        self.frozen = frozen
        self.train()

    def train(self, mode=True):
        """Set training mode, in which a frozen model still has neither dropout nor LayerDrop."""
        super().train(mode)
        self.model.train(mode and not self.frozen)
        return self

    def forward(self, wave):
        if self.axes is not None:
            variance, mean = torch.var_mean(wave, self.axes, correction=0, keepdim=True)
            wave = (wave - mean) / torch.sqrt(variance + 1e-7)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.model(wave).last_hidden_state.to(wave.dtype)
