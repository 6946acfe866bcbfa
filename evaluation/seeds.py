"""Mean and standard deviation of the metrics of runs that differ only in their seed."""

import statistics
from typing import Annotated

from annotated_types import MinLen
from typing_extensions import TypedDict

from evaluation.freshness import MEASURED_OF, is_edited, of_files
from evaluation.metric_files import AGAIN, METRIC_GROUPS, OTHER_METRICS, REPORT_JSON, Percent, read_metrics
from evaluation.metrics import CLASSIFICATION_METRICS, DETECTION_METRICS
from evaluation.tables import percent
from utils.console import print_table
from utils.errors import InputError, MissingInput
from utils.reading import Name, files_below, strict

NOT_METRICS = ("paper", "class_thresholds", MEASURED_OF)


@strict
class SeedFigure(TypedDict):
    """A metric over the runs."""

    figure: str
    mean: Percent
    sd: Percent
    values: dict[str, Percent]  # of each run


@strict
class SeedSummary(TypedDict):
    """What summarise_runs() gives."""

    runs: Annotated[list[Name], MinLen(2)]
    figures: list[SeedFigure]


def flatten_metrics(content, name=()):
    """Yield (name, metric) of every metric in what an evaluation wrote; a name is a tuple of words."""
    if isinstance(content, list):
        for item in content:
            yield from flatten_metrics(item, name)
    elif isinstance(content, dict):
        name = (*name, *(str(content[key]) for key in ("detector", "condition") if key in content))
        for key, value in content.items():
            if key in METRIC_GROUPS:
                rows = value.items() if isinstance(value, dict) else enumerate(value)
                yield from (((*name, key, str(row)), metric) for row, metric in rows)
            elif key in (*CLASSIFICATION_METRICS, *DETECTION_METRICS, *OTHER_METRICS):
                yield (*name, key), value
            elif key not in NOT_METRICS:
                yield from flatten_metrics(value, (*name, key) if isinstance(value, dict) and key != "tasks" else name)


def metric_files(folder):
    """The JSON files in the `result` folder of a run, less that of report.py."""
    paths = files_below(folder / "result", levels=1)
    return [path for path in paths if path.suffix == ".json" and path.name != REPORT_JSON]


def read_run_metrics(folder):
    """{name: metric} of every JSON file in the `result` folder of a run.

    Raises MissingInput when there is none, InputError for a damaged one.
    """
    paths = metric_files(folder)
    if not paths:
        raise MissingInput(f"{folder / 'result'} holds no .json file: run the evaluation scripts with --json into it")
    metrics = {}
    for path in paths:
        content = read_metrics(path)
        if is_edited(content):
            raise InputError(f"{path} is not what the script wrote there: {AGAIN}")
        try:
            of_file = dict(flatten_metrics(content, (path.stem,)))
            metrics |= {name: float(metric) for name, metric in of_file.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not what an evaluation script writes ({error!r}): {AGAIN}") from None
    return metrics


def find_seed_runs(folders):
    """The folders of the runs: the given ones, or the seed-*/ in the only given one.

    Raises InputError for fewer than two.
    """
    if len(folders) > 1:
        return list(folders)
    runs = sorted(folders[0].glob("seed-*/"), key=lambda path: (len(path.name), path.name))
    if len(runs) < 2:
        raise InputError(
            f"{folders[0]} holds {len(runs)} folders seed-*/: a standard deviation needs at least two runs"
        )
    return runs


def summarise_runs(config):
    """{"runs", "figures"}: the names of the runs, and the mean and standard deviation of each metric that all have.

    "figures" is [{"figure", "mean", "sd", "values": {run: metric}}], each in the unit of its file. Prints how many
    metrics some of the runs lack. Raises InputError when the runs have no metric in common.
    """
    runs = find_seed_runs(config.runs)
    measured_of = of_files(config, [path for run in runs for path in metric_files(run)])
    metrics = {path.name: read_run_metrics(path) for path in runs}
    if len(metrics) < len(runs):
        raise InputError(f"{' and '.join(map(str, runs))} have the same name: give folders of different names")
    rows = []
    incomplete = set()
    for name in dict.fromkeys(name for of_run in metrics.values() for name in of_run):
        values = {which: of_run[name] for which, of_run in metrics.items() if name in of_run}
        if len(values) < len(runs):
            incomplete.add(" ".join(name))
            continue
        mean = statistics.fmean(values.values())
        rows.append({"figure": " ".join(name), "mean": mean, "sd": statistics.stdev(values.values()), "values": values})
    if not rows:
        raise InputError(f"{' and '.join(map(str, runs))} have no metric in common: run the same evaluations on all")
    if incomplete:
        print(f"{len(incomplete)} metrics are not in every run and are left out (first: {min(incomplete)})")
    return {"runs": list(metrics), "figures": rows, MEASURED_OF: measured_of}


def print_seed_summary(summary):
    """Print what summarise_runs() gives: a row for each metric."""
    names = summary["runs"]
    print(f"Mean and standard deviation over {len(names)} runs")
    rows = [
        (row["figure"], f"{row['mean']:.2f} ± {row['sd']:.2f}", *(percent(row["values"][name]) for name in names))
        for row in summary["figures"]
    ]
    print_table(("metric", "mean ± SD", *names), rows)
