"""Models of the Hugging Face hub by name: from its cache where they are whole, else from the network.

A name is user/model, or user/model@revision for a branch, a tag or a commit.
"""

import json
import re
from functools import cache
from pathlib import Path

from utils.errors import InputError, MissingInput
from utils.model_files import SHARED_CONFIG

HUB_SECONDS = 5  # that the hub has to answer, before it counts as out of reach
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")
CACHED_MODEL = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots")  # the folders above a commit in its cache
SHARED_FILES = ["*.json", "*.safetensors", "README.md"]  # of a model of this project


def split_hub_name(name):
    """(user/model, revision or None) of a name of the hub."""
    repository, _, revision = str(name).partition("@")
    return repository, revision or None


def names_hub_model(path):
    """Whether `path` is the name of a model in the hub. It has the form of one, and no such folder is here."""
    path = Path(path)
    return bool(HUB_NAME.fullmatch(path.as_posix())) and not path.exists() and not path.parent.exists()


def hub_reason(error):
    """Why the hub gave nothing, in words."""
    text = f"{error} {error.__cause__ or ''}".lower()
    if "offline" in text:
        return "HF_HUB_OFFLINE is set, and its cache does not hold the model"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"it answers with status {status}"
    return f"it cannot be reached, and its cache does not hold the model ({type(error.__cause__ or error).__name__})"


def hub_folder(name):
    """The local folder of the model of this project that the hub has as `name`. Raises MissingInput without one."""
    from huggingface_hub import snapshot_download  # slow to import
    from huggingface_hub.errors import HFValidationError

    repository, revision = split_hub_name(name)
    options = {"revision": revision, "allow_patterns": SHARED_FILES, "etag_timeout": HUB_SECONDS}
    try:
        folder = Path(snapshot_download(repository, **options, local_files_only=True))
        if is_whole(folder):
            return folder
    except (OSError, HFValidationError):
        pass
    try:
        check_hub(repository, revision)
        return Path(snapshot_download(repository, **options))
    except (OSError, ValueError, RuntimeError) as error:
        reason = error if isinstance(error, InputError) else hub_reason(error)
        raise MissingInput(
            f"{name} does not exist here, and the Hugging Face hub does not give it: {reason}."
            " Give the folder of a trained model, or a name of the hub, user/model or user/model@revision"
        ) from None


def is_whole(folder):
    """Whether `folder`, in the cache of the hub, holds all files that its config.json lists."""
    try:
        files = json.loads((folder / SHARED_CONFIG).read_text(encoding="utf-8"))["files"]
        return all((folder / name).is_file() for name in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def name_of_model(folder):
    """What the model in `folder` is called: user/model in the cache of the hub, elsewhere the name of the folder."""
    folder = folder.absolute()
    cached = CACHED_MODEL.fullmatch("/".join(folder.parts[-3:-1]))
    return f"{cached[1]}/{cached[2]}" if cached else folder.name


def refuse_hub_model(folder, name):
    """Raise InputError where the model in `folder`, the value of the flag `name`, lies in the cache of the hub."""
    model = name_of_model(folder)
    if "/" in model:
        raise InputError(
            f"--{name}: this would change {model} in the cache of the hub: run"
            f" `hf download {model} --local-dir FOLDER`, and give that folder"
        )


def found_model(path):
    """The folder of the model that `path` names: a folder, or a name in the hub. Of several, a tuple of folders."""
    if isinstance(path, (list, tuple)):
        return tuple(map(found_model, path))
    return hub_folder(Path(path).as_posix()) if names_hub_model(path) else Path(path)


def hub_file(name, file):
    """The local path of a file of the hub's model `name`: from the cache if it is there, else fetched.

    Raises InputError when the hub cannot be reached in HUB_SECONDS, FileNotFoundError when the model lacks the file.
    """
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache  # slow to import
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, revision = split_hub_name(name)
    options = {"revision": revision, "etag_timeout": HUB_SECONDS}
    try:
        return Path(hf_hub_download(repository, file, **options, local_files_only=True))
    except HFValidationError as error:
        raise InputError(f"{name} is no name of a model of the hub: {error}") from None
    except OSError:
        pass
    if try_to_load_from_cache(repository, file, revision=revision) is _CACHED_NO_EXIST:
        raise FileNotFoundError(f"{name} has no {file}")
    check_hub(repository, revision)
    try:
        return Path(hf_hub_download(repository, file, **options))
    except LocalEntryNotFoundError as error:
        raise InputError(hub_reason(error)) from None


@cache
def check_hub(repository, revision):
    """Raise InputError when the hub does not give the model, asked once.

    A download of a file would ask six times, in 23 s, and that of a folder would wait for a silent hub for ever.
    """
    from huggingface_hub import HfApi  # slow to import

    try:
        HfApi().model_info(repository, revision=revision, timeout=HUB_SECONDS)
    except Exception as error:  # of httpx, which is no library of ours, and of huggingface_hub
        raise InputError(hub_reason(error)) from None
