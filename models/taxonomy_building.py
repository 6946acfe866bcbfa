"""Models of the taxonomy system: made for training, or read from a training run or a published .pth file.

TAXONOMY_MODELS in models/__init__.py names the models; the builder of each knows how it is made.
"""

import re
from dataclasses import replace

from models import TAXONOMY_MODELS, resolve_class
from models.cpu_layers import use_cpu_layers
from models.fairseq_checkpoint import transformers_name
from models.front_ends import recorded_front_end
from models.weights import checkpoint_in, load_weights, read_checkpoint, read_run, run_file
from utils.errors import InputError

# Tensors of released weights that have no effect, or that only pre-training uses
WITHOUT_EFFECT = re.compile(
    r"ssl_model\.model\.(quantizer|project_q|final_proj|masked_spec_embed)\b"
    r"|MAE\.projection_head\.|whisper\.(decoder|proj_out)\.|.+_transformer\.(version|embed_positions\._float_tensor)$",
    re.IGNORECASE,
)


def builder_of(name):
    """The builder of --model `name`, see TaxonomyModel."""
    return resolve_class(TAXONOMY_MODELS[name].builder)


def build_taxonomy_model(config):
    """The model to be trained that `config` describes. Raises InputError for pretrained weights that cannot be read."""
    return use_cpu_layers(builder_of(config.model).build(config))


def build_taxonomy_loss(config):
    """The loss of the model that `config` describes, an nn.Module of (outputs, labels)."""
    return builder_of(config.model).loss(config)


def load_taxonomy_model(path, config):
    """The trained model at `path`, a training run's folder or a .pth file, in eval mode; prints what it is.

    Raises MissingInput when there is none, InputError when it cannot be used or the flags ask for another one.
    """
    file = path
    if path.is_dir():
        file = checkpoint_in(path)
        config = adopt_taxonomy_run_settings(path, config)
    state = read_named(file)
    name, kind = recognise_model(state, file)
    model, described = builder_of(name).restore(state, kind, config, file)
    load_weights(use_cpu_layers(model), state, file)
    print(f"{file}: {name} {described}")
    return model.eval()


def adopt_taxonomy_run_settings(folder, config):
    """`config` with what the training run in `folder` decides. Raises InputError for another task in the flags."""
    path = run_file(folder)
    try:
        run = read_run(folder)["config"]
        decided = {name: run[name] for name in ("task", "no_pretrained")}
    except (KeyError, TypeError):
        raise InputError(f"{path} cannot be read, so this is no folder of main_train_taxonomy.py") from None
    if config.task not in (None, decided["task"]):
        raise InputError(f"{path} is of a run of --task {decided['task']}, not {config.task}")
    return replace(config, **decided)


# ---- which model weights are of --------------------------------------------------------------------------------------


def read_named(path):
    """{name: tensor} of the checkpoint `path` under the names of our models, without what has no effect.

    Raises InputError as read_checkpoint() does.
    """
    state = read_checkpoint(path)
    return state if recorded_front_end(path) else our_names(state)


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


def recognise_model(state, path):
    """What the weights in `state`, under our names, are of: (name in TAXONOMY_MODELS, its builder's kind).

    Raises InputError when they are of none of the models.
    """
    for name in TAXONOMY_MODELS:
        kind = builder_of(name).recognise(state)
        if kind is not None:
            return name, kind
    parts = sorted({name.partition(".")[0] for name in state})
    raise InputError(
        f"{path} holds the weights of none of the models {', '.join(TAXONOMY_MODELS)} (it has {', '.join(parts[:5])})"
    )
