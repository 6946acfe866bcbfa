"""Do level, length or silence alone tell the classes of a corpus apart, and does a trained model rely on them?

    python audit_shortcuts.py --data_root st-codecfake --data_alone
    python audit_shortcuts.py --data_root st-codecfake --model_folder models/w2v --json result/audit.json

First the AUC of one number a file (data/measures.py) for each class of the closed-set test against all others, in %: 50
tells nothing, 0 and 100 tell everything. Then the model's macro F1 on clips from which a shortcut is taken away, or of
which nothing else is left, and the share of clips that get the same answer as untreated. Embeddings are kept in
save_feats/treated/, so that a stopped run goes on; --figure draws the second table, or with --data_alone the first.
"""

from dataclasses import dataclass

from config import opt, parse_config
from config_checks import TreatConfig
from errors import run


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

    from evaluation import resample
    from intervals import detection, interval

    labels, rows = np.array([clip.label for clip in clips]), []
    for label in sorted(set(labels.tolist())):
        sides = {"class": labels == label, "rest": labels != label}
        names = {
            side: [clip.name for clip, one in zip(clips, mask, strict=True) if one] for side, mask in sides.items()
        }
        resampling = resample(config, names)
        for name in measured[0]:
            values = np.array([row[name] for row in measured])
            scores = {side: values[mask] for side, mask in sides.items()}
            auc, replicates = detection(resampling, scores, "class")["rest"]["auc"]
            rows.append({"measure": name, "class": label, "auc": 100 * auc, "auc_interval": interval(replicates)})
    return sorted(rows, key=lambda row: list(measured[0]).index(row["measure"]))


def show_measures(rows, names):
    """Print the AUC of each measure for each class, and the one farthest from 50 with its interval."""
    from evaluation import cell, percent, print_table

    cells = []
    for measure in dict.fromkeys(row["measure"] for row in rows):
        own = [row for row in rows if row["measure"] == measure]
        most = max(own, key=lambda row: abs(row["auc"] - 50))
        cells.append((measure, *(percent(row["auc"]) for row in own), names[most["class"]], cell(most, "auc")))
    print("\nAUC (%) of one number a file, each class against all others")
    print_table(("measure", *(names[label] for label in dict.fromkeys(r["class"] for r in rows)), "most", "AUC"), cells)


def model_rows(config, clips):
    """[{treatment, macro_f1, same}] of the model, in % with intervals."""
    from data.laundering import AUDITS
    from evaluate_open_set import in_percent
    from evaluation import resample
    from intervals import f1_replicates, share_replicates
    from metrics import macro_f1
    from treatments import chosen_treatments, treated_outputs

    resampling, rows, first = resample(config, {"all": [clip.name for clip in clips]}), [], None
    for name, outputs in treated_outputs(config, chosen_treatments(config, AUDITS), clips):
        truth, predicted = outputs.labels.numpy(), outputs.logits.argmax(dim=1).numpy()
        first = predicted if first is None else first
        replicates = f1_replicates(resampling, {"all": (truth, predicted)}, outputs.logits.shape[1])["macro_f1"]
        same = predicted == first
        figures = {
            "macro_f1": (macro_f1(truth, predicted), replicates),
            "same": (same.mean(), share_replicates(resampling, "all", same)),
        }
        rows.append({"treatment": name, "clips": len(truth), **in_percent(figures)})
    return rows


def main(argv=None):
    config = parse_config(__doc__, argv, AuditConfig)
    from tqdm import tqdm

    from data.conditions import class_names
    from evaluation import cell, print_legend, print_table, write_figures
    from treatments import draw, test_clips

    clips, names = test_clips(config), class_names(config)
    measured = [numbers(clip.path) for clip in tqdm(clips, desc="measures", unit="file")]
    rows = tell_apart(config, clips, measured)
    show_measures(rows, names)
    treated = [] if config.data_alone else model_rows(config, clips)
    if treated:
        print("\nThe model without a shortcut, or with nothing else")
        cells = [(row["treatment"], row["clips"], cell(row, "macro_f1"), cell(row, "same")) for row in treated]
        print_table(("treatment", "clips", "macro F1 (%)", "same answer (%)"), cells)
    print_legend(config)
    write_figures(config, {"measures": rows, "treatments": treated})
    if config.figure and treated:
        draw(config.figure, treated, {"macro F1": "macro_f1", "same answer": "same"}, f"{len(clips)} test clips")
    elif config.figure:
        bars = [{**row, "treatment": f"{row['measure']}, {names[row['class']]}"} for row in rows]
        draw(config.figure, bars, {"AUC": "auc"}, "one number a file, each class against the others")


if __name__ == "__main__":
    run(main)
