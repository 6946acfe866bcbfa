"""A trained model as a folder to give to others, in the form of the Hugging Face hub: no pickle, no private paths.

model.safetensors has the weights, config.json all that loading needs, README.md is the card, and results/ has the
metrics. Where the model is calibrated, the calibration goes along.
"""

import shutil
from pathlib import PurePath

from data.audio import SAMPLE_RATE, SAMPLES
from evaluation.calibration import read_calibration
from evaluation.freshness import MEASURED_OF
from evaluation.metric_files import read_metrics
from models import MODELS, SHARED_TYPE, TAXONOMY_MODELS
from models.taxonomy_building import builder_of
from models.weights import AGAIN, checkpoint_in, read_checkpoint, read_run, run_file
from reporting.model_card import CARD, write_card
from utils.digests import sha256
from utils.errors import InputError
from utils.files import replacing, save_safetensors, write_json
from utils.hub import name_of_model
from utils.locks import LOCK_NAME
from utils.model_files import CALIBRATION_JSON, CALIBRATION_TENSORS, RUN_JSON, SHARED_CHECKPOINT, SHARED_CONFIG
from utils.reading import files_below

NEEDED = (CALIBRATION_JSON, ".safetensors")  # ends of the names of files that loading needs, beside config.json
COMMIT = "A model of CodecTrace"  # what the hub shows beside an upload
OTHER_FILES = ("held_out.json", "risk_coverage.png")  # of a model that evaluate_held_out.py has saved


def without_places(value):
    """`value`, content of a JSON file, in which the last part stands for an absolute path."""
    if isinstance(value, dict):
        return {without_places(key): without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith("~")):
        return PurePath(value).name
    return value


def shared_config(folder):
    """What config.json says of the trained model in `folder`. Raises InputError when it has no args.json of ours."""
    run = read_run(folder)
    if not isinstance(run.get("config"), dict) or "model" not in run["config"]:
        raise InputError(f"{folder / RUN_JSON} is missing or not of a training run of this project: train it here")
    name = run["config"]["model"]
    if name not in MODELS and name not in TAXONOMY_MODELS:
        raise InputError(f"{run_file(folder)} is of a run of --model {name}, which is no model of this project")
    head = {"model_type": SHARED_TYPE, "system": "codec", "sample_rate": SAMPLE_RATE, "samples": SAMPLES}
    if name in TAXONOMY_MODELS:
        builder = builder_of(name)
        try:
            classes = builder.classes(run["config"])
        except KeyError:
            raise InputError(f"{run_file(folder)} does not say the tasks of the model: {AGAIN}") from None
        head |= {"system": "taxonomy", "samples": builder.samples, "tasks": classes}
    return {**head, **without_places({name: value for name, value in run.items() if name not in head})}


def read_results(result):
    """{file name: content} of the JSON files in the folder `result`; {} where it is None or not there.

    What they were measured of is left out: files of this machine.
    """
    if result is None or not result.is_dir():
        return {}
    paths = [path for path in files_below(result) if path.suffix == ".json"]
    results = {path.relative_to(result).as_posix(): without_places(read_metrics(path)) for path in paths}
    for content in results.values():
        if isinstance(content, dict):
            content.pop(MEASURED_OF, None)
    return results


def share_model(folder, target, result=None):
    """Write the trained model in `folder` into the folder `target`, which is made; gives the names of its files.

    `result` is the folder of its metrics. A README.md of `folder` goes along in place of a new card. Raises InputError
    when the model cannot be read, or `target` holds other files already. The caller has locked both folders.
    """
    described = shared_config(folder)
    weights = checkpoint_in(folder)
    state = read_checkpoint(weights)
    calibrated = (folder / CALIBRATION_JSON).is_file()
    calibration = read_calibration(folder).description if calibrated else None
    if target.resolve() == folder.resolve():
        raise InputError(f"--to {target} is the folder of the model itself: give another one")
    others = {path.name for path in target.iterdir()} - {LOCK_NAME} if target.is_dir() else set()
    if others and SHARED_CONFIG not in others:
        raise InputError(f"{target} holds other files: give --to a new folder")
    results = read_results(result)
    if weights.name == SHARED_CHECKPOINT:
        copy(weights, target / SHARED_CHECKPOINT)
    else:
        save_safetensors(target / SHARED_CHECKPOINT, {name: value.clone() for name, value in state.items()})
    if calibrated:
        copy(folder / CALIBRATION_TENSORS, target / CALIBRATION_TENSORS)
        digest = sha256(target / SHARED_CHECKPOINT)
        write_json(target / CALIBRATION_JSON, without_places(calibration) | {"checkpoint_sha256": digest})
    for name in OTHER_FILES:
        if (folder / name).is_file():
            copy(folder / name, target / name)
    for name, content in results.items():
        write_json(target / "results" / name, content)
    if (folder / CARD).is_file():
        copy(folder / CARD, target / CARD)
    else:
        held_out = read_metrics(folder / OTHER_FILES[0]) if (folder / OTHER_FILES[0]).is_file() else None
        write_card(target / CARD, name_of_model(folder), described, calibration, results, held_out)
    files = [path.relative_to(target).as_posix() for path in files_below(target) if path.name != LOCK_NAME]
    # With the list, a cache that lacks a file is noticed; written last, config.json tells that the folder is whole.
    write_json(target / SHARED_CONFIG, described | {"files": [name for name in files if name.endswith(NEEDED)]})
    return sorted({*files, SHARED_CONFIG})


def copy(source, target):
    """Copy a file, complete or not at all."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def push_model(folder, name, files):
    """Upload `files` of `folder` to the model `name`, "user/model", of the Hugging Face hub; gives its address.

    The token is that of `hf auth login` or of HF_TOKEN. Raises InputError, with the reason, when the hub refuses.
    """
    from huggingface_hub import HfApi  # slow to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        address = api.create_repo(name, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=files, commit_message=COMMIT)
    except HFValidationError as error:
        raise InputError(f"--push {name} is no name of a model on the hub: {error}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no")
        remedy = ": log in with `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        raise InputError(f"--push {name}: the hub answers with status {status}{remedy}") from None
    except OSError as error:
        raise InputError(f"--push {name}: the hub cannot be reached ({type(error).__name__})") from None
    return str(address)
