"""Checkpoints: read without running any code in them, put into our models, or refused with the reason."""

import hashlib
import json
import os
import re
import zipfile
from typing import Annotated, Any

import torch
from annotated_types import Interval, Len
from safetensors import safe_open
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from typing_extensions import NotRequired, TypedDict

from models import SHARED_TYPE
from utils.errors import InputError, MissingInput
from utils.model_files import CHECKPOINT, RUN_JSON, SHARED_CHECKPOINT, SHARED_CONFIG
from utils.reading import Count, Name, Names, parse_json, read_bytes, strict
from utils.tensors import KINDS, described, kind_of, tensors_digest

# The two parts of a model with a front end, as the released W2V-AASIST names them
FRONT_END = "wav2vec2."
NETWORK = "w2vaasist."
LAYER_WEIGHTS = "layer_weights."  # of a model whose network sees several layers of its front end
RUN_FILES = (RUN_JSON, SHARED_CONFIG)  # of which the first one that is there describes a training run
AGAIN = "copy it again, or train again"  # the remedy for a damaged file of a training run
# Layers that released weights hold although they change nothing: AASIST throws their output away, and we do not build
# them. They are ignored, like the unused layers of a front end, which it names itself.
UNUSED_NORMS = r"(.+\.)?encoder\.[1-5]\.0\.bn1"
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
# Constants that a checkpoint may lack: the released mel-LCNN of the Codecfake corpus does not hold them.
CONSTANT = re.compile(r"mel\.(spectrogram\.window|mel_scale\.fb)$")


def check_zip(path, remedy=""):
    """Raise InputError, for a changed part with `remedy`, for a zip that torch has not written like this.

    Torch stores the parts as they are, so that the zip does not grow when it is read.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        size = sum(part.file_size for part in file.infolist())
        if size > os.path.getsize(path):
            raise InputError(f"{path} would grow to {size} bytes when it is read, so torch has not written it")
        if file.testzip():  # torch does not look at the checksums that it writes
            raise InputError(f"{path} is damaged: a part does not have the checksum that was written with it{remedy}")


def load_file(path, stand_in=None, kind="a checkpoint", remedy=""):
    """What a torch file holds, on the CPU. No code in it is ever run.

    A class that torch does not trust is refused; where `stand_in` is given, stand_in(its full name), a class that
    does nothing, takes its place. The tensors of such a file stay on the disk until they are used.
    Raises InputError, which calls the file `kind` and ends with `remedy`, when it is damaged or needs code to open.
    """
    try:
        check_zip(path, remedy)
        mapped = stand_in is not None and zipfile.is_zipfile(path)  # files from before torch 1.6 are not
        foreign = get_unsafe_globals_in_checkpoint(path) if mapped else ()
        with safe_globals([(stand_in(name), name) for name in foreign]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # torch raises many kinds for a torn or foreign file
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            again = remedy or ": have it saved again as a state dict, torch.save(model.state_dict(), FILE)"
            name = code[1].rstrip(".")
            raise InputError(
                f"{path} is a pickle that needs the code of {name} to open, which is refused{again}"
            ) from None
        raise InputError(f"{path} is damaged or not {kind}, a torch file of only tensors{remedy}") from None


def check_trained(path):
    """Raise MissingInput when the checkpoint `path` does not exist."""
    if not path.is_file():
        raise MissingInput(f"{path} does not exist: train a model first, or set the flag of its folder")


def checkpoint_in(folder):
    """The path of the trained weights in a model's folder: SHARED_CHECKPOINT where it exists, else CHECKPOINT."""
    shared = folder / SHARED_CHECKPOINT
    return shared if shared.is_file() else folder / CHECKPOINT


def read_checkpoint(path):
    """{name: tensor} of a checkpoint, a torch or a safetensors file, on the CPU. No code in it is ever run.

    Raises MissingInput when it does not exist, InputError when it is damaged, no state dict, or needs code to open.
    """
    check_trained(path)
    state = read_safetensors(path)[0] if path.suffix == ".safetensors" else load_file(path)
    named = isinstance(state, dict) and all(isinstance(key, str) and torch.is_tensor(state[key]) for key in state)
    if not named or not state:
        raise InputError(f"{path} is not a state dict, a torch file of {{name: tensor}}")
    for name, value in state.items():
        if not (kind_of(value) in KINDS or value.dtype == torch.bool):
            raise InputError(
                f"{path}: {name} is {described(value)}, expected a plain tensor of real numbers or integers"
            )
    if all(name.startswith("module.") for name in state):  # written by DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def read_safetensors(path, remedy=""):
    """({name: tensor}, {key: text}) of a safetensors file.

    Raises InputError, which ends with `remedy`, for another file, and for tensors that are not those of their `digest`,
    see save_safetensors().
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # many kinds for a torn or foreign file
        raise InputError(f"{path} is damaged or not a safetensors file: {error}{remedy}") from None
    if metadata.get("digest", "") not in ("", tensors_digest(tensors)):
        raise InputError(f"{path} is damaged: its tensors are not those that were written{remedy}")
    return tensors, metadata


@strict
class RunConfig(TypedDict):
    """The flags of a run that a model is loaded with; models.building.adopt_run_settings() needs all of them."""

    model: Name
    num_classes: NotRequired[Annotated[int, Interval(ge=2, le=1000)] | None]
    SSL_path: NotRequired[Annotated[str, Len(1, 4096)]]
    ssl_layer: NotRequired[Count | list[Count] | Name | None]
    ssl_norm: NotRequired[Name]


@strict
class FrontEndRecord(TypedDict):
    """What FrontEnd.record() gives; that of an older version may lack some of it."""

    family: NotRequired[Name]
    structure: NotRequired[dict[str, Any] | None]
    norm: NotRequired[Name]
    layers: NotRequired[list[Count]]


@strict
class Run(TypedDict):
    """args.json, which engine.run_folder.describe_run() gives."""

    config: RunConfig
    versions: NotRequired[dict[str, str]]
    hardware: NotRequired[dict[str, Any]]
    data: NotRequired[dict[str, str]]  # {label file: SHA-256}
    classes: NotRequired[Names]
    frozen: NotRequired[str]
    front_end: NotRequired[FrontEndRecord | None]


def run_file(folder):
    """The path of the file in which the training run in `folder` is described, for messages: see read_run()."""
    names = [name for name in RUN_FILES if (folder / name).is_file()]
    return folder / (names or RUN_FILES)[0]


def read_run(folder):
    """What args.json, or a shared config.json, says of the training run in `folder`; {} when it is not ours.

    Raises InputError for one of ours that is damaged.
    """
    for name in RUN_FILES:
        path = folder / name
        try:
            text = read_bytes(path)
        except MissingInput:
            continue
        try:
            run = json.loads(text)
        except (ValueError, RecursionError):
            run = None
        others = isinstance(run, dict) and not run.keys() & Run.__annotations__.keys()
        if name == SHARED_CONFIG:
            others = not isinstance(run, dict) or run.get("model_type") != SHARED_TYPE
        # That of the released code is not valid JSON, and has no key of ours.
        if not others and (run is not None or b'"config": {' in text):
            return parse_json(text, Run, path, AGAIN)
    return {}


def frozen_parts(model):
    """{name of a part of a model: names of its tensors that training does not change}, where there are any.

    They are all tensors of a part none of whose parameters learns. Of a front end that is trained in part, they are
    those that models/fine_tuning.py leaves frozen.
    """
    frozen = {}
    for name, part in model.named_children():
        learns = [weight.requires_grad for weight in part.parameters()]
        if learns and not any(learns):
            kept = part.state_dict().keys()
        elif getattr(part, "partly_trained", False):
            kept = part.state_dict().keys() - learning_names(part)
        else:
            continue
        frozen[name] = {f"{name}.{tensor}" for tensor in kept}
    return frozen


def learning_names(part):
    """Names of the parameters in `part` that learn, and of the statistics beside them."""
    names = set()
    for place, module in part.named_modules(prefix=""):
        own = [name for name, weight in module.named_parameters(recurse=False) if weight.requires_grad]
        own += [name for name, _ in module.named_buffers(recurse=False)] if own else []
        names.update(f"{place}.{name}" if place else name for name in own)
    return names


def frozen_names(model):
    """Names of all tensors of a model that training does not change."""
    return set().union(*frozen_parts(model).values())


def trained_state(model):
    """The state dict of a model on the CPU, without what is frozen: 2 MB an epoch instead of XLS-R's 1.3 GB."""
    frozen = frozen_names(model)
    return {name: value.cpu() for name, value in model.state_dict().items() if name not in frozen}


def state_digest(state):
    """SHA-256 of the values of {name: tensor}, in their order."""
    digest = hashlib.sha256()
    for value in state.values():
        digest.update(value.contiguous().cpu().numpy())
    return digest.hexdigest()


def frozen_digest(model):
    """SHA-256 of the frozen parts of a model, which no checkpoint holds, such as XLS-R."""
    kept_digest = next((part.digest for part in model.children() if hasattr(part, "digest")), None)
    if kept_digest:  # of a front end whose hidden states are read from the disk
        return kept_digest
    frozen = frozen_names(model)
    return state_digest({name: value for name, value in model.state_dict().items() if name in frozen})


def head_weights(model):
    """(weight [classes, d], bias [classes]) of the layer that turns features into logits; None where none does."""
    if not getattr(model, "head_makes_logits", True):
        return None
    return model.head.weight.detach(), model.head.bias.detach()


def embedding_size(model):
    """The width d of the features of a model of MODELS."""
    return getattr(model, "embedding_size", None) or model.head.in_features


def network_names(state):
    """Names of the tensors in `state` that are of the network: without front end, constants and what has no effect."""
    no_part = re.compile(rf"{re.escape(FRONT_END)}|{re.escape(LAYER_WEIGHTS)}|{CONSTANT.pattern}|{UNUSED_NORMS}\b")
    return {name.removeprefix(NETWORK) for name in state if not no_part.match(name)}


def part_of(state, prefix):
    """The tensors in `state` whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def current_name(name):
    """The name that torch 2 gives to a tensor: the tensors of weight-normalised layers had other names before."""
    layer, dot, last = name.rpartition(".")
    return layer + dot + WEIGHT_NORM.get(last, last)


def unused_layers(model):
    """A regular expression: the layers, as group `layer`, that a checkpoint of `model` may hold without effect."""
    of_front_end = getattr(getattr(model, "front_end", None), "unused_layers", None)
    patterns = [UNUSED_NORMS, rf"{re.escape(FRONT_END)}({of_front_end})"] if of_front_end else [UNUSED_NORMS]
    return re.compile(rf"(?P<layer>{'|'.join(patterns)})\b")


def renamed(state, expected, unused):
    """`state` under the names of `expected`, and the layers without effect that were left out of it.

    `unused` is what unused_layers() gives. A bare network of W2V-AASIST, as released with the Codecfake corpus, gets
    the prefix of the whole model.
    """
    kept = {}
    ignored = {}
    for name, value in state.items():
        name = current_name(name)
        if name not in expected and NETWORK + name in expected:
            name = NETWORK + name
        match = unused.match(name)
        layer = match["layer"] if match else None
        if layer and not any(own.startswith(f"{layer}.") or own == layer for own in expected):
            ignored[layer] = None
        else:
            kept[name] = value
    return kept, list(ignored)


def check_tensor_names(names, expected, path):
    """Raise InputError when the names of the tensors in the checkpoint `path` are not those `expected`."""
    differences = {"lacks": set(expected) - set(names), "also holds": set(names) - set(expected)}
    texts = [
        f"{what} {len(some)} tensor{'s' * (len(some) > 1)} (first {min(some)})"
        for what, some in differences.items()
        if some
    ]
    if texts:
        raise InputError(f"{path} holds the weights of another model: it {' and '.join(texts)}")


def load_weights(model, state, path):
    """Put `state`, which read_checkpoint() gave for the file `path`, into `model`; gives the layers that it ignored.

    A frozen part may be absent as a whole, see trained_state(). Raises InputError, and leaves the model as it was, for
    other names or shapes than the model's, another number of classes, and values that are NaN or infinite.
    """
    own = model.state_dict()
    state, ignored = renamed(state, own, unused_layers(model))
    absent = set().union(*(names for names in frozen_parts(model).values() if names.isdisjoint(state)))
    needed = [name for name in own if name in state or not (name in absent or CONSTANT.match(name))]
    check_tensor_names(state, needed, path)
    head = next((name for name, part in model.named_modules() if part is getattr(model, "head", None)), None)
    shape, expected = (list(tensors.get(f"{head}.weight", torch.zeros(0)).shape) for tensors in (state, own))
    if shape[1:] == expected[1:] and shape != expected:
        raise InputError(f"{path} knows {shape[0]} classes, expected {expected[0]}: pass --num_classes {shape[0]}")
    check_values(state, own, path)
    other = next((name for name in state if CONSTANT.match(name) and not is_close(state[name], own[name])), None)
    if other:
        raise InputError(f"{path} holds other values of {other} than this model computes: {AGAIN}")
    model.load_state_dict(state, strict=False)
    return ignored


def is_close(value, own):
    """Whether the tensor `value` is `own`, up to half precision."""
    return bool(((value - own).abs() <= 0.01 * own.abs().max()).all())


def check_values(state, own, path):
    """Raise InputError when a tensor of `state`, read from `path`, is not finite or not of the form that `own` has."""
    for name, value in state.items():
        found, expected = described(value), described(own[name])
        if kind_of(value) == kind_of(own[name]):
            found, expected = list(value.shape), list(own[name].shape)
        if found != expected:
            raise InputError(f"{path} holds the weights of another model: {name} is {found}, expected {expected}")
        if not value.to(own[name].dtype).isfinite().all():
            raise InputError(f"{path} holds values that are NaN or infinite, in {name}: its training diverged")
        if name.endswith(("running_var", "num_batches_tracked")) and (value < 0).any():
            raise InputError(f"{path} holds negative values in {name}, which cannot be: copy it again")
