"""The files of a Hugging Face model, in a local folder or from the hub: read without running any code in them."""

import json
from pathlib import Path

from models.weights import read_checkpoint
from utils.errors import InputError
from utils.hub import hub_file

SSL_REMEDY = "give --SSL_path a whole folder or hub name of Hugging Face, see docs/front_ends.md, or xlsr2_300m.pt"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference
INDEX = ".index.json"  # after the name of a weight file: which of several files holds which tensor
OPTIONS = "config.json"
PREPROCESSOR = "preprocessor_config.json"


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


def download_model(name):
    """The local folder of the Hugging Face hub's model `name`. Raises InputError when it cannot be fetched."""
    config = fetch(name, OPTIONS)
    if config is None:
        raise InputError(f"{name}: this model of the Hugging Face hub has no {OPTIONS}: {SSL_REMEDY}")
    folder = config.parent
    fetch(name, PREPROCESSOR)  # some models have none
    for file in (*WEIGHT_FILES, *(f"{known}{INDEX}" for known in WEIGHT_FILES)):
        if weight_file(folder) is None:
            fetch(name, file)  # the hub has one of them
    index = weight_file(folder)
    if index is not None and index.name.endswith(INDEX):
        for shard in shard_names(index):
            fetch(name, shard)  # read_folder_weights() names the file that is not there
    return folder


def fetch(name, file):
    """The local path of a file of the hub's model `name`; None where the model lacks it.

    Raises InputError when neither the cache nor the hub tells it.
    """
    try:
        return hub_file(name, file)
    except OSError:
        return None
    except InputError as error:
        what = "a model of that name" if file == OPTIONS else f"its {file}"
        raise InputError(
            f"{name} is no file or folder here, and the Hugging Face hub does not give {what}: {error}. Download its"
            f" folder elsewhere and {SSL_REMEDY}"
        ) from None


def read_json_dict(path):
    """The dict in a JSON file of a model; {} for other JSON. Raises InputError when it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): download it again") from None
    return content if isinstance(content, dict) else {}


def read_options(folder):
    """The dict in the config.json of a Hugging Face model in `folder`. Raises InputError when it cannot be read."""
    path = folder / OPTIONS
    if not path.is_file():
        raise InputError(f"{folder} holds no {OPTIONS}, so it is no Hugging Face model: {SSL_REMEDY}")
    return read_json_dict(path)


def read_preprocessor(folder):
    """The dict that says how the input of a model in `folder` is made; {} where the model does not say it."""
    path = folder / PREPROCESSOR
    return read_json_dict(path) if path.is_file() else {}


def weight_file(folder):
    """The file of the weights in `folder`, or the index of several; None where there is none."""
    names = (*WEIGHT_FILES, *(f"{known}{INDEX}" for known in WEIGHT_FILES))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def shard_names(index):
    """The names of the files that the index of a sharded model lists. Raises InputError when it is damaged."""
    places = read_json_dict(index).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise InputError(f"{index} does not say which file holds which tensor: download it again")
    return sorted(set(names))


def read_folder_weights(folder):
    """{name: tensor} of a Hugging Face model in `folder`, on the CPU. Raises InputError when a file is not there."""
    path = weight_file(folder)
    if path is None:
        raise InputError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}: download the whole folder")
    if not path.name.endswith(INDEX):
        return read_checkpoint(path)
    weights = {}
    for name in shard_names(path):
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}, which {path.name} lists: download the whole folder")
        weights |= read_checkpoint(folder / name)
    return weights
