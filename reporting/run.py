"""The run that a report is about: its training, and a detector's scores of its embeddings."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from engine.run_state import read_log
from evaluation.detection import KNOWN_SET, read_sets, score_sets
from models.layer_mix import layer_shares
from models.weights import checkpoint_in, read_checkpoint, read_run, run_file
from ood_detectors import Outputs
from utils.errors import InputError, MissingInput
from utils.model_files import LOG, RUN_JSON, SHARED_CONFIG


class ReportedRun(NamedTuple):
    """What sections show of a run beside its metrics."""

    config: object  # of report.py
    training: dict  # content of args.json; empty where there is none
    log: list  # rows of log.jsonl; empty where there is none

    @property
    def model(self):
        """The architecture, None where it is not known."""
        return self.training.get("config", {}).get("model")


class ScoredSets(NamedTuple):
    """Embeddings of a run, and the scores that a detector gives them, higher for known sources."""

    train: Outputs
    known: Outputs  # of the known test clips
    unseen: dict[str, Outputs]  # by condition
    known_scores: np.ndarray  # [n]
    unseen_scores: dict[str, np.ndarray]  # [m] by condition


def read_training(folder):
    """(what read_run() gives, rows of log.jsonl) of the model in `folder`; a shared model has no rows.

    Raises MissingInput when a file is missing, InputError when it is damaged.
    """
    run = read_run(folder)
    about = run_file(folder)
    if run and about.name == SHARED_CONFIG:
        return run, []
    log = folder / LOG
    for path, is_there in ((about, run), (log, log.is_file())):
        if not is_there:
            raise MissingInput(f"{path} is missing: give the folder of the trained model as --model_folder")
    return run, read_log(log)


def read_layer_shares(folder, training):
    """layer_shares() of the model in `folder`; {} where its front end gives one hidden state.

    `training` is the content of its args.json. Raises InputError when its checkpoint is missing or damaged.
    """
    layers = (training.get("front_end") or {}).get("layers", ())
    if len(layers) < 2:
        return {}
    path = checkpoint_in(folder)
    state = read_checkpoint(path)
    try:
        shares = layer_shares(state, layers)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not shares:
        raise InputError(f"{path} lacks the weights of the layers that {RUN_JSON} names")
    return shares


def read_scored_sets(config, detector):
    """The ScoredSets of every condition of which there are embeddings. Raises InputError as read_sets() does."""
    train, known, unseen = read_sets(replace(config, skip_missing=True, condition=("all",)))
    scores = score_sets(detector, train, {KNOWN_SET: known, **unseen})
    known_scores = scores.pop(KNOWN_SET)
    return ScoredSets(train, known, unseen, known_scores, scores)
