"""Detect clips of unseen codecs from saved embeddings: AUC, FPR95 and EER in % beside the paper's Table 5.

    python ood_detector_e2e.py --save_feats save_feats --json result/ood.json
    python ood_detector_e2e.py --ood_detector_name NSD --condition single7 multi8 --skip_missing

Reads traindict.pt, evaldict_id.pt and one evaldict_*.pt a condition (see source_tracing_id.py, source_tracing_ood.py).
The known test clips are the target of each figure; every clip of a condition counts as unseen, whatever its label.

Conditions: single7 multi8 voc diff_config diff_source.
Detectors: msp energy knn mahalanobis NSD maxlogit kl ssd nnguide relation vim msp_log gen klm mahalanobis++ rmds fdbd
neco she.
"""

from config import parse_config
from errors import InputError, MissingInput, run


def chosen(name, detectors):
    """The detectors that --ood_detector_name stands for. Raises InputError listing them for an unknown one."""
    if name != "all" and name not in detectors:
        raise InputError(f"--ood_detector_name {name}: expected all or one of {', '.join(detectors)}")
    return list(detectors) if name == "all" else [name]


def read_sets(config):
    """Outputs of the training set, of the known test set, and {condition name: Outputs} of the unseen ones.

    Raises InputError for a broken or missing feature file; with --skip_missing, absent conditions are passed over.
    """
    from data.conditions import CONDITIONS, select
    from features import read_features

    files = {row.suite: config.save_feats / row.features for row in CONDITIONS if row.suite in ("train", "id")}
    train = read_features(files["train"])
    known, unseen = read_features(files["id"], train, "source_tracing_id.py"), {}
    for condition in select(config, "ood"):
        try:
            unseen[condition.name] = read_features(config.save_feats / condition.features, train)
        except MissingInput as absent:
            if not config.skip_missing:
                raise MissingInput(f"{absent} (condition {condition.name}; or pass --skip_missing)") from None
            print(f"skipped {condition.name}: {absent}")
    if not unseen:
        raise MissingInput(f"{config.save_feats} has no feature file of an unseen condition: nothing to detect")
    return train, known, unseen


def measure(name, train, known, unseen):
    """{condition: {"auc", "fpr95", "fpr95_achievable", "eer", "eer_threshold"}} of a detector, rates in %."""
    from metrics import achievable_fpr95, auc, equal_error_rate, fpr95
    from ood_detectors import DETECTORS

    try:
        detector = DETECTORS[name]().fit(train)
        target, figures = detector.score(known), {}
        for condition, outputs in unseen.items():
            other = detector.score(outputs)
            eer, threshold = equal_error_rate(target, other)
            rates = (auc(target, other), fpr95(target, other), achievable_fpr95(target, other), eer)
            keys = ("auc", "fpr95", "fpr95_achievable", "eer")
            figures[condition] = dict(zip(keys, (100 * rate for rate in rates), strict=True), eer_threshold=threshold)
    except InputError as error:
        raise InputError(f"detector {name}: {error}") from None
    return figures


def table_row(title, triples):
    """`title`, then AUC, FPR95 and EER of each condition and their average."""
    average = tuple(sum(column) / len(triples) for column in zip(*triples, strict=True))
    return title, *(" ".join(f"{value:6.2f}" for value in triple) for triple in (*triples, average))


def main(argv=None):
    config = parse_config(__doc__, argv)
    from tqdm import tqdm

    from evaluation import print_table, write_figures
    from ood_detectors import DETECTORS, PUBLISHED

    names = chosen(config.ood_detector_name, DETECTORS)
    train, known, unseen = read_sets(config)
    rows, figures, notes = [], [], []
    for name in tqdm(names, desc="detectors", unit="detector"):
        measured, paper = measure(name, train, known, unseen), PUBLISHED.get(name)
        rows.append(table_row(name, [(m["auc"], m["fpr95"], m["eer"]) for m in measured.values()]))
        if paper:
            rows.append(table_row("  paper W2V2-AASIST", [paper[condition] for condition in measured]))
        for condition, figure in measured.items():
            beside = dict(zip(("auc", "fpr95", "eer"), paper[condition], strict=True)) if paper else None
            figures.append({"detector": name, "condition": condition, **figure, "paper": beside})
            if abs(figure["fpr95"] - figure["fpr95_achievable"]) > 0.1:
                notes.append(f"{name} on {condition} {figure['fpr95_achievable']:.2f}")
    print(f"AUC, FPR95 and EER in %: {len(train.logits)} training clips, {len(known.logits)} known test clips")
    print_table(("detector", *(f"{name} ({len(outputs.logits)})" for name, outputs in unseen.items()), "average"), rows)
    if notes:
        print(
            "These FPR95 lie between two thresholds, for ties or few clips; the lowest attainable:", *notes, sep="\n  "
        )
    clips = {"train": len(train.logits), "known": len(known.logits)}
    clips |= {name: len(outputs.logits) for name, outputs in unseen.items()}
    write_figures(config, {"clips": clips, "figures": figures})


if __name__ == "__main__":
    run(main)
