"""The files of a Hugging Face model, in a local folder or from the hub: read without running any code in them."""

import json
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from models.weights import read_checkpoint
from utils.errors import InputError

SSL_REMEDY = "give --SSL_path the folder of facebook/wav2vec2-xls-r-300m or fairseq's xlsr2_300m.pt"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference


def model_folder(path):
    """The folder of the Hugging Face model that `path` names, a local folder or a hub name; None for other paths.

    Raises InputError for a hub name that cannot be fetched.
    """
    local = Path(path)
    if local.is_dir():
        return local
    looks_like_hub_name = len(local.parts) == 2 and not (local.is_absolute() or local.suffix == ".pt")
    if looks_like_hub_name and not local.is_file():
        return download_model(str(path))
    return None


def hub_file(name, file):
    """The local path of a file of the Hugging Face hub's model `name`: from the cache if it is there, else fetched."""
    from transformers.utils import cached_file  # slow to import

    try:
        return Path(cached_file(name, file, local_files_only=True))
    except OSError:
        return Path(cached_file(name, file))


def download_model(name):
    """The local folder of the Hugging Face hub's model `name`. Raises InputError when it cannot be fetched."""
    try:
        folder = hub_file(name, "config.json").parent
    except OSError as error:
        raise InputError(
            f"{name} is no file or folder here, and the Hugging Face hub does not give a model of that name"
            f" ({type(error.__cause__ or error).__name__}): download its folder elsewhere and {SSL_REMEDY}"
        ) from None
    for file in WEIGHT_FILES:
        with suppress(OSError):  # the hub has one or the other
            if not any((folder / known).is_file() for known in WEIGHT_FILES):
                hub_file(name, file)
    return folder


def read_options(folder):
    """The dict in the config.json of a Hugging Face model in `folder`. Raises InputError when it cannot be read."""
    path = folder / "config.json"
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no config.json, so it is no Hugging Face model: {SSL_REMEDY}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): download it again") from None
    return options if isinstance(options, dict) else {}


def read_folder_weights(folder):
    """{name: tensor} of a Hugging Face model in `folder`, on the CPU. Raises InputError when there are none."""
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}: download the whole folder")
    return read_safetensors(weights) if weights.suffix == ".safetensors" else read_checkpoint(weights)


def read_safetensors(path):
    """{name: tensor} of a safetensors file. Raises InputError when it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error}): download it again") from None
