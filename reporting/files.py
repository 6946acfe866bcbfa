"""JSON files of metrics in --result."""

from data.classes import SIDECAR
from evaluation.freshness import MEASURED_OF, state_of
from evaluation.metric_files import AGAIN, REPORT_JSON, read_metrics
from utils.errors import InputError
from utils.reading import files_below

REPORT_HTML = "report.html"


def read_other_metrics(config, evaluations, missing):
    """{file name: content} of every other JSON file of the run, and of seeds.json in the two folders above.

    `evaluations` are the names of the evaluations, whose files are left out. `missing` takes the reason why a file
    cannot be read, or why its metrics do not hold any more. Prints which files cannot be checked.
    """
    own = {config.result / f"{name}.json" for name in evaluations}
    own |= {config.result / REPORT_JSON, config.result / SIDECAR}
    paths = [path for path in files_below(config.result, levels=2) if path.suffix == ".json"]
    paths.sort(key=lambda path: len(path.parts))
    paths += [folder / "seeds.json" for folder in config.result.absolute().parents[:2]]
    contents = {}
    for path in paths:
        if path.is_file() and path not in own:
            name = path.name if path.parent == config.result else f"{path.parent.name}/{path.name}"
            try:
                content = read_metrics(path)
            except InputError as error:
                missing[name] = str(error)
                continue
            stale, unchecked = state_of(path, content, config.model_folder)
            if stale:
                missing[name] = f"{stale}: {AGAIN}"
                continue
            if unchecked:
                print(f"{name}: {unchecked}")
            if isinstance(content, dict):
                content.pop(MEASURED_OF, None)  # no metric
            contents[name] = content
    return contents
