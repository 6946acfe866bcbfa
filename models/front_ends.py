"""SSL front ends: self-supervised speech models that turn a wave into the hidden states of one of their layers.

FRONT_ENDS in models/__init__.py has a row for each family, keyed by the `model_type` of Hugging Face's config.json; a
family is one file with a subclass of FrontEnd. This file makes the front end that --SSL_path names, joins it with a
network, and says what its hidden states depend on.
"""

import os
from pathlib import Path

import torch
from torch import nn

from models import FRONT_ENDS, MODELS, resolve_class
from models.hugging_face import model_folder, read_options
from utils.errors import InputError

DEFAULT_FAMILY = "wav2vec2"  # of fairseq's files and of random weights, which have no config.json
NORM_AXES = {"utterance": (1,), "batch": (0, 1), "none": None}  # of wave [batch, samples]: share mean and variance
FRONT_END_FLAGS = ("ssl_layer", "ssl_norm")  # of a configuration: how the front end that --SSL_path names is used


class FrontEnd(nn.Module):
    """Wave [batch, samples] at 16 kHz -> hidden states [batch, frames, hidden_size], float32.

    `norm`, a name of NORM_AXES, gives each utterance, or the batch as a whole, mean 0 and variance 1. A frozen front
    end takes no gradients and stays in eval mode. A subclass reads the weights and hands over the `model`:

    subclass(path, layer, norm, frozen) reads what --SSL_path may name, and raises InputError when it cannot;
    subclass.fits(state) says whether the tensors {name: tensor} of a checkpoint are of this family;
    subclass.from_state(state, path, **options) makes a front end of such tensors.
    """

    unused_layers = None  # regular expression: layers of `model` that a checkpoint may hold and a front end may lack

    def __init__(self, model, hidden_size, norm="utterance", frozen=True):
        super().__init__()
        self.model = model.requires_grad_(not frozen)
        self.hidden_size = hidden_size
        self.axes = NORM_AXES[norm]
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
            return self.hidden_states(wave).to(wave.dtype)

    def hidden_states(self, wave):
        """The hidden states of a normalised wave. Those of transformers' models, unless a subclass says otherwise."""
        return self.model(wave).last_hidden_state


class StoredHiddenStates(nn.Module):
    """Takes the place of a front end: its input is the hidden states, kept in half precision, instead of a wave.

    `digest` is that of the front end's weights, see models.weights.frozen_digest.
    """

    def __init__(self, hidden_size, digest):
        super().__init__()
        self.hidden_size = hidden_size
        self.digest = digest

    def forward(self, hidden):
        return hidden.float()


class FrontEndModel(nn.Module):
    """A front end and a network on its hidden states: wave [batch, samples] -> features [batch, d], logits.

    Whatever the two are, the attributes are named as in the released weights of W2V-AASIST.
    """

    def __init__(self, front_end, network):
        super().__init__()
        self.wav2vec2 = front_end
        self.w2vaasist = network

    @property
    def front_end(self):
        return self.wav2vec2

    @property
    def network(self):
        return self.w2vaasist

    @property
    def head(self):
        """The layer that turns features into logits."""
        return self.network.head

    def replace_front_end(self, front_end):
        self.wav2vec2 = front_end

    def forward(self, wave):
        return self.w2vaasist(self.wav2vec2(wave))


# ---- making a front end ----------------------------------------------------------------------------------------------


def front_end_family(path):
    """The class of the front end that `path` names: what --SSL_path may be. Raises InputError for an unknown family."""
    folder = model_folder(path)
    family = DEFAULT_FAMILY if folder is None else read_options(folder).get("model_type")
    if family not in FRONT_ENDS:
        raise InputError(
            f"{folder / 'config.json'} says model_type {family!r}, which is no known family of SSL front ends"
            f" ({', '.join(FRONT_ENDS)}): give --SSL_path a model of one of these"
        )
    return resolve_class(FRONT_ENDS[family])


def build_front_end(path, **options):
    """The front end that `path` names; `options` are those of FrontEnd. Raises InputError when it cannot be read."""
    return front_end_family(path)(path, **options)


def configured_front_end(config):
    """The frozen front end that --SSL_path, --ssl_layer and --ssl_norm describe. Raises InputError as above."""
    return build_front_end(config.SSL_path, layer=config.ssl_layer, norm=config.ssl_norm)


def front_end_from_state(state, path, **options):
    """The front end with the tensors `state`, {name: tensor} from the checkpoint `path`.

    Raises InputError when they are of no known family, or cannot be used.
    """
    for reference in FRONT_ENDS.values():
        family = resolve_class(reference)
        if family.fits(state):
            return family.from_state(state, path, **options)
    raise InputError(f"{path} holds an SSL front end of no known family ({', '.join(FRONT_ENDS)})")


# ---- what hidden states depend on ------------------------------------------------------------------------------------


def weights_stamp(path):
    """What shows, without reading it, that the front end `path` is still the same: names, sizes, times of its files.

    For a name of the hub and for random weights: the name and the version of torch, which decide the weights.
    """
    if not os.path.exists(path):
        return [str(path), torch.__version__]
    files = sorted(os.scandir(path), key=lambda entry: entry.name) if os.path.isdir(path) else [path]
    states = [(os.path.realpath(file), os.stat(file)) for file in files]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


def front_end_description(config):
    """All that the hidden states of a wave depend on: where the weights lie, and the flags of the front end."""
    return {"SSL_path": weights_stamp(config.SSL_path)} | {name: getattr(config, name) for name in FRONT_END_FLAGS}


def without_place(description):
    """front_end_description(), or a dict that contains it, without the place of the weights."""
    return {name: value for name, value in description.items() if name != "SSL_path"}


def reason_not_to_cache(config):
    """Why the hidden states of a clip cannot be kept for later runs, in words; None where they can."""
    if not MODELS[config.model].needs_front_end:
        return f"--model {config.model} has no frozen front end whose output could be kept"
    if config.ssl_norm == "batch":
        return "with --ssl_norm batch, the output for a clip depends on the other clips of its batch"
    return None


def front_end_of_run(run, config):
    """The flags of the front end in `run`, the configuration of a training run, as a dict.

    Its --SSL_path gives way to that of `config` when it is no longer there and that of `config` is.
    """
    flags = {name: run[name] for name in ("SSL_path", *FRONT_END_FLAGS)}
    if not Path(flags["SSL_path"]).exists() and Path(config.SSL_path).exists():
        flags["SSL_path"] = config.SSL_path
    return flags
