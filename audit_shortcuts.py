"""Do level, length or silence alone tell the classes of a corpus apart, and does a trained model rely on them?

    python audit_shortcuts.py --data_root st-codecfake --data_alone
    python audit_shortcuts.py --data_root st-codecfake --model_folder models/w2v --json result/audit.json

First the AUC of one number a file (data/measures.py) for each class of the closed-set test against all others, in %: 50
tells nothing, 0 and 100 tell everything. Then the model on clips from which a shortcut is taken away, or of which
nothing else is left: macro F1, the mean probability of the true class, and the share of clips that get the same answer
as untreated. Embeddings are kept in save_feats/treated/, so that a stopped run goes on. report.py draws both tables.
"""

from dataclasses import dataclass

from config_checks import TreatConfig
from utils.errors import run
from utils.flags import opt, parse_flags

SHOWN = {"macro_f1": "macro F1 (%)", "true": "probability of the true class (%)", "same": "same answer (%)"}


@dataclass(frozen=True)
class AuditConfig(TreatConfig):
    data_alone: bool = opt(False, "audit the corpus alone, without a model")


def numbers(path):
    """{measure: number} of an audio file as it is, at its own sample rate."""
    from data.audio import opened, read_mono
    from data.measures import MEASURES

    with opened(path) as file:
        wave, rate = read_mono(file, file.frames), file.samplerate
    return {name: measure(wave, rate) for name, measure in MEASURES.items()}


def tell_apart(config, clips, measured):
    """[{measure, class, auc, auc_interval}] of each measure and each class against all others, in %."""
    import numpy as np

    from data.classes import class_names
    from evaluation.f1 import resample
    from evaluation.intervals import bootstrap_detection, interval

    labels, names = np.array([clip.label for clip in clips]), class_names(config)
    rows = []
    for label in np.unique(labels).tolist():
        sides = {"class": labels == label, "rest": labels != label}
        files = {side: [clips[row].name for row in np.flatnonzero(mask)] for side, mask in sides.items()}
        resampling = resample(config, files)
        for name in measured[0]:
            values = np.array([row[name] for row in measured])
            scores = {side: values[mask] for side, mask in sides.items()}
            auc, replicates = bootstrap_detection(resampling, scores, "class")["rest"]["auc"]
            row = {"measure": name, "class": names[label], "auc": 100 * auc, "auc_interval": interval(replicates)}
            rows.append(row)
    return sorted(rows, key=lambda row: list(measured[0]).index(row["measure"]))


def show_measures(rows):
    """Print the AUC of each measure for each class, and the one farthest from 50 with its interval."""
    from evaluation.f1 import cell, percent
    from utils.console import print_table

    cells, classes = [], dict.fromkeys(row["class"] for row in rows)
    for measure in dict.fromkeys(row["measure"] for row in rows):
        own = [row for row in rows if row["measure"] == measure]
        most = max(own, key=lambda row: abs(row["auc"] - 50))
        cells.append((measure, *(percent(row["auc"]) for row in own), most["class"], cell(most, "auc")))
    print("AUC (%) of one number a file, each class against all others")
    print_table(("measure", *classes, "farthest", "AUC"), cells)


def model_rows(config, clips, table):
    """[{treatment, clips, macro_f1, true, same}] of the model, in %, rates with intervals."""
    from evaluation.f1 import resample
    from evaluation.intervals import in_percent, share_replicates
    from evaluation.treatments import closed_set_f1, treated_outputs

    resampling, rows, untreated = resample(config, {"all": [clip.name for clip in clips]}), [], None
    for name, outputs in treated_outputs(config, table, clips):
        predicted = outputs.logits.argmax(dim=1)
        untreated = predicted if untreated is None else untreated
        same = (predicted == untreated).numpy()
        figures = {
            "macro_f1": closed_set_f1(resampling, outputs),
            "same": (same.mean(), share_replicates(resampling, "all", same)),
        }
        true = outputs.logits.double().softmax(dim=1).gather(1, outputs.labels[:, None]).mean().item()
        rows.append({"treatment": name, "clips": len(clips), "true": 100 * true, **in_percent(figures)})
    return rows


def main(argv=None):
    config = parse_flags(__doc__, argv, AuditConfig)
    from tqdm.contrib.concurrent import thread_map

    from data.laundering import AUDITS
    from evaluation.f1 import cell, print_legend, write_metrics
    from evaluation.treatments import chosen_treatments, test_clips
    from utils.console import print_table
    from utils.hardware import is_first_process

    table, clips = chosen_treatments(config, AUDITS), test_clips(config)
    treated = [] if config.data_alone else model_rows(config, clips, table)
    if not is_first_process():
        return
    paths, workers = [clip.path for clip in clips], max(1, config.num_workers)
    measured = thread_map(numbers, paths, max_workers=workers, desc="measures", unit="file")
    rows = tell_apart(config, clips, measured)
    show_measures(rows)
    if treated:
        print("\nThe model without a shortcut, or with nothing else")
        cells = [(row["treatment"], *(cell(row, name) for name in SHOWN)) for row in treated]
        print_table(("treatment", *SHOWN.values()), cells)
    print_legend(config)
    write_metrics(config, {"measures": rows, "treatments": treated})


if __name__ == "__main__":
    run(main)
