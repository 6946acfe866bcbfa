"""EER of spoof detection and F1 of each task of the taxonomy, from result/taxonomy/{bin,aux,dec,vq}_score.txt.

    python evaluate_taxonomy.py --data_root codecfake_plus --dataset_type CoSG --json result/taxonomy/cosg.json
    python evaluate_taxonomy.py --dataset_type CoSG --eval_list CoSG_SEEN.txt --task AUX --score_file scores.txt

Scores are joined to the list by name. The F1 of the papers is weighted by the number of clips of each class, real
speech included; the macro F1 is the mean over the classes that occur.
"""

from config_taxonomy import CORPUS, TaxonomyConfig, TaxonomyEvaluation
from utils.errors import InputError, MissingInput, run
from utils.flags import parse_flags
from utils.settings import Intervals, Results

SHOWN = (*CORPUS, "eval_list", "task", "seed", TaxonomyEvaluation, Results, Intervals)


def score_files(config):
    """{task: its score file}: of --score_file, or of all that lie under --result."""
    from data.taxonomy import TASKS
    from engine.score_files import find_scores
    from engine.taxonomy_score_files import FILE_NAME

    if config.score_file:
        if config.task is None:
            raise InputError(f"--score_file {config.score_file}: pass --task Bin, AUX, DEC or VQ with it")
        return {config.task.lower(): config.score_file}
    found = {}
    for task in TASKS:
        try:
            found[task] = find_scores(config.result, [FILE_NAME.format(task)])
        except MissingInput as error:
            missing = error
    if not found:
        raise missing
    return found


def join(scores, clips, path, partial):
    """Names, Labels and scores [n] of the clips, joined by name; with `partial`, of those that are in both.

    Raises InputError when a clip has no score or a score no clip, unless `partial`, and when none is in both.
    """
    from engine.score_files import pair

    if partial:
        names = {clip.name for clip in clips} & scores.keys()
        print(
            f"{path}: {len(names)} of {len(clips)} clips have a score, {len(scores) - len(names)} scores are of others"
        )
        clips = [clip for clip in clips if clip.name in names]
        scores = {name: scores[name] for name in names}
        if not clips:
            raise InputError(f"{path} has no score of any clip of the list: the two belong to different corpora")
    return [clip.name for clip in clips], *pair({name: (row,) for name, row in scores.items()}, clips, path)


def spoof_detection(names, labels, rows, config):
    """The figures of task bin: EER of scores [n, 1 or 2] for Labels [n], none where one of the two sides is absent."""
    import numpy as np

    from evaluation.f1 import resample
    from evaluation.intervals import detection, interval
    from evaluation.metrics import equal_error_rate

    rows, spoof = np.array(rows), np.array([label.bin for label in labels], dtype=bool)
    counts = {"files": len(rows), "bonafide": int((~spoof).sum()), "spoof": int(spoof.sum())}
    if not all(counts.values()):
        return counts
    score = rows[:, 0]
    if rows.shape[1] == 2 and config.bin_score == "probability":
        score = 1 / (1 + np.exp(rows[:, 1] - rows[:, 0]))  # softmax of [bona fide, spoof]
    rate, threshold = equal_error_rate(score[~spoof], score[spoof])
    names = np.array(names, dtype=object)
    sides = {"bonafide": ~spoof, "spoof": spoof}
    resampling = resample(config, {side: names[members].tolist() for side, members in sides.items()})
    figures = detection(resampling, {side: score[members] for side, members in sides.items()}, "bonafide")
    around = interval(figures["spoof"]["eer"][1])
    return {**counts, "eer": 100 * rate, "eer_interval": around, "threshold": threshold}


def tracing(names, labels, rows, task, config):
    """The figures of a task other than bin: F1 of scores [n, classes] for Labels [n]."""
    import numpy as np

    from data.taxonomy import CLASSES
    from evaluation.f1 import resample
    from evaluation.intervals import f1_replicates, interval
    from evaluation.metrics import accuracy, class_f1, confusion, macro_f1, weighted_f1

    truth, predicted = [getattr(label, task) for label in labels], np.argmax(rows, axis=1)
    classes = CLASSES[task]
    replicates = f1_replicates(resample(config, {"clips": names}), {"clips": (truth, predicted)}, len(classes))
    of_class = dict(zip(classes, map(interval, replicates["class_f1"]), strict=True))
    return {
        "files": len(rows),
        "weighted_f1": 100 * weighted_f1(truth, predicted),
        "weighted_f1_interval": interval(replicates["weighted_f1"]),
        "macro_f1": 100 * macro_f1(truth, predicted),
        "macro_f1_interval": interval(replicates["macro_f1"]),
        "accuracy": 100 * accuracy(truth, predicted),
        "class_f1": dict(zip(classes, (100 * class_f1(truth, predicted, len(classes))).tolist(), strict=True)),
        "class_f1_interval": of_class,
        "confusion": confusion(truth, predicted, len(classes)).tolist(),
    }


def show(task, figures):
    """Print the figures of a task other than bin: F1 of each class, and as what its clips were predicted."""
    from evaluation.f1 import cell, percent, print_table

    print(f"\n{task.upper()} ({figures['files']} files)")
    rows = [
        (name, sum(counts), percent(value, figures["class_f1_interval"][name]), *counts)
        for (name, value), counts in zip(figures["class_f1"].items(), figures["confusion"], strict=True)
    ]
    blank = ("",) * len(rows)
    rows += [(name, "", cell(figures, f"{name}_f1"), *blank) for name in ("weighted", "macro")]
    print_table(("class", "files", "F1 (%)", *(f"as {name}" for name in figures["class_f1"])), rows)


def main(argv=None):
    config = parse_flags(__doc__, argv, TaxonomyConfig, *SHOWN)
    from data.taxonomy import read_codecs
    from data.taxonomy_protocols import read_list
    from engine.taxonomy_score_files import read_scores
    from evaluation.f1 import cell, print_legend, write_metrics

    clips = read_list(config.eval_list, config.dataset_type, config.base_dir, read_codecs(config.codec_table))
    figures = {}
    for task, path in score_files(config).items():
        names, labels, rows = join(read_scores(path, task), clips, path, config.partial)
        if task == "bin":
            found = spoof_detection(names, labels, rows, config)
            rate = "no EER, as all are bona fide" if found["bonafide"] else "no EER, as all are spoofed"
            if "eer" in found:
                rate = f"EER {cell(found, 'eer')} % at {found['threshold']:.4g}"
            print(f"\nBIN ({found['files']} files): {rate}")
        else:
            found = tracing(names, labels, rows, task, config)
            show(task, found)
        figures[task] = {"scores": str(path), **found}
    print_legend(config)
    write_metrics(config, {"dataset": config.dataset_type, "list": str(config.eval_list), "tasks": figures})


if __name__ == "__main__":
    run(main)
