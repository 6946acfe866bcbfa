"""Detect clips of unseen codecs from saved embeddings: AUC, FPR95 and EER in % beside the paper's Table 5.

    python ood_detector_e2e.py --save_feats save_feats --json result/ood.json
    python ood_detector_e2e.py --ood_detector_name NSD --condition single7 multi8 --skip_missing

Reads traindict.pt, evaldict_id.pt and one evaldict_*.pt a condition (see source_tracing_id.py, source_tracing_ood.py).
The known test clips are the target of each figure; every clip of a condition counts as unseen, whatever its label.
Rows `from` and `to` are the ends of the 95 % bootstrap intervals; their resamples are the same for every detector.

Conditions: single7 multi8 voc diff_config diff_source.
Detectors: msp energy knn mahalanobis NSD maxlogit kl ssd nnguide relation vim msp_log gen klm mahalanobis++ rmds fdbd
neco she.
"""

from config import EVALUATION, Config
from utils.errors import InputError, MissingInput, run
from utils.flags import parse_flags

KNOWN = "known"  # the set of known test clips, beside those of the conditions
FIGURES = ("auc", "fpr95", "eer")


def chosen(name, detectors):
    """The detectors that --ood_detector_name stands for. Raises InputError listing them for an unknown one."""
    if name != "all" and name not in detectors:
        raise InputError(f"--ood_detector_name {name}: expected all or one of {', '.join(detectors)}")
    return list(detectors) if name == "all" else [name]


def chosen_one(name):
    """The detector that --ood_detector_name stands for where one alone is shown: for `all`, that of the verdicts."""
    from evaluation.calibration import DEFAULT
    from ood_detectors import DETECTORS

    return DEFAULT if name == "all" else chosen(name, DETECTORS)[0]


def read_sets(config, train=None):
    """Outputs of the training set, unless given, of the known test set, and {condition name: Outputs} of the unseen.

    Raises InputError for a broken or missing feature file; with --skip_missing, absent conditions are passed over.
    """
    from data.conditions import CONDITIONS, select
    from engine.bad_audio import report_bad_audio
    from engine.feature_files import read_features

    files = {row.suite: config.save_feats / row.features for row in CONDITIONS if row.suite in ("train", "id")}
    train = train or read_features(files["train"])
    known, unseen = read_features(files["id"], train, "source_tracing_id.py"), {}
    for condition in select(config, "ood"):
        try:
            unseen[condition.name] = read_features(config.save_feats / condition.features, train)
        except MissingInput as absent:
            if not config.skip_missing:
                raise MissingInput(f"{absent} (condition {condition.name}; or pass --skip_missing)") from None
            print(f"skipped {condition.name}: {absent}")
    for name in ("train", "id", *unseen):
        report_bad_audio(config.result, name)
    if not unseen:
        raise MissingInput(f"{config.save_feats} has no feature file of an unseen condition: nothing to detect")
    return train, known, unseen


def score_sets(name, train, sets):
    """{set: scores [n]} of {set: Outputs} by a detector fitted to the Outputs `train`."""
    from ood_detectors import DETECTORS

    try:
        detector = DETECTORS[name]().fit(train)
        return {which: detector.score(outputs).numpy() for which, outputs in sets.items()}
    except InputError as error:
        raise InputError(f"detector {name}: {error}") from None


def measure(scores, resampling):
    """The figures of a detector with `scores` of the sets, and the replicates of three: {condition: {figure: ...}}.

    Figures: auc, fpr95, eer with their intervals, fpr95_achievable, all in %, and eer_threshold.
    """
    from evaluation.intervals import detection, interval
    from evaluation.metrics import achievable_fpr95, equal_error_rate

    target, figures, replicates = scores[KNOWN], {}, {}
    for condition, found in detection(resampling, scores, KNOWN).items():
        row = figures[condition] = {}
        for name, (value, _) in found.items():
            row[name] = 100 * value
        row["fpr95_achievable"] = 100 * achievable_fpr95(target, scores[condition])
        row["eer_threshold"] = equal_error_rate(target, scores[condition])[1]
        row |= {f"{name}_interval": interval(around) for name, (_, around) in found.items()}
        replicates[condition] = {name: around for name, (_, around) in found.items()}
    return figures, replicates


def table_row(title, triples):
    """`title`, then AUC, FPR95 and EER of each condition and their average."""
    average = tuple(sum(column) / len(triples) for column in zip(*triples, strict=True))
    return title, *(" ".join(f"{value:6.2f}" for value in triple) for triple in (*triples, average))


def interval_rows(replicates):
    """The rows `from` and `to` beneath a detector's row; none without resamples."""
    from evaluation.intervals import interval

    average = {figure: sum(row[figure] for row in replicates.values()) / len(replicates) for figure in FIGURES}
    ends = [[interval(row[figure]) for figure in FIGURES] for row in (*replicates.values(), average)]
    if None in ends[0]:
        return []
    return [
        (title, *(" ".join(f"{around[end]:6.2f}" for around in triple) for triple in ends))
        for end, title in enumerate(("  from", "  to"))
    ]


def main(argv=None):
    config = parse_flags(__doc__, argv, Config, *EVALUATION, "save_feats", "ood_detector_name")
    from tqdm import tqdm

    from evaluation.f1 import print_legend, print_table, resample, write_metrics
    from ood_detectors import DETECTORS, PUBLISHED

    names = chosen(config.ood_detector_name, DETECTORS)
    train, known, unseen = read_sets(config)
    sets = {KNOWN: known, **unseen}
    resampling = resample(config, {which: outputs.names or len(outputs.logits) for which, outputs in sets.items()})
    rows, figures, notes = [], [], []
    for name in tqdm(names, desc="detectors", unit="detector"):
        measured, replicates = measure(score_sets(name, train, sets), resampling)
        paper = PUBLISHED.get(name)
        rows.append(table_row(name, [[row[figure] for figure in FIGURES] for row in measured.values()]))
        rows += interval_rows(replicates)
        if paper:
            rows.append(table_row("  paper W2V2-AASIST", [paper[condition] for condition in measured]))
        for condition, figure in measured.items():
            beside = dict(zip(FIGURES, paper[condition], strict=True)) if paper else None
            figures.append({"detector": name, "condition": condition, **figure, "paper": beside})
            if abs(figure["fpr95"] - figure["fpr95_achievable"]) > 0.1:
                notes.append(f"{name} on {condition} {figure['fpr95_achievable']:.2f}")
    print(f"AUC, FPR95 and EER in %: {len(train.logits)} training clips, {len(known.logits)} known test clips")
    print_table(("detector", *(f"{name} ({len(outputs.logits)})" for name, outputs in unseen.items()), "average"), rows)
    print(
        "FPR95: unseen clips accepted with 95 % of the known; OpenOOD's is known clips rejected with 95 % of the unseen"
    )
    print_legend(config, "from, to")
    if notes:
        print(
            "These FPR95 lie between two thresholds, for ties or few clips; the lowest attainable:", *notes, sep="\n  "
        )
    clips = {"train": len(train.logits)} | {which: len(outputs.logits) for which, outputs in sets.items()}
    write_metrics(config, {"clips": clips, "figures": figures})


if __name__ == "__main__":
    run(main)
