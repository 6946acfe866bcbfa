"""What metrics were measured of: flags, digests of files and of lists of clips. The file of --json holds it with them.

report.py measures again what has changed. Time stamps do not count: a copy may have an older one than the file before.
Each function gives {what: value}, as JSON holds it; the value of a file that is not there is None.
"""

import contextlib
import hashlib
import io
from dataclasses import replace

from data.classes import evaluated_class_names
from data.conditions import CONDITIONS, SHIFTED, conditions_of, paper_columns, select
from engine.bad_audio import BAD_AUDIO_FILE
from engine.score_files import score_files
from evaluation.calibration import CALIBRATION_JSON
from utils.digests import file_digest
from utils.errors import MissingInput

MEASURED_OF = "measured_of"  # its key among the metrics
FLAGS = ("resamples", "cluster", "seed", "condition")
SHOWN = 3  # changes that are named


def digest_of_clips(config, condition):
    """SHA-256 of the names and classes of the clips of a condition; None where its corpus is not at hand."""
    names = tuple(evaluated_class_names(config))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what they leave out is printed when they are measured
            clips = condition.clips(replace(config, class_names=names))
    except MissingInput:
        return None
    text = "".join(f"{clip.name}\0{clip.label}\n" for clip in clips)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


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


def changes(before, now):
    """Why metrics that were measured of `before` are not those of `now`, in words; "" where they are."""
    if not isinstance(before, dict):
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
