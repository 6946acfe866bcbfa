"""What the evaluation scripts found of a run, from the JSON files in its `result` folder; made where they are absent.

A file that is older than the score files, embeddings or calibration of the run is made again, by the script itself and
with the flags of report.py: no figure has a second formula.
"""

import importlib
import json

from utils.errors import InputError

SCRIPTS = {  # figures under --result, and the script that makes them
    "id_f1": "evaluate_id_f1",
    "id_config": "evaluate_id_config",
    "id_source": "evaluate_id_source",
    "id_unseenreal": "evaluate_id_unseenreal",
    "alm": "evaluate_alm",
    "ood": "ood_detector_e2e",
    "open_set": "evaluate_open_set",
}
REPORT = "report"  # .html and .json, which report.py itself writes


def read_json(path):
    """What a JSON file holds. Raises InputError for one that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): write it again") from None


def age(config):
    """When the newest of the files that evaluations read was written, in seconds; 0 without any."""
    inputs = [*config.result.rglob("*.txt"), *config.save_feats.glob("*.pt"), config.model_folder / "calibration.json"]
    return max((path.stat().st_mtime for path in inputs if path.is_file()), default=0)


def evaluate(config, argv):
    """({name: figures} of SCRIPTS, {name: why there are none}).

    `argv` are the flags of report.py, which each script that has to run is given.
    """
    found, missing, newest = {}, {}, age(config)
    for name, script in SCRIPTS.items():
        path = config.result / f"{name}.json"
        try:
            if not path.is_file() or path.stat().st_mtime < newest:
                # The last flag counts: whatever was chosen for the pictures, all detectors and conditions are measured.
                whole = ["--ood_detector_name", "all", "--condition", "all", "--skip_missing", "--json", str(path)]
                importlib.import_module(script).main([*argv, *whole])
            found[name] = read_json(path)
            if found[name].get("conditions") == []:
                del found[name]
                missing[name] = "no score file of these conditions"
        except InputError as error:
            missing[name] = str(error)
    return found, missing


def others(config, missing):
    """{file name: what it holds} of every other JSON file of figures of the run, and of seeds.json in folders above.

    Why one cannot be read is added to `missing`.
    """
    own = {config.result / f"{name}.json" for name in (*SCRIPTS, REPORT)}
    paths = [*sorted(config.result.glob("*.json")), *sorted(config.result.glob("*/*.json"))]
    paths += [folder / "seeds.json" for folder in config.result.absolute().parents[:2]]
    found = {}
    for path in paths:
        if path.is_file() and path not in own:
            name = path.name if path.parent == config.result else f"{path.parent.name}/{path.name}"
            try:
                found[name] = read_json(path)
            except InputError as error:
                missing[name] = str(error)
    return found
