"""build(): the sections of the report of a run, and what there was nothing to show of."""

import importlib.metadata
import json
import platform
from dataclasses import replace
from itertools import groupby

from data.classes import class_names
from evaluation.detection import KNOWN_SET, read_sets, score_sets, single_detector
from evaluation.f1 import cell
from reporting import evaluations, plots, sections
from reporting.page import figures as side_by_side
from reporting.page import items, page, paragraph, tiles
from utils.errors import InputError, MissingInput
from utils.files import write_text
from utils.hardware import hardware

LIBRARIES = ("torch", "numpy", "scikit-learn", "scipy", "matplotlib")
CLOSED, SHIFTED, UNSEEN, OPEN = "Closed set", "Other conditions", "Unseen codecs", "Known or unknown"
PLAIN = "Other figures", sections.anything
OTHERS = (  # keys that tell a kind of figures, their heading, and what shows them
    ({"tasks"}, "Taxonomy", sections.taxonomy),
    ({"runs", "figures"}, "Seeds", sections.seeds),
    ({"measures", "treatments"}, "Shortcuts", sections.audit),
    ({"detector", "treatments"}, "Laundering", sections.laundering),
)


def read_training(folder):
    """(args.json, rows of log.jsonl) of the model in `folder`. Raises InputError when they are missing or damaged."""
    for name in ("args.json", "log.jsonl"):
        if not (folder / name).is_file():
            raise MissingInput(f"{folder / name} is missing: give the folder of the trained model as --model_folder")
    try:
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        return evaluations.read_json(folder / "args.json"), [json.loads(line) for line in lines]
    except ValueError as error:
        raise InputError(f"{folder / 'log.jsonl'} is damaged: {error}") from None


def draw_sets(config, detector):
    """Figures made of embeddings: histograms, ROC, DET, and the map. Raises InputError as read_sets() does."""
    train, known, unseen = read_sets(replace(config, skip_missing=True, condition=("all",)))
    scores = score_sets(detector, train, {KNOWN_SET: known, **unseen})
    target = scores.pop(KNOWN_SET)
    drawn = [plots.histograms(detector, target, scores), *plots.curves(detector, target, scores)]
    return [*drawn, plots.embeddings(train, known, unseen, class_names(config))]


def headlines(found, detector):
    """The few figures that matter first, of {name: figures of an evaluation}: {what: value with its interval}."""
    named = {}
    if "id_f1" in found:
        named["macro F1 of the closed set (%)"] = cell(found["id_f1"], "macro_f1")
    shifted = [row for name in sections.SUITES if name in found for row in found[name]["conditions"]]
    if shifted:
        least = min(shifted, key=lambda row: row["f1"])
        named[f"lowest F1 of a known source, {least['condition']} (%)"] = cell(least, "f1")
    for name, figure, words in (
        ("ood", "auc", "lowest AUC of {}, {} (%)"),
        ("open_set", "rejected", "fewest unseen rejected by {}, {} (%)"),
    ):
        rows = [row for row in found.get(name, {}).get("figures", ()) if row["detector"] == detector]
        if rows:
            least = min(rows, key=lambda row: row[figure])
            named[words.format(detector, least["condition"])] = cell(least, figure)
            if "accepted" in least:
                named[f"known clips accepted by {detector} (%)"] = cell(least, "accepted")
    return named


class Pieces:
    """{heading: pieces of HTML and Figures}, gathered; what cannot be shown goes to `missing` with the reason."""

    def __init__(self, missing):
        self.missing, self.found = missing, {}

    def add(self, heading, name, make, *parts):
        """Add what `make` makes of `parts` of the file `name`.json under `heading`."""
        try:
            self.found.setdefault(heading, []).extend(make(*parts))
        except InputError as error:
            self.missing[name] = str(error)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            self.missing[name] = f"its file is not what this version writes ({error!r}): delete it or write it again"

    def add_others(self, files):
        """Add the other files of figures: taxonomy, seeds, and whatever else a script wrote."""
        for name, content in files.items():
            keys = content.keys() if isinstance(content, dict) else set()
            heading, make = next((rest for known, *rest in OTHERS if known <= keys), PLAIN)
            self.add(heading, name, make, name, content)


def build(config, argv):
    """({heading: pieces of HTML and Figures}, the content of report.json) of the run that `config` names.

    Raises InputError for an unknown --ood_detector_name, MissingInput when there is nothing at all to report.
    """
    detector = single_detector(config.ood_detector_name)
    found, missing = evaluations.evaluate(config, argv)
    described, log = {}, []
    try:
        described, log = read_training(config.model_folder)
    except InputError as error:
        missing["training"] = str(error)
    shifted = {name: found[name] for name in sections.SUITES if name in found}
    files, pieces = evaluations.others(config, missing), Pieces(missing)
    pieces.add("Overview", "overview", lambda: [tiles(headlines(found, detector)), paragraph(sections.legend(config))])
    if "id_f1" in found:
        pieces.add(CLOSED, "id_f1", sections.closed_set, found["id_f1"], config)
    if shifted:
        pieces.add(
            SHIFTED, " ".join(shifted), sections.shifted, shifted, described.get("config", {}).get("model"), config
        )
    if "ood" in found:
        pieces.add(UNSEEN, "ood", sections.detection, found["ood"])
    pieces.add(UNSEEN, "curves and embeddings", draw_sets, config, detector)
    if not found and "curves and embeddings" in missing:
        raise MissingInput(
            f"{config.result} and {config.save_feats} hold nothing of a run to report: run the source_tracing scripts"
            " first, or give their folders as --result and --save_feats"
        )
    if "open_set" in found:
        pieces.add(OPEN, "open_set", sections.open_set, found["open_set"])
    if log:
        pieces.add("Training", "log.jsonl", lambda: [plots.training(log)])
    pieces.add_others(files)
    if "Taxonomy" not in pieces.found and any(config.result.glob("taxonomy/*.txt")):
        figures_of = config.result / "taxonomy/figures.json"
        missing["taxonomy"] = f"score files without figures: run evaluate_taxonomy.py --json {figures_of}"
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    made_on = {**hardware(), "python": platform.python_version(), **versions}
    pieces.add("How it was made", "args.json", sections.origin, described, made_on)
    if missing:
        pieces.add("What is missing", "missing", lambda: [items(f"{name}: {why}" for name, why in missing.items())])
    numbers = {
        figure.name: {"title": figure.title, "header": figure.header, "rows": figure.rows}
        for group in pieces.found.values()
        for figure in group
        if isinstance(figure, plots.Figure)
    }
    data = {"evaluations": found, "other": files, "figures": numbers, "run": described, "report": made_on}
    return {name: group for name, group in pieces.found.items() if group}, {**data, "missing": missing}


def arrange(pieces):
    """Pieces as HTML alone: Figures that follow each other stand side by side."""
    for drawn, group in groupby(pieces, lambda piece: isinstance(piece, plots.Figure)):
        row = list(group)
        yield from [side_by_side(row)] if drawn else row


def write(config, content, data):
    """Write report.json and report.html into --result, and say where, and what they lack."""
    name = evaluations.REPORT
    described = data["run"].get("config", {})
    subtitle = " · ".join(
        f"{what} {value}"
        for what, value in (("model", described.get("model")), ("score files", config.result))
        if value
    )
    written = {heading: list(arrange(pieces)) for heading, pieces in content.items()}
    write_text(config.result / f"{name}.json", json.dumps(data, indent=1) + "\n")
    write_text(config.result / f"{name}.html", page("CodecTrace: what the run shows", subtitle, written))
    for part, reason in data["missing"].items():
        print(f"not in the report: {part}: {reason}")
    print(f"wrote {config.result / name}.html and {name}.json")
