"""Reading JSON files of metrics: the values of the keys that evaluations write are checked by type, range and length.

A value may also be a list or a dict of such values, or null. Other keys may hold anything.
"""

from typing import Annotated, Any

from annotated_types import Interval, Len, Predicate

from evaluation.freshness import MEASURED_OF
from evaluation.metrics import CLASSIFICATION_METRICS, DETECTION_METRICS
from utils.errors import InputError
from utils.reading import Count, check_content, read_json, shown

AGAIN = "run the script that wrote it again"
DEEPEST = 20  # levels; our files have at most 6
OTHER_METRICS = ("f1", "oscr", "accepted", "rejected", "open_set_f1", "right")  # beside those of evaluation/metrics.py
RATES = ("called_real", "coverage", "taken", "recognised", "named_right", "unknown", "real_as_real", "real_as_codec")
RATES += ("real_as_unknown",)  # of some scripts; seeds leave them out
REPORT_JSON = "report.json"  # of report.py, which repeats the other files
METRIC_GROUPS = ("class_f1", "calibration_error")  # keys that hold one metric for each class, or before and after
COUNTS = ("files", "clips", "groups", "codecs", "real_clips", "bonafide", "spoof", "draws")


def in_order(ends):
    return ends[0] <= ends[1]


def square(rows):
    return all(len(row) == len(rows) for row in rows)


Percent = Annotated[float, Interval(ge=0, le=100.0001)]  # with errors of rounding
Ends = Annotated[list[Percent], Len(2, 2), Predicate(in_order)]
Confusion = Annotated[list[list[Count]], Predicate(square)]
KINDS = {
    name: Percent for name in (*CLASSIFICATION_METRICS, *DETECTION_METRICS, *OTHER_METRICS, *RATES, *METRIC_GROUPS)
}
KINDS |= {f"{name}_interval": Ends for name in KINDS} | {name: Count for name in COUNTS} | {"confusion": Confusion}


def values_of_kinds(content, kind=None, place=()):
    """Yield (kind, place, value) of each value in `content` whose kind KINDS says."""
    if len(place) > DEEPEST:
        raise InputError("nested too deeply")
    if isinstance(content, dict):
        for key, value in content.items():
            if key != MEASURED_OF:
                yield from values_of_kinds(value, KINDS.get(key, kind), (*place, key))
    elif isinstance(content, list) and not is_value(content, kind):
        inner = None if kind is Count else kind  # another program may list things under such a key
        for number, value in enumerate(content):
            yield from values_of_kinds(value, inner, (*place, str(number)))
    elif kind is not None and content is not None:
        yield kind, ".".join(place), content


def is_value(content, kind):
    """Whether the list `content` is one value of this `kind`, and not a list of values, which may be absent (None)."""
    return kind is Confusion or (
        kind is Ends and not all(item is None or type(item) in (list, dict) for item in content)
    )


def read_metrics(path):
    """The content of a JSON file of metrics, a dict or a list. Raises InputError for damage and for wrong values."""
    content = read_json(path, Any, AGAIN)
    if not isinstance(content, (dict, list)):
        raise InputError(f"{path} holds {shown(content)}, expected an object or a list: {AGAIN}")
    try:
        values = list(values_of_kinds(content))
    except InputError as error:
        raise InputError(f"{path} is {error}: {AGAIN}") from None
    for kind in (Percent, Count, Ends, Confusion):
        check_content({place: value for own, place, value in values if own is kind}, dict[str, kind], path, AGAIN)
    return content
