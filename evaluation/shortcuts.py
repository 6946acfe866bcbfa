"""Shortcuts of a corpus: simple measures that separate its classes, and whether a model depends on them."""

import numpy as np
from tqdm.contrib.concurrent import thread_map

from data.audio import BLOCK, mono_blocks, opened
from data.classes import class_names
from data.laundering import AUDITS
from data.measures import MEASURES
from engine.run_folder import with_names_of_run
from evaluation.freshness import MEASURED_OF
from evaluation.intervals import bootstrap_detection, in_percent, interval, share_replicates
from evaluation.tables import make_resampling, metric_cell, percent, print_legend
from evaluation.treatments import chosen_treatments, closed_set_clips, closed_set_f1, of_treated_clips, treated_outputs
from utils.console import print_table
from utils.hardware import is_first_process

AUDIT_COLUMNS = {  # metric of the model after a treatment: the head of its column
    "macro_f1": "macro F1 (%)",
    "true": "probability of the true class (%)",
    "same": "same answer (%)",
}


def measure_file(path):
    """{measure: number} of an audio file at its own sample rate. Raises InputError for a file that cannot be read."""
    with opened(path) as file:
        wave = np.concatenate(list(mono_blocks(file, BLOCK)))
        rate = file.samplerate
    return {name: measure(wave, rate) for name, measure in MEASURES.items()}


def measure_separation(config, clips):
    """[{measure, class, auc, auc_interval}] in %: how well each measure separates each class of `clips` from the rest.

    50: the measure says nothing about the class; 0 or 100: it says everything.
    """
    paths = [clip.path for clip in clips]
    workers = max(1, config.num_workers)
    measured = thread_map(measure_file, paths, max_workers=workers, desc="measures", unit="file")
    labels = np.array([clip.label for clip in clips])
    names = class_names(config)
    rows = []
    for label in np.unique(labels).tolist():
        sides = {"class": labels == label, "rest": labels != label}
        files = {side: [clips[row].name for row in np.flatnonzero(mask)] for side, mask in sides.items()}
        resampling = make_resampling(config, files)
        for name in MEASURES:
            values = np.array([of_file[name] for of_file in measured])
            scores = {side: values[mask] for side, mask in sides.items()}
            auc, replicates = bootstrap_detection(resampling, scores, "class")["rest"]["auc"]
            row = {"measure": name, "class": names[label], "auc": 100 * auc, "auc_interval": interval(replicates)}
            rows.append(row)
    return sorted(rows, key=lambda row: list(MEASURES).index(row["measure"]))


def measure_without_shortcuts(config, clips, table):
    """[{treatment, clips, macro_f1, true, same}] in %: the model after each treatment of `table`, rates with intervals.

    `true` is the mean probability of the true class, `same` the share of clips with the same answer as untreated.
    """
    resampling = make_resampling(config, {"all": [clip.name for clip in clips]})
    rows = []
    untreated = None
    for name, outputs in treated_outputs(config, table, clips):
        predicted = outputs.logits.argmax(dim=1)
        untreated = predicted if untreated is None else untreated
        same = (predicted == untreated).numpy()
        metrics = {
            "macro_f1": closed_set_f1(resampling, outputs),
            "same": (same.mean(), share_replicates(resampling, "all", same)),
        }
        true = outputs.logits.double().softmax(dim=1).gather(1, outputs.labels[:, None]).mean().item()
        rows.append({"treatment": name, "clips": len(clips), "true": 100 * true, **in_percent(metrics)})
    return rows


def measure_shortcuts(config):
    """{"measures", "treatments"}: the rows of measure_separation(), then those of measure_without_shortcuts().

    With --data_alone no model runs, and there are no treatments. Of several processes, only the first one gets the
    metrics; the others get None. Raises InputError for an unknown treatment and for files that cannot be used.
    """
    config = with_names_of_run(config)
    table = chosen_treatments(config, AUDITS)
    measured_of = of_treated_clips(config, with_model=not config.data_alone)
    clips = closed_set_clips(config)
    treated = [] if config.data_alone else measure_without_shortcuts(config, clips, table)
    if not is_first_process():
        return None
    return {"measures": measure_separation(config, clips), "treatments": treated, MEASURED_OF: measured_of}


def print_shortcuts(metrics, config):
    """Print what measure_shortcuts() gives: a table of the measures, and one of the model where there is one."""
    measures = metrics["measures"]
    classes = dict.fromkeys(row["class"] for row in measures)
    rows = []
    for measure in dict.fromkeys(row["measure"] for row in measures):
        of_measure = [row for row in measures if row["measure"] == measure]
        farthest = max(of_measure, key=lambda row: abs(row["auc"] - 50))
        values = (percent(row["auc"]) for row in of_measure)
        rows.append((measure, *values, farthest["class"], metric_cell(farthest, "auc")))
    print("AUC (%) of one number per file, each class against all others")
    print_table(("measure", *classes, "farthest", "AUC"), rows)
    if metrics["treatments"]:
        print("\nThe model without a shortcut, or with nothing else")
        rows = [
            (row["treatment"], *(metric_cell(row, name) for name in AUDIT_COLUMNS)) for row in metrics["treatments"]
        ]
        print_table(("treatment", *AUDIT_COLUMNS.values()), rows)
    print_legend(config)
