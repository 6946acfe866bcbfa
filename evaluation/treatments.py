"""A model on treated speech, for the audit of shortcuts and the laundering matrix."""

import hashlib
import json

import numpy as np
import soundfile
import torch

from data.conditions import CONDITIONS
from data.laundering import Treated
from data.protocols import check_audio
from engine.bad_audio import report_bad_audio
from engine.feature_files import read_features, write_features
from engine.inference import compile_model, describe_outputs, infer, make_accelerator
from engine.outputs import finite_rows
from evaluation.freshness import lists_of, of_files
from evaluation.intervals import bootstrap_classification
from models.building import adopt_run_settings, load_model
from models.weights import checkpoint_in
from ood_detectors.base import Outputs
from utils.errors import InputError
from utils.files import check_writable
from utils.model_files import CALIBRATION_JSON


def chosen_treatments(config, table):
    """The rows of `table` that --treatment selects, and always the first one, untreated speech.

    Raises InputError for an unknown treatment.
    """
    unknown = set(config.treatment) - {"all", *table}
    if unknown:
        raise InputError(f"--treatment {' '.join(sorted(unknown))}: expected all or some of {', '.join(table)}")
    wanted = table if "all" in config.treatment else [next(iter(table)), *config.treatment]
    return {name: table[name] for name in table if name in wanted}


def closed_set():
    """The Condition of the closed-set test."""
    return next(row for row in CONDITIONS if row.suite == "id")


def of_treated_clips(config, with_model=True):
    """What metrics of treated clips are measured of: the lists of the closed set and, `with_model`, the model."""
    folder = config.model_folder
    model = [checkpoint_in(folder), folder / CALIBRATION_JSON] if with_model else []
    return of_files(config, [*lists_of(config, closed_set()), *model])


def closed_set_clips(config):
    """The clips of the closed-set test, those that --max_clips draws.

    Clips that tracing skipped (--on_bad_audio skip) are left out. Raises InputError for a broken corpus.
    """
    condition = closed_set()
    bad = report_bad_audio(config.result, condition.name)
    clips = [clip for clip in condition.clips(config) if clip.name not in bad]
    check_audio(clips)
    return drawn_clips(clips, config)


def drawn_clips(clips, config):
    """`clips`; with --max_clips only so many of each class, drawn by --seed, in their order."""
    order = np.random.default_rng(config.seed).permutation(len(clips))
    kept = []
    for label in {clip.label for clip in clips}:
        members = [position for position in order.tolist() if clips[position].label == label]
        kept += members[: config.max_clips or len(members)]
    return [clips[position] for position in sorted(kept)]


def read_kept_outputs(path):
    """The Outputs in the file of an earlier run; None where no file can be read."""
    try:
        return read_features(path)
    except InputError:
        return None


def treated_outputs(config, table, clips):
    """(name, Outputs) of `clips` after each treatment of `table`.

    save_feats/treated/ keeps them: the outputs of an earlier run with the same model, clips and flags are read.
    Raises InputError when the outputs of a clip are not finite.
    """
    check_writable(config.save_feats)
    config = adopt_run_settings(config.model_folder, config)
    accelerator = make_accelerator(config)
    model = compile_model(load_model(config.model_folder, config).to(accelerator.device), config)
    described = describe_outputs(model, Treated(clips, None, config.seed), config)
    labels = torch.tensor([clip.label for clip in clips])
    names = [clip.name for clip in clips]
    for name, treatment in table.items():
        made_of = [described, name, getattr(treatment, "keywords", None), soundfile.__libsndfile_version__]
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
        path = config.save_feats / "treated" / f"{name.replace(' ', '-')}-{key}.pt"
        outputs = read_kept_outputs(path)
        if outputs is None:
            data = Treated(clips, treatment, config.seed)
            outputs = Outputs(*infer(model, data, config, accelerator, name), labels, None, names)
            finite = finite_rows(outputs[:2])
            if not finite.all():
                first = clips[int(finite.int().argmin())].path
                raise InputError(f"{first}: the output of the model is not finite after the treatment {name}")
            if accelerator.is_main_process:
                write_features(path, *outputs[:3], names)
            accelerator.wait_for_everyone()
        yield name, outputs
    accelerator.end_training()


def closed_set_f1(resampling, outputs):
    """(macro F1, its replicates [resamples]) of Outputs whose clips are the set `all` of the Resampling."""
    truth = outputs.labels.numpy()
    predicted = outputs.logits.argmax(dim=1).numpy()
    measured = bootstrap_classification(resampling, {"all": (truth, predicted)}, outputs.logits.shape[1])
    return measured["macro_f1"]
