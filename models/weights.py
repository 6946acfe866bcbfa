"""Checkpoints: read without running code, fit to our models, or refused with the reason."""

import hashlib
import os
import re
import zipfile

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from utils.errors import InputError, MissingInput

# Layers that released weights may hold although they change nothing. They are ignored where we do not build them.
UNUSED = re.compile(
    r"(?P<layer>(.+\.)?encoder\.[1-5]\.0\.bn1"  # its output is thrown away
    r"|wav2vec2\.model\.(encoder\.layers\.\d+"  # beyond the layer that the back end sees
    r"|encoder\.layer_norm"  # of the last layer alone
    r"|masked_spec_embed))\b"  # of pre-training alone
)
WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
# What a checkpoint may lack: constants, which the released mel-LCNN of the Codecfake corpus does not hold.
CONSTANT = re.compile(r"mel\.(spectrogram\.window|mel_scale\.fb)$")


def check_zip(path):
    """Raise InputError for a zip that grows when it is read: torch stores its files as they are."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        size = sum(part.file_size for part in file.infolist())
    if size > os.path.getsize(path):
        raise InputError(f"{path} would grow to {size} bytes when it is read, so torch has not written it")


def load_file(path, stand_in=None):
    """What a torch file holds, on the CPU. No code in it is ever run.

    What torch does not trust is refused, or read as stand_in(its full name) instead: a class of no consequence. The
    tensors of such a file stay on the disk until they are used.
    Raises InputError when the file is damaged or needs code to open.
    """
    try:
        check_zip(path)
        mapped = stand_in is not None and zipfile.is_zipfile(path)  # files from before torch 1.6 are not
        foreign = get_unsafe_globals_in_checkpoint(path) if mapped else ()
        with safe_globals([(stand_in(name), name) for name in foreign]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # of a torn or foreign file, torch lets many kinds through
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise InputError(
                f"{path} is a pickle that needs the code of {code[1].rstrip('.')} to open, which is refused:"
                " have it saved again as a state dict, torch.save(model.state_dict(), FILE)"
            ) from None
        raise InputError(f"{path} is damaged or not a checkpoint, a torch file of tensors alone") from None


def check_trained(path):
    """Raise MissingInput when the checkpoint `path` does not exist."""
    if not path.is_file():
        raise MissingInput(f"{path} does not exist: train a model first, or set the flag of its folder")


def read_checkpoint(path):
    """{name: tensor} of a checkpoint, on the CPU. No code in it is ever run.

    Raises MissingInput when it does not exist, InputError when it is damaged, no state dict, or needs code to open.
    """
    check_trained(path)
    state = load_file(path)
    named = isinstance(state, dict) and all(isinstance(key, str) and torch.is_tensor(state[key]) for key in state)
    if not named or not state:
        raise InputError(f"{path} is not a state dict, a torch file of {{name: tensor}}")
    if all(name.startswith("module.") for name in state):  # written by DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def frozen_parts(model):
    """Prefixes of the names of a model's parts that training leaves as they are: no parameter takes a gradient."""
    parts = {name: [weight.requires_grad for weight in part.parameters()] for name, part in model.named_children()}
    return tuple(f"{name}." for name, learns in parts.items() if learns and not any(learns))


def trained_state(model):
    """The state dict of a model on the CPU, without its frozen parts: an epoch takes 2 MB, not XLS-R's 1.3 GB."""
    frozen = frozen_parts(model)
    return {name: value.cpu() for name, value in model.state_dict().items() if not name.startswith(frozen)}


def state_digest(state):
    """SHA-256 of the values of {name: tensor}, in their order."""
    digest = hashlib.sha256()
    for value in state.values():
        digest.update(value.contiguous().cpu().numpy())
    return digest.hexdigest()


def frozen_digest(model):
    """SHA-256 of the frozen parts of a model, which no checkpoint holds, such as XLS-R."""
    stored = [part.digest for part in model.children() if hasattr(part, "digest")]
    if stored:
        return stored[0]
    frozen = frozen_parts(model)
    return state_digest({name: value for name, value in model.state_dict().items() if name.startswith(frozen)})


def current_name(name):
    """The name that torch 2 gives to a tensor: those of a weight-normalised layer had others before."""
    layer, dot, last = name.rpartition(".")
    return layer + dot + WEIGHT_NORM.get(last, last)


def renamed(state, expected):
    """`state` under the names of `expected`, and the layers without effect that were left out of it.

    A bare back end of W2V-AASIST, as released with the Codecfake corpus, gets the prefix of the whole model.
    """
    kept, ignored = {}, {}
    for name, value in state.items():
        name = current_name(name)
        if name not in expected and f"w2vaasist.{name}" in expected:
            name = f"w2vaasist.{name}"
        unused = UNUSED.match(name)
        if unused and not any(own.startswith(f"{unused['layer']}.") or own == unused["layer"] for own in expected):
            ignored[unused["layer"]] = None
        else:
            kept[name] = value
    return kept, list(ignored)


def check_names(found, expected, path):
    """Raise InputError when the names `found` in a checkpoint are not those `expected`."""
    differences = (("lacks", set(expected) - set(found)), ("holds besides", set(found) - set(expected)))
    texts = [
        f"{what} {len(names)} tensor{'s' * (len(names) > 1)} (first {min(names)})"
        for what, names in differences
        if names
    ]
    if texts:
        raise InputError(f"{path} holds the weights of another model: it {' and '.join(texts)}")


def load_weights(model, state, path):
    """Put `state`, as read_checkpoint gives it from the file `path`, into `model`; gives the layers ignored in it.

    Frozen parts may be absent as a whole, see trained_state. Raises InputError, and leaves the model as it was, for
    other names or shapes than the model's, another number of classes, and values that are NaN or infinite.
    """
    own = model.state_dict()
    state, ignored = renamed(state, own)
    absent = tuple(part for part in frozen_parts(model) if not any(name.startswith(part) for name in state))
    needed = [name for name in own if name in state or not (name.startswith(absent) or CONSTANT.match(name))]
    check_names(state, needed, path)
    head = next((name for name, part in model.named_modules() if part is getattr(model, "head", None)), None)
    for name, value in state.items():
        found, expected = list(value.shape), list(own[name].shape)
        if name == f"{head}.weight" and found[1:] == expected[1:] and found != expected:
            raise InputError(f"{path} knows {found[0]} classes, expected {expected[0]}: pass --num_classes {found[0]}")
        if found != expected:
            raise InputError(f"{path} holds the weights of another model: {name} is {found}, expected {expected}")
        if not value.isfinite().all():
            raise InputError(f"{path} holds values that are NaN or infinite, in {name}: its training diverged")
    model.load_state_dict(state, strict=False)
    return ignored
