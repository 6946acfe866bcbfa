"""The models of the first system: wave [batch, samples] -> (features [batch, d], logits [batch, classes]).

MODELS names them, build() makes one, load() reads a trained one.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from data.classes import number_of_classes
from models.aasist import RawAasist
from models.lcnn import MelLcnn
from models.w2v_aasist import W2vAasist, W2vAasistBackEnd
from models.weights import (
    CONSTANT,
    UNUSED,
    check_names,
    frozen_digest,
    load_weights,
    read_checkpoint,
    state_digest,
    trained_state,
)
from utils.errors import InputError

__all__ = [
    "CHECKPOINT",
    "MODELS",
    "build",
    "frozen_digest",
    "head",
    "load",
    "load_weights",
    "read_checkpoint",
    "run_config",
    "state_digest",
    "trained_state",
]

CHECKPOINT = "anti-spoofing_feat_model.pt"  # name of a trained model in its folder
RUN_DECIDES = ("model", "num_classes", "ssl_layer", "ssl_norm")  # not the flags, when a trained model is loaded


def xlsr(config):
    """The frozen front end that `config` names."""
    from models.ssl import XlsrFrontEnd  # slow to import

    return XlsrFrontEnd(config.SSL_path, config.ssl_layer, config.ssl_norm)


class Model(NamedTuple):
    """A row of MODELS."""

    network: type  # what is trained; made from a number of classes
    front_end: Callable | None = None  # config -> what comes before the network


MODELS = {
    "Rawaasist": Model(RawAasist),
    "W2VAASIST": Model(W2vAasistBackEnd, xlsr),
    "mellcnn": Model(MelLcnn),
}


def build(config, front_end=None):
    """A model with fresh weights, as `config` describes it, on `front_end` where it is given.

    Raises InputError for a front end that cannot be read.
    """
    network, make_front_end = MODELS[config.model]
    if make_front_end is None:
        return network(number_of_classes(config))
    return W2vAasist(front_end or make_front_end(config), number_of_classes(config))


def head(model):
    """(weight [classes, d], bias [classes]) of the layer that turns features into logits."""
    return model.head.weight.detach(), model.head.bias.detach()


def read_run(folder):
    """What args.json in `folder` says of a training run of ours; {} when it is absent or not ours."""
    try:
        run = json.loads((folder / "args.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # that of the released code is not valid JSON
        return {}
    return run if isinstance(run, dict) else {}


def run_config(folder, config):
    """`config` with what the training run in `folder` decides; unchanged when its args.json is absent or not ours.

    The front end is that of the run, unless it has gone and `config` names one that is there.
    """
    run = read_run(folder).get("config")
    try:
        decided = {name: run[name] for name in (*RUN_DECIDES, "SSL_path")}
    except (KeyError, TypeError):
        return config
    if decided["model"] not in MODELS:
        path, names = folder / "args.json", ", ".join(MODELS)
        raise InputError(f"{path} is of a run of --model {decided['model']}, expected one of {names}")
    if not Path(decided["SSL_path"]).exists() and Path(config.SSL_path).exists():
        decided["SSL_path"] = config.SSL_path
    return replace(config, **decided)


def check_front_end(folder, model, config):
    """Raise InputError when the training run in `folder` had another front end than `model`, as far as it tells."""
    expected = read_run(folder).get("frozen")
    if expected and expected != frozen_digest(model):
        raise InputError(
            f"{folder / 'args.json'}: this model was trained on other pretrained weights than {config.SSL_path} holds:"
            " give the same as --SSL_path"
        )


def network_names(state):
    """Names of what is trained in a state dict: without front end, constants and layers without effect."""
    rest = (name for name in state if not (name.startswith("wav2vec2.") or CONSTANT.match(name) or UNUSED.match(name)))
    return {name.removeprefix("w2vaasist.") for name in rest}


def check_model(state, name, path):
    """Raise InputError when `state`, read from the file `path`, is not of --model `name`; tell of which it is."""

    def expected(model):
        return network_names(MODELS[model].network(num_classes=2).state_dict())

    found = network_names(state)
    if found != expected(name):
        for other in MODELS:
            if found == expected(other):
                raise InputError(f"{path} holds the weights of --model {other}, not of {name}: pass --model {other}")
        check_names(found, expected(name), path)


def load(folder, config):
    """The trained model in `folder`, in eval mode: of a run of ours, or released weights with the flags that fit them.

    Raises MissingInput when there is none, InputError when it cannot be used; see read_checkpoint and load_weights.
    """
    path = folder / CHECKPOINT
    state = read_checkpoint(path)
    config = run_config(folder, config)
    check_model(state, config.model, path)  # before the front end is built, which takes long
    model = build(config)
    ignored = load_weights(model, state, path)
    check_front_end(folder, model, config)
    if ignored:
        print(f"{path}: ignored layers without effect: {', '.join(ignored)}")
    return model.eval()
