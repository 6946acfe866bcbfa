"""fairseq's wav2vec 2.0 checkpoints (xlsr2_300m.pt), read without fairseq and without running any code in them.

Three forms are known: `cfg` is a plain dict (fairseq 0.12), an omegaconf DictConfig (2021), or `args` is an
argparse.Namespace (0.10 and before). Optimizer states, two thirds of such a file, are never read from the disk.
"""

import ast
import re

import torch

from models.weights import current_name, load_file
from utils.errors import InputError

# fairseq's name of a layer -> that of transformers
TRANSFORMERS_NAMES = [
    (re.compile(fairseq), transformers)
    for fairseq, transformers in (
        (r"(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
        (r"(feature_extractor\.conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"\.self_attn\.", ".attention."),
        (r"\.self_attn_layer_norm\.", ".layer_norm."),
        (r"\.fc1\.", ".feed_forward.intermediate_dense."),
        (r"\.fc2\.", ".feed_forward.output_dense."),
        (r"^mask_emb$", "masked_spec_embed"),
    )
]
# What a configuration must say to be of XLS-R's form. Some files are older than the second line and mean the same.
FAIRSEQ_FORM = {"extractor_mode": "layer_norm", "layer_norm_first": True, "activation_fn": "gelu"}
YOUNGER_FORM = {"layer_type": "transformer", "attn_type": "", "pos_enc_type": "abs", "pos_conv_depth": 1}
# transformers' name of a dimension -> fairseq's
DIMENSIONS = {
    "num_hidden_layers": "encoder_layers",
    "hidden_size": "encoder_embed_dim",
    "intermediate_size": "encoder_ffn_embed_dim",
    "num_attention_heads": "encoder_attention_heads",
    "num_conv_pos_embeddings": "conv_pos",
    "num_conv_pos_embedding_groups": "conv_pos_groups",
    "conv_bias": "conv_bias",
}


class Inert:
    """Takes the place of an object of any class in a checkpoint: keeps the object's state and does nothing."""

    def __init__(self, *arguments):
        self.state = {}

    def __setstate__(self, state):
        self.state = state


def stand_in(name):
    """What takes the place of the class or function `name` in a checkpoint."""
    return (lambda *_: {}) if name == "collections.defaultdict" else Inert


def plain(value):
    """`value` without stand-ins: omegaconf's containers and nodes, and namespaces, become dicts, lists and values."""
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        return plain(state.get("_content", state.get("_val", state)))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def transformers_name(name):
    """The name that transformers' Wav2Vec2Model gives to the tensor that fairseq's Wav2Vec2Model calls `name`."""
    for fairseq, transformers in TRANSFORMERS_NAMES:
        name = fairseq.sub(transformers, name)
    return current_name(name)


def conv_layers(text):
    """[(dimension, kernel, stride)] of fairseq's notation, such as "[(512, 10, 5)] + [(512, 3, 2)] * 4".

    fairseq evaluates it as Python. Here it is taken apart; ValueError for anything but lists, + and *.
    """

    def value(node):
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Mult(), ast.Constant(int(times))) if 0 < times < 100:
                return value(left) * times
            case ast.List():
                return ast.literal_eval(node)
        raise ValueError(ast.unparse(node))

    layers = value(ast.parse(text, mode="eval").body)
    if not all(isinstance(layer, tuple) and [type(size) for size in layer] == [int] * 3 for layer in layers):
        raise ValueError(text)
    return layers


def require_options(options, names, path):
    """Raise InputError when the configuration `options`, from `path`, lacks one of `names`."""
    lacking = [name for name in names if name not in options]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)} in its configuration: take the original file")


def require_form(options, form, path):
    """Raise InputError when the configuration `options`, from `path`, contradicts `form`."""
    for name, expected in form.items():
        if options.get(name) != expected:
            raise InputError(
                f"{path} says {name} {options.get(name)!r}, expected {expected!r}:"
                " only wav2vec 2.0 models in the form of XLS-R can be used"
            )


def fairseq_structure(options, path):
    """The dimensions of the model that fairseq's `options` describe, under transformers' names.

    Raises InputError, naming the file `path`, when it is not of XLS-R's form.
    """
    require_form(YOUNGER_FORM | options, FAIRSEQ_FORM | YOUNGER_FORM, path)
    require_options(options, (*DIMENSIONS.values(), "conv_feature_layers"), path)
    try:
        conv = conv_layers(options["conv_feature_layers"])
    except (ValueError, TypeError, SyntaxError):
        raise InputError(
            f"{path} has conv_feature_layers {options['conv_feature_layers']!r},"
            " expected a form like [(512, 10, 5)] + [(512, 3, 2)] * 4"
        ) from None
    dimensions, kernels, strides = map(list, zip(*conv, strict=True))
    return {name: options[fairseq] for name, fairseq in DIMENSIONS.items()} | {
        "conv_dim": dimensions,
        "conv_kernel": kernels,
        "conv_stride": strides,
    }


def read_fairseq(path):
    """Structure (arguments of transformers' Wav2Vec2Config) and {transformers' name: tensor} of a fairseq checkpoint.

    Raises InputError when it is damaged, no wav2vec 2.0 checkpoint, or not of XLS-R's form.
    """
    checkpoint = load_file(path, stand_in)
    checkpoint = checkpoint if isinstance(checkpoint, dict) else {}
    weights = checkpoint.get("model")
    options = plain(checkpoint.get("cfg") or {"model": checkpoint.get("args")})
    options = options.get("model") if isinstance(options, dict) else None
    if not isinstance(weights, dict) or not isinstance(options, dict):
        entries = ", ".join(map(str, list(checkpoint)[:5])) or "no dict"
        raise InputError(
            f"{path} is no fairseq checkpoint: it holds {entries}, expected `model` and `cfg` or `args`;"
            " of a Hugging Face model give the whole folder"
        )
    weights = {name: value for name, value in weights.items() if torch.is_tensor(value)}
    return fairseq_structure(options, path), {transformers_name(name): value for name, value in weights.items()}
