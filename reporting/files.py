"""JSON files of metrics in --result."""

import json

from data.classes import SIDECAR
from evaluation.freshness import MEASURED_OF
from utils.errors import InputError

REPORT_NAME = "report"  # of the .html and .json files that report.py itself writes


def read_json(path):
    """The content of a JSON file. Raises InputError for a file that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): write it again") from None


def read_other_metrics(config, evaluations, missing):
    """{file name: content} of every other JSON file of the run, and of seeds.json in the two folders above.

    `evaluations` are the names of the evaluations, whose files are left out. `missing` takes the reason why a file
    cannot be read.
    """
    own = {config.result / f"{name}.json" for name in (*evaluations, REPORT_NAME)} | {config.result / SIDECAR}
    paths = [*sorted(config.result.glob("*.json")), *sorted(config.result.glob("*/*.json"))]
    paths += [folder / "seeds.json" for folder in config.result.absolute().parents[:2]]
    contents = {}
    for path in paths:
        if path.is_file() and path not in own:
            name = path.name if path.parent == config.result else f"{path.parent.name}/{path.name}"
            try:
                contents[name] = read_json(path)
                if isinstance(contents[name], dict):
                    contents[name].pop(MEASURED_OF, None)  # no metric
            except InputError as error:
                missing[name] = str(error)
    return contents
