"""How metrics are written: cells, tables, legends and the file of --json."""

import json

from evaluation.intervals import INTERVAL_LEVEL, Resampling
from utils.files import write_text


def percent(value, interval=None):
    """A figure in % to two places, or a dash for one that is not known; with its interval, where there is one."""
    around = f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""
    return "-" if value is None else f"{value:.2f}{around}"


def cell(figures, name):
    """The figure `name` of a dict in % to two places, with its interval, `name`_interval, where that is there."""
    return percent(figures[name], figures.get(f"{name}_interval"))


def resample(config, names):
    """The Resampling of {set: file names} that the flags ask for."""
    return Resampling(names, config.resamples, config.cluster, config.seed)


def print_legend(config, form="[low, high]"):
    """Tell what the intervals are, which stand in this form, where there are any."""
    if config.resamples:
        each = {"none": "each file by itself"}.get(config.cluster, f"files of one {config.cluster} together, by name")
        print(f"{form}: {INTERVAL_LEVEL} % bootstrap interval, {config.resamples} resamples, {each}")


def write_metrics(config, figures):
    """Write `figures` to --json, where it is given."""
    if config.json:
        write_text(config.json, json.dumps(figures, indent=2) + "\n")
        print(f"wrote {config.json}")
