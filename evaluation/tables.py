"""How metrics are written: cells, tables, legends and the file of --json."""

from evaluation.freshness import with_own_digest
from evaluation.intervals import INTERVAL_LEVEL, Resampling
from utils.files import write_json


def percent(value, interval=None):
    """A value in % with two decimals and its interval, or a dash where the value is not known."""
    around = f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""
    return "-" if value is None else f"{value:.2f}{around}"


def metric_cell(metrics, name):
    """The metric `name` of a dict in % with two decimals, and its interval, `name`_interval, where the dict has it."""
    return percent(metrics[name], metrics.get(f"{name}_interval"))


def make_resampling(config, names):
    """The Resampling of {set: file names} that the flags ask for."""
    return Resampling(names, config.resamples, config.cluster, config.seed)


def print_legend(config, form="[low, high]"):
    """Print what the intervals are, which are shown as `form`, where there are any."""
    if config.resamples:
        each = {"none": "each file by itself"}.get(config.cluster, f"files of one {config.cluster} together, by name")
        print(f"{form}: {INTERVAL_LEVEL} % bootstrap interval, {config.resamples} resamples, {each}")


def write_metrics(config, metrics):
    """Write the dict `metrics` to the file of --json, where it is given, with what shows that it is unchanged."""
    if config.json:
        write_json(config.json, with_own_digest(metrics))
        print(f"wrote {config.json}")
