"""Models of the taxonomy system: made for training, or read from a training run or a published .pth file.

MODELS names them, build() makes one, load() reads a trained one and tells by its weights what it is.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from data.taxonomy import CLASSES
from models import CHECKPOINT
from models.fairseq_checkpoint import stand_in, transformers_name
from models.sastnet import SAST_TASKS, SIZES, SastLoss, SastNet
from models.ssl import FULL, TINY, XlsrFrontEnd, structure_of
from models.taxonomy import BRANCHES, FORMS, TaxonomyLoss, W2v2Aasist
from models.weights import load_file, load_weights, read_checkpoint
from models.whisper import WhisperFeatures, random_encoder, read_encoder
from utils.errors import InputError, MissingInput

# What released weights hold that has no effect, or that pre-training alone uses
WITHOUT_EFFECT = re.compile(
    r"ssl_model\.model\.(quantizer|project_q|final_proj|masked_spec_embed)\b"
    r"|MAE\.projection_head\.|whisper\.(decoder|proj_out)\.|.+_transformer\.(version|embed_positions\._float_tensor)$",
    re.IGNORECASE,
)
# AudioMAE's decoder has 16 layers of another kind; SASTNet starts from what fits of the first 8. Its patch embedding is
# left out as in the released code, which thus trains it from scratch.
MAE_ENCODER = re.compile(r"cls_token$|(blocks\.\d+|norm)\.")
MAE_DECODER = re.compile(r"mask_token$|(decoder_blocks\.[0-7](?!\.attn\.(tau|meta_mlp))|decoder_norm|decoder_pred)\.")


def w2v2_aasist(config):
    return W2v2Aasist(XlsrFrontEnd(config.SSL_path, layer=None, norm="none", frozen=False), config.model_type)


def w2v2_aasist_loss(config):
    return TaxonomyLoss(config.model_type, config.learnable_weights)


def sastnet(config):
    if config.size != "full" and not config.no_pretrained:
        raise InputError(f"--size {config.size} has no pretrained weights: pass --no_pretrained with it")
    check_files(config)
    size = SIZES[config.size]
    if config.no_pretrained:
        front_end, encoder = {"full": FULL, "small": TINY}[config.size], random_encoder(size.whisper)
    else:
        front_end, encoder = config.SSL_path, read_encoder(config.Whisper_path)
    front_end = XlsrFrontEnd(front_end, layer=None, norm="none", frozen=False)
    model = SastNet(front_end, WhisperFeatures(encoder), config.task, size.mae, config.mask_ratio)
    if not config.no_pretrained:
        start_autoencoder(model.MAE, config.MAE_path)
    if config.tuned_weight:
        start_front_end(front_end, config.tuned_weight)
    return model


def sastnet_loss(config):
    return SastLoss(config.task)


class Model(NamedTuple):
    """A row of MODELS."""

    build: Callable  # config -> model to be trained
    loss: Callable  # config -> its loss, an nn.Module of (outputs, labels)


MODELS = {"W2V2AASIST": Model(w2v2_aasist, w2v2_aasist_loss), "SASTNet": Model(sastnet, sastnet_loss)}


def build(config):
    """A model to be trained, as `config` describes it. Raises InputError for pretrained weights that cannot be read."""
    return MODELS[config.model].build(config)


# ---- pretrained parts of SASTNet ------------------------------------------------------------------------------------


def check_files(config):
    """Raise MissingInput when a pretrained file of SASTNet is absent; say what it is."""
    files = {"tuned_weight": "a trained W2V2AASIST", "MAE_path": "AudioMAE pretrained on AudioSet"}
    for flag, what in files.items():
        path = getattr(config, flag)
        if not path or path.is_file() or (flag == "MAE_path" and config.no_pretrained):
            continue
        raise MissingInput(
            f"{path} does not exist: it holds the weights of {what}, see `Pretrained weights` in the README;"
            f" set --{flag}, or pass --no_pretrained for a dry run"
        )


def start_autoencoder(mae, path):
    """Put AudioMAE's weights from `path`, as far as they fit, into `mae`. Raises InputError when they do not."""
    content = load_file(path, stand_in)
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path} is not AudioMAE's checkpoint: it holds no dict called model")
    parts = [(mae.encoder, MAE_ENCODER), *((decoder, MAE_DECODER) for decoder in mae.all_decoders)]
    for part, wanted in parts:
        own = part.state_dict()
        for name in filter(wanted.match, own):
            found = state.get(name)
            if not torch.is_tensor(found) or found.shape != own[name].shape:
                what = f"is {list(found.shape)}" if torch.is_tensor(found) else "is missing"
                raise InputError(f"{path}: {name} {what}, expected {list(own[name].shape)} of AudioMAE base")
        part.load_state_dict({name: state[name] for name in filter(wanted.match, own)}, strict=False)


def start_front_end(front_end, path):
    """Put the XLS-R of a trained W2V2AASIST into `front_end`. Raises InputError when it is absent or does not fit."""
    prefix = "ssl_model."
    state = our_names(read_checkpoint(path))
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not state:
        raise InputError(f"{path} holds no XLS-R ({prefix}*), so it is no trained W2V2AASIST")
    load_weights(front_end, state, path)


# ---- trained models -------------------------------------------------------------------------------------------------


def our_names(state):
    """A released or an own state dict under the names of our models, without what has no effect."""
    renamed = {}
    for name, value in state.items():
        front_end = re.match(r"(ssl_model|SSL_model)\.(?:model\.)?", name)
        if front_end:
            name = f"{front_end[1]}.model.{transformers_name(name[front_end.end() :])}"
        name = re.sub(r"^whisper\.model\.", "whisper.", name)
        if not WITHOUT_EFFECT.match(name):
            renamed[name] = value
    return renamed


def identify(state, path):
    """What the weights in `state`, under our names, are of: ("W2V2AASIST", form) or ("SASTNet", classes).

    Raises InputError when they are of neither.
    """
    parts = {name.partition(".")[0] for name in state}
    if "MAE" in parts and "multiclass_branch.out_layer.weight" in state:
        return "SASTNet", len(state["multiclass_branch.out_layer.weight"])
    tasks = tuple(task for task, branch in BRANCHES.items() if branch.attribute in parts)
    for form, held in FORMS.items():
        if set(held) == set(tasks):
            return "W2V2AASIST", form
    raise InputError(
        f"{path} holds the weights of neither W2V2AASIST nor SASTNet (it has {', '.join(sorted(parts)[:5])})"
    )


def front_end_of(state, prefix, path):
    """A front end with the weights in `state` whose names begin with `prefix`."""
    prefix = f"{prefix}.model."
    tensors = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return XlsrFrontEnd((structure_of(tensors, path), tensors), layer=None, norm="none", frozen=False)


def load_w2v2_aasist(state, form, config, path):
    if config.model_type not in (None, form):
        raise InputError(
            f"{path} holds a model of --model_type {form}, not {config.model_type}: pass --model_type {form}"
        )
    return W2v2Aasist(front_end_of(state, "ssl_model", path), form), form


def load_sastnet(state, classes, config, path):
    fitting = [name for name, row in SAST_TASKS.items() if len(CLASSES[row.task]) == classes]
    # The names of the published files say what the weights alone do not: SAST_Net_VQ.pth, SAST_Net_AUX.pth
    named = [name for name in fitting if name in re.split(r"[_.]", path.name)]
    task = config.task or (fitting + named)[-1]
    if task not in fitting or not (config.task or len(fitting) == 1 or named):
        raise InputError(f"{path} knows {classes} classes: pass --task {' or '.join(fitting)}")
    width = state["MAE.encoder.cls_token"].shape[-1]
    size = next((size for size in SIZES.values() if size.mae.dim == width), SIZES["full"])
    own = any(name.startswith("whisper.") for name in state)
    encoder = random_encoder(size.whisper) if own or config.no_pretrained else read_encoder(config.Whisper_path)
    parts = front_end_of(state, "SSL_model", path), WhisperFeatures(encoder)
    return SastNet(*parts, task, size.mae, shuffled=config.mae_order == "random"), task


LOADERS = {"W2V2AASIST": load_w2v2_aasist, "SASTNet": load_sastnet}


def run_config(folder, config):
    """`config` with what the training run in `folder` decides. Raises InputError for another task in the flags."""
    path = folder / "args.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["config"]
        decided = {name: run[name] for name in ("task", "no_pretrained")}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} cannot be read, so this is no folder of main_train_taxonomy.py") from None
    if config.task not in (None, decided["task"]):
        raise InputError(f"{path} is of a run of --task {decided['task']}, not {config.task}")
    return replace(config, **decided)


def load(path, config):
    """The trained model at `path`, a training run's folder or a .pth file, in eval mode; says what it is.

    Raises MissingInput when there is none, InputError when it cannot be used or the flags ask for another one.
    """
    file = path
    if path.is_dir():
        file, config = path / CHECKPOINT, run_config(path, config)
    state = our_names(read_checkpoint(file))
    name, detail = identify(state, file)
    model, described = LOADERS[name](state, detail, config, file)
    load_weights(model, state, file)
    print(f"{file}: {name} {described}")
    return model.eval()
