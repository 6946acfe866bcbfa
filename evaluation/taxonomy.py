"""EER of spoof detection and F1 of each task of the taxonomy, from score files joined to a list by name."""

import numpy as np

from data.taxonomy import TASKS, TAXONOMY_CLASSES, read_codecs
from data.taxonomy_protocols import read_list
from engine.score_files import find_score_file, pair_by_name
from engine.taxonomy_score_files import TASK_FILE, read_task_scores
from evaluation.freshness import MEASURED_OF, of_files
from evaluation.intervals import bootstrap_classification, bootstrap_detection, in_percent, interval
from evaluation.metrics import accuracy, confusion, equal_error_rate, reported_metrics
from evaluation.tables import make_resampling, metric_cell, percent, print_legend
from utils.console import print_table
from utils.errors import InputError, MissingInput


def taxonomy_score_files(config):
    """{task: its score file}: that of --score_file, or all under --result. Raises MissingInput when there is none."""
    if config.score_file:
        if config.task is None:
            raise InputError(f"--score_file {config.score_file}: pass --task Bin, AUX, DEC or VQ with it")
        return {config.task.lower(): config.score_file}
    paths = {}
    for task in TASKS:
        try:
            paths[task] = find_score_file(config.result, [TASK_FILE.format(task)])
        except MissingInput as error:
            missing = error
    if not paths:
        raise missing
    return paths


def join_scores(scores, clips, path, partial):
    """(names, Labels, scores), all [n], of the clips, joined by name; with `partial`, of the clips that are in both.

    Raises InputError when a clip has no score or a score has no clip. With `partial`, it is raised only when no clip is
    in both.
    """
    if partial:
        names = {clip.name for clip in clips} & scores.keys()
        print(
            f"{path}: {len(names)} of {len(clips)} clips have a score, {len(scores) - len(names)} scores are of others"
        )
        clips = [clip for clip in clips if clip.name in names]
        scores = {name: scores[name] for name in names}
        if not clips:
            raise InputError(f"{path} has no score of any clip of the list: the two belong to different corpora")
    return [clip.name for clip in clips], *pair_by_name({name: (row,) for name, row in scores.items()}, clips, path)


def measure_spoof_detection(names, labels, rows, config):
    """The metrics of task bin: EER of scores [n, 1 or 2] for Labels [n]. There is no EER where one side is absent."""
    rows = np.array(rows)
    spoof = np.array([label.bin for label in labels], dtype=bool)
    counts = {"files": len(rows), "bonafide": int((~spoof).sum()), "spoof": int(spoof.sum())}
    if not all(counts.values()):
        return counts
    score = rows[:, 0]
    if rows.shape[1] == 2 and config.bin_score == "probability":
        score = 1 / (1 + np.exp(rows[:, 1] - rows[:, 0]))  # softmax of [bona fide, spoof]
    rate, threshold = equal_error_rate(score[~spoof], score[spoof])
    names = np.array(names, dtype=object)
    sides = {"bonafide": ~spoof, "spoof": spoof}
    resampling = make_resampling(config, {side: names[members].tolist() for side, members in sides.items()})
    scores = {side: score[members] for side, members in sides.items()}
    around = interval(bootstrap_detection(resampling, scores, "bonafide")["spoof"]["eer"][1])
    return {**counts, "eer": 100 * rate, "eer_interval": around, "threshold": threshold}


def measure_task(names, labels, rows, task, config):
    """The metrics of a task other than bin: F1 of scores [n, classes] for Labels [n]."""
    classes = TAXONOMY_CLASSES[task]
    truth = [getattr(label, task) for label in labels]
    predicted = np.argmax(rows, axis=1)
    resampling = make_resampling(config, {"clips": names})
    measured = bootstrap_classification(resampling, {"clips": (truth, predicted)}, len(classes))
    class_values, class_replicates = measured.pop("class_f1")
    metrics = {"files": len(rows)}
    for name in reported_metrics("taxonomy"):
        metrics |= in_percent({name: measured[name]})
    return metrics | {
        "accuracy": 100 * accuracy(truth, predicted),
        "class_f1": dict(zip(classes, (100 * class_values).tolist(), strict=True)),
        "class_f1_interval": dict(zip(classes, map(interval, class_replicates), strict=True)),
        "confusion": confusion(truth, predicted, len(classes)).tolist(),
    }


def measure_taxonomy(config):
    """The metrics that evaluate_taxonomy.py writes with --json: those of each task that has a score file.

    Raises InputError for a broken list or score file and when the two belong to different corpora, MissingInput when
    there is no score file.
    """
    clips = read_list(config.eval_list, config.dataset_type, config.base_dir, read_codecs(config.codec_table))
    paths = taxonomy_score_files(config)
    lists = [path for path in (config.eval_list, config.codec_table) if path]
    measured_of = of_files(config, [*paths.values(), *lists])
    tasks = {}
    for task, path in paths.items():
        names, labels, rows = join_scores(read_task_scores(path, task), clips, path, config.partial)
        if task == "bin":
            metrics = measure_spoof_detection(names, labels, rows, config)
        else:
            metrics = measure_task(names, labels, rows, task, config)
        tasks[task] = {"scores": str(path), **metrics}
    return {"dataset": config.dataset_type, "list": str(config.eval_list), "tasks": tasks, MEASURED_OF: measured_of}


def print_spoof_detection(metrics):
    """Print the EER of task bin, or why there is none."""
    if "eer" in metrics:
        rate = f"EER {metric_cell(metrics, 'eer')} % at {metrics['threshold']:.4g}"
    elif metrics["bonafide"]:
        rate = "no EER, as all are bona fide"
    else:
        rate = "no EER, as all are spoofed"
    print(f"\nBIN ({metrics['files']} files): {rate}")


def print_task(task, metrics):
    """Print the metrics of a task other than bin: F1 of each class, and the classes that its clips were taken for."""
    print(f"\n{task.upper()} ({metrics['files']} files)")
    rows = [
        (name, sum(counts), percent(value, metrics["class_f1_interval"][name]), *counts)
        for (name, value), counts in zip(metrics["class_f1"].items(), metrics["confusion"], strict=True)
    ]
    blank = ("",) * len(rows)
    rows += [
        (metric.title, "", metric_cell(metrics, name), *blank) for name, metric in reported_metrics("taxonomy").items()
    ]
    print_table(("class", "files", "F1 (%)", *(f"as {name}" for name in metrics["class_f1"])), rows)


def print_taxonomy(metrics, config):
    """Print the metrics of measure_taxonomy(): the EER of spoof detection, and a table for each task."""
    for task, measured in metrics["tasks"].items():
        if task == "bin":
            print_spoof_detection(measured)
        else:
            print_task(task, measured)
    print_legend(config)
