"""What metrics were measured of: flags, digests of files and of lists of clips. The file of --json holds it with them.

report.py measures again what has changed, and leaves out what it cannot measure. Time stamps do not count: a copy may
have an older one than the file before. Each of_...() gives {what: value}, as JSON holds it; the value of a file that is
not there is None.
"""

import contextlib
import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path

from data.classes import evaluated_class_names
from data.conditions import CONDITIONS, SHIFTED, conditions_of, paper_columns, select
from engine.bad_audio import BAD_AUDIO_FILE
from engine.score_files import score_files
from utils.digests import file_digest
from utils.errors import NOT_UTF8, MissingInput
from utils.model_files import CALIBRATION_JSON

MEASURED_OF = "measured_of"  # its key among the metrics
FLAGS = ("resamples", "cluster", "seed", "condition")
ITSELF = "the file itself"  # the digest of the metrics
FILES = "files"  # the digests of what metrics are measured of that report.py cannot measure: see of_files()
SHOWN = 3  # changes that are named


def clips_at_hand(config, *conditions):
    """The clips of `conditions`; None where a corpus is not at hand."""
    config = replace(config, class_names=tuple(evaluated_class_names(config)))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what they leave out is printed when they are measured
            return [clip for condition in conditions for clip in condition.clips(config)]
    except MissingInput:
        return None


def digest_of_clips(config, condition):
    """SHA-256 of the names and classes of the clips of a condition; None where its corpus is not at hand."""
    clips = clips_at_hand(config, condition)
    if clips is None:
        return None
    text = "".join(f"{clip.name}\0{clip.label}\n" for clip in clips)
    return hashlib.sha256(text.encode(errors=NOT_UTF8)).hexdigest()


def of_run(config, *flags):
    """What all metrics depend on; `flags` are others than FLAGS."""
    values = {f"--{name}": getattr(config, name) for name in (*FLAGS, *flags)}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    bad = {BAD_AUDIO_FILE: file_digest(config.result / BAD_AUDIO_FILE)}
    return values | {"classes": evaluated_class_names(config), "published models": list(paper_columns(config))} | bad


def of_scores(config, conditions):
    """The score files of `conditions`."""
    paths = [path for row in conditions for path in score_files(config.result, row.result)]
    return {path.relative_to(config.result).as_posix(): file_digest(path) for path in paths}


def of_features(config, *suites):
    """The embeddings of the conditions of `suites`, and of the unseen ones."""
    rows = [*(row for row in CONDITIONS if row.suite in suites), *select(config, "ood")]
    return {row.features: file_digest(config.save_feats / row.features) for row in rows}


def of_known_sources(config, suite):
    """What the metrics of the closed set (suite `id`) and of other conditions are measured of."""
    rows = select(config, suite) if suite != "id" else [row for row in CONDITIONS if row.suite == suite]
    clips = {f"list of clips of {row.name}": digest_of_clips(config, row) for row in rows}
    return of_run(config) | of_scores(config, rows) | clips


def of_detection(config):
    """What the metrics of detect_unseen() are measured of."""
    return of_run(config, "ood_detector_name") | of_features(config, "train", "id")


def of_open_set(config):
    """What the metrics of measure_open_set() are measured of; calibration.json has the digest of its tensors."""
    calibration = {CALIBRATION_JSON: file_digest(config.model_folder / CALIBRATION_JSON)}
    scores = of_scores(config, conditions_of(config, *SHIFTED))
    return of_run(config, "ood_detector_name") | of_features(config, "id") | scores | calibration


# ---- metrics that report.py cannot measure ---------------------------------------------------------------------------


def of_files(config, paths):
    """The digests of files, by their paths from the folder of --json, so that a run may move; {} without --json."""
    digests = {path: file_digest(path) for path in paths} if config.json else {}
    return {FILES: {path_from(config.json.parent, path): digest for path, digest in digests.items() if digest}}


def path_from(folder, path):
    """`path` as text, seen from `folder`; as it is where it lies on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(Path(path).absolute())


def lists_of(config, *conditions):
    """The files that name the clips of `conditions`; none of a corpus that is not at hand."""
    clips = clips_at_hand(config, *conditions) or []
    return sorted({clip.source.rpartition(":")[0] for clip in clips if clip.source})


def digest_of_metrics(metrics):
    """SHA-256 of the dict `metrics`, less what they were measured of."""
    own = {name: value for name, value in metrics.items() if name != MEASURED_OF}
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()


def with_own_digest(metrics):
    """`metrics` that show, when they are read, that nobody has changed them."""
    return metrics | {MEASURED_OF: metrics.get(MEASURED_OF, {}) | {ITSELF: digest_of_metrics(metrics)}}


def is_edited(metrics):
    """Whether somebody has changed the `metrics` of a JSON file; False where it has no digest, as of older versions."""
    measured_of = metrics.get(MEASURED_OF) if isinstance(metrics, dict) else None
    own = measured_of.get(ITSELF) if isinstance(measured_of, dict) else None
    return own is not None and own != digest_of_metrics(metrics)


def state_of(path, metrics, model_folder):
    """(why the `metrics` in the JSON file `path` are out of date, "" where they are not; what cannot be checked).

    Both are text. A file of another folder that is not there is not checked; calibration.json is that of
    `model_folder`, where there is one.
    """
    if is_edited(metrics):
        return f"{ITSELF} has changed", ""
    before = metrics.get(MEASURED_OF) if isinstance(metrics, dict) else None
    if not isinstance(before, dict) or not isinstance(before.get(FILES), dict):
        return "", "it does not say what it was measured of, so it may be older than the files of this run"
    now = {}
    absent = []
    for name, digest in before[FILES].items():
        file = path.parent / name
        if file.name == CALIBRATION_JSON and (model_folder / CALIBRATION_JSON).is_file():
            file = model_folder / CALIBRATION_JSON
        now[name] = file_digest(file)
        if now[name] is None and (name.startswith("..") or Path(name).is_absolute()):
            now[name] = digest
            absent.append(name)
    return changes(before[FILES], now), f"not checked, because it is not there: {', '.join(absent)}" if absent else ""


# ---- what has changed ------------------------------------------------------------------------------------------------


def changes(before, now):
    """Why metrics that were measured of `before` are not those of `now`, in words; "" where they are."""
    if not isinstance(before, dict) or (ITSELF in now and ITSELF not in before):  # of an older version
        return "it does not say what it was measured of"
    found = [describe_change(name, before.get(name), now.get(name)) for name in {**now, **before}]
    found = [words for words in found if words]
    more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def describe_change(name, before, now):
    """How the value of `name` has changed, in words; "" where it has not."""
    if before == now:
        return ""
    if name.startswith("--"):
        return f"{name} was {before}, now {now}"
    return f"{name} is new" if before is None else f"{name} is gone" if now is None else f"{name} has changed"
