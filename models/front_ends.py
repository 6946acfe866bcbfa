"""SSL front ends: self-supervised speech models that turn a wave into the hidden states of one of their layers.

FRONT_ENDS in models/__init__.py has a row for each family, keyed by the `model_type` of Hugging Face's config.json; a
family is one file with a subclass of FrontEnd. This file makes the front end that --SSL_path names, joins it with a
network, and says what its hidden states depend on.
"""

import json
import os
import warnings
from pathlib import Path

import torch
from torch import nn

from models import FRONT_ENDS, MODELS, resolve_class
from models.fine_tuning import fine_tune
from models.fine_tuning_choice import ALL, NONE
from models.hugging_face import OPTIONS, model_folder, read_options
from models.layer_choice import as_layer_choice
from models.layer_mix import LayerMix
from models.weights import read_run
from utils.digests import file_digest
from utils.errors import InputError
from utils.model_files import CHECKPOINT, SHARED_CHECKPOINT

DEFAULT_FAMILY = "wav2vec2"  # of fairseq's files and of random weights, which have no config.json
NORM_AXES = {"utterance": (1,), "batch": (0, 1), "none": None}  # of wave [batch, samples]: share mean and variance
TUNING_FLAGS = ("finetune", "lora_rank")  # of a configuration: which weights of the front end are trained
FRONT_END_FLAGS = ("ssl_layer", "ssl_norm")  # of a configuration: how the front end that --SSL_path names is used


class FrontEnd(nn.Module):
    """Wave [batch, samples] at 16 kHz -> hidden states [batch, frames, hidden_size], float32.

    Of several layers, [batch, layers, frames, hidden_size]; `layers` are their numbers, in ascending order. `norm`, a
    name of NORM_AXES, gives each utterance, or the batch as a whole, mean 0 and variance 1; "checkpoint" means what the
    model was trained with. A frozen front end takes no gradients and stays in eval mode, and so does what is not in
    `trained_parts` of another one. A subclass reads the weights and hands over the `model`:

    subclass(path, layer, norm, frozen) reads what --SSL_path may name, and raises InputError when it cannot; `layer` is
    a value of --ssl_layer;
    subclass.fits(state) says whether the tensors {name: tensor} of a checkpoint are of this family;
    subclass.from_state(state, path, **options) makes a front end of such tensors; where the front end had a
    `structure`, args.json holds it, and it is one of the options.
    """

    family = None  # its name in FRONT_ENDS
    structure = None  # what a front end must know beside its tensors, for args.json; None where it is nothing
    default_norm = "utterance"  # what "checkpoint" means where the model does not say it
    unused_layers = None  # regular expression: layers of `model` that a checkpoint may hold and a front end may lack
    attention_projections = ()  # names of the linear layers in the attention of a transformer layer, for LoRA
    tuned_options = ()  # (name, value) of options of the constructor, where --finetune trains it

    def __init__(self, model, hidden_size, norm="checkpoint", frozen=True, layers=()):
        super().__init__()
        self.model = model.requires_grad_(not frozen)
        self.hidden_size = hidden_size
        self.norm = self.default_norm if norm == "checkpoint" else norm
        if self.norm not in NORM_AXES:  # args.json may say anything
            raise InputError(f"{self.norm} is no normalisation of waves: expected {', '.join(NORM_AXES)}")
        self.axes = NORM_AXES[self.norm]
        self.trained_parts = () if frozen else (model,)
        self.layers = tuple(layers)
        self.train()

    @property
    def frozen(self):
        """Whether none of it is trained."""
        return not self.trained_parts

    @property
    def partly_trained(self):
        """Whether only some of the model is trained: a checkpoint then holds no more than that."""
        return not self.frozen and all(part is not self.model for part in self.trained_parts)

    @property
    def several(self):
        """Whether it gives the hidden states of several layers."""
        return len(self.layers) > 1

    @classmethod
    def outline(cls, path, **options):
        """The front end of `path` on the device meta, where nothing is computed: to count its shapes and its work."""
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights go nowhere
            return cls(path, **options)

    @staticmethod
    def fits(state):
        return False  # only args.json tells the family

    def transformer_layers(self):
        """The transformer layers that were built, in their order: nn.ModuleList, or a list."""
        return []

    def last_parts(self, count):
        """The last `count` transformer layers, and what follows them."""
        return list(self.transformer_layers())[-count:]

    def train(self, mode=True):
        """Set training mode, in which what is frozen still has neither dropout nor LayerDrop."""
        super().train(mode)
        self.model.eval()
        for part in self.trained_parts:
            part.train(mode)
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

    def record(self):
        """What args.json says of the front end: {"family", "structure", "norm", "layers"}, as JSON gives it back."""
        about = {name: getattr(self, name) for name in ("family", "structure", "norm", "layers")}
        return json.loads(json.dumps(about))


class StoredHiddenStates(nn.Module):
    """Takes the place of a front end: its input is the hidden states, kept in half precision, instead of a wave.

    `digest` is that of the front end's weights, see models.weights.frozen_digest; `about` is FrontEnd.record().
    """

    def __init__(self, hidden_size, digest, about=None):
        super().__init__()
        self.hidden_size = hidden_size
        self.digest = digest
        self.about = about or {}
        self.layers = tuple(self.about.get("layers", ()))
        self.norm = self.about.get("norm")

    def record(self):
        return self.about

    def forward(self, hidden):
        return hidden.float()


class FrontEndModel(nn.Module):
    """A front end and a network on its hidden states: wave [batch, samples] -> features [batch, d], logits.

    Whatever the two are, the attributes are named as in the released weights of W2V-AASIST. Of a front end that gives
    several layers, `layer_weights` makes one hidden state, unless the network `weighs_layers`; otherwise it is None.
    """

    def __init__(self, front_end, network):
        super().__init__()
        self.wav2vec2 = front_end
        layers = len(getattr(front_end, "layers", ()))
        mixed = layers > 1 and not getattr(network, "weighs_layers", False)
        self.layer_weights = LayerMix(layers) if mixed else None
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
        hidden = self.wav2vec2(wave)
        return self.w2vaasist(self.layer_weights(hidden) if self.layer_weights else hidden)


# ---- making a front end ----------------------------------------------------------------------------------------------


def front_end_family(path):
    """(name, class) of the front end that `path` names: Raises InputError for an unknown one."""
    folder = model_folder(path)
    family = DEFAULT_FAMILY if folder is None else read_options(folder).get("model_type")
    if str(family) not in FRONT_ENDS:  # it may be no text
        raise InputError(
            f"{folder / OPTIONS} says model_type {family!r}, which is no known family of SSL front ends"
            f" ({', '.join(FRONT_ENDS)}): give --SSL_path a model of one of these"
        )
    return family, resolve_class(FRONT_ENDS[family])


def build_front_end(path, outline=False, **options):
    """The front end that `path` names; `options` are those of FrontEnd. Raises InputError when it cannot be read.

    With `outline` it is FrontEnd.outline(), without weights.
    """
    family, its_class = front_end_family(path)
    with torch.random.fork_rng(devices=[]):  # a network made next is the same with a front end and with stored states
        front_end = (its_class.outline if outline else its_class)(path, **options)
    front_end.family = family
    if isinstance(options.get("layer"), (tuple, str)) and not front_end.several:
        raise InputError(f"{path}: front ends of the family {family} give one layer: pass one number as --ssl_layer")
    return front_end


def configured_front_end(config, outline=False):
    """The front end that --SSL_path, --ssl_layer, --ssl_norm and --finetune describe. Raises InputError as above."""
    tuned = () if config.finetune == NONE else front_end_family(config.SSL_path)[1].tuned_options
    options = {"layer": config.ssl_layer, "norm": config.ssl_norm, "frozen": config.finetune != ALL, **dict(tuned)}
    return fine_tune(build_front_end(config.SSL_path, outline, **options), config)


def recorded_front_end(path):
    """FrontEnd.record() of the training run that wrote the checkpoint `path`; {} where it says nothing of one."""
    ours = Path(path).name in (CHECKPOINT, SHARED_CHECKPOINT)
    return (ours and read_run(Path(path).parent).get("front_end")) or {}


def front_end_from_state(state, path, **options):
    """The front end with the tensors `state`, {name: tensor} from the checkpoint `path`.

    Its args.json says the family; published weights, which have none, show it by their names. Raises InputError when
    they are of no known family, or cannot be used.
    """
    record = recorded_front_end(path)
    recorded = str(record.get("family")) in FRONT_ENDS
    for family in [record["family"]] if recorded else FRONT_ENDS:
        its_class = resolve_class(FRONT_ENDS[family])
        if recorded or its_class.fits(state):
            if isinstance(record.get("structure"), dict):
                options["structure"] = record["structure"]
            front_end = its_class.from_state(state, path, **options)
            front_end.family = family
            return front_end
    raise InputError(f"{path} holds an SSL front end of no known family ({', '.join(FRONT_ENDS)})")


def front_end_in(model):
    """The front end in a model, or the StoredHiddenStates in its place; None where it has neither."""
    return next((part for part in model.modules() if isinstance(part, (FrontEnd, StoredHiddenStates))), None)


# ---- what hidden states depend on ------------------------------------------------------------------------------------


def weights_stamp(path):
    """What shows that the front end `path` is still the same: the names and digests of its files.

    For a name of the hub and for random weights: the name and the version of torch, which decide the weights.
    """
    if not os.path.exists(path):
        return [str(path), torch.__version__]
    files = sorted(os.scandir(path), key=lambda entry: entry.name) if os.path.isdir(path) else [path]
    return [[os.path.realpath(file), file_digest(file)] for file in files]


def front_end_description(config):
    """All that the hidden states of a wave depend on: where the weights lie, and FrontEnd.record(), as JSON.

    Raises InputError when the front end cannot be used, as far as its configuration shows it.
    """
    return {"SSL_path": weights_stamp(config.SSL_path), "record": configured_front_end(config, outline=True).record()}


def without_place(description):
    """front_end_description(), or a dict that contains it, without the place of the weights."""
    return {name: value for name, value in description.items() if name != "SSL_path"}


def reason_not_to_cache(config):
    """Why the hidden states of a clip cannot be kept for later runs, in words; None where they can."""
    if not MODELS[config.model].needs_front_end:
        return f"--model {config.model} has no frozen front end whose output could be kept"
    if config.finetune != NONE:
        return f"with --finetune {config.finetune} the front end changes, and a cache keeps the output of a frozen one"
    if config.ssl_norm == "batch":
        return "with --ssl_norm batch, the output for a clip depends on the other clips of its batch"
    return None


def front_end_of_run(run, config):
    """The flags of the front end in `run`, the configuration of a training run, as a dict.

    Its --SSL_path gives way to that of `config` when it is no longer there and that of `config` is.
    """
    flags = {name: as_layer_choice(run[name]) for name in ("SSL_path", *FRONT_END_FLAGS)}
    if not Path(flags["SSL_path"]).exists() and Path(config.SSL_path).exists():
        flags["SSL_path"] = config.SSL_path
    return flags
