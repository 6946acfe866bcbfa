"""Train recipes of the first system on a table of clips of your own, and measure them on groups that no training heard.

    python -m docs.recipes clips.csv --test page07 page09 --dev page05 page08 --known real encodec dac mimi
    python -m docs.tables --write           # puts docs/recipes.json into the table of docs/recipes.md

clips.csv has the columns file, label, utterance and that of --group. A row of RECIPES is one change of the flags of
main_train.py. A run that is complete in --out_fold is not trained again, and a run that was stopped goes on.
"""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from config import Config
from data.classes import CLASSES, REAL
from data.clip_table import read_table
from data.protocols import Clip
from utils.errors import InputError, run
from utils.files import csv_line, write_json, write_text
from utils.flags import Flags, number, opt, parse_flags, random_seed
from utils.hardware import hardware
from utils.model_files import LOG

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "docs/recipes.json"
DETECTOR = "knn"  # whose AUROC is shown


class Recipe(NamedTuple):
    """A row of RECIPES."""

    flags: tuple  # of main_train.py; {outliers} is the list of codecs that are neither known nor in the test
    epochs: int = 12


LCNN = ("--model", "mellcnn")
BY_F1 = (*LCNN, "--best_by", "macro_f1")
LOG_MEL = (*BY_F1, "--mel", "log")
AAM = (*LOG_MEL, "--base_loss", "aam")
CHANNEL = ("--augment", "channel")
RECIPES = {
    "mel-LCNN, as published": Recipe(LCNN),
    "+ best epoch by macro F1": Recipe(BY_F1),
    "+ level": Recipe((*BY_F1, "--level", "normalise")),
    "+ log mel": Recipe(LOG_MEL),
    "+ log mel, best epoch by loss": Recipe((*LCNN, "--mel", "log")),
    "+ log mel, channel": Recipe((*LOG_MEL, *CHANNEL)),
    "+ log mel, outliers": Recipe((*LOG_MEL, "--outliers", "{outliers}")),
    "+ log mel, AAM": Recipe(AAM),
    "+ log mel, AAM, longer": Recipe(AAM, epochs=24),
    "+ log mel, AAM, channel, longer": Recipe((*AAM, *CHANNEL), epochs=24),
    "RawAASIST, as published": Recipe(("--model", "Rawaasist"), epochs=10),
    "fingerprint": Recipe(("--model", "fingerprint", "--lr", "0.003"), epochs=20),
}


@dataclass(frozen=True)
class Study(Flags):
    """Recipes on clips of your own."""

    table: Path = opt(None, "CSV file with the columns file, label, utterance and that of --group", positional=True)
    group: str = opt("page", "column that names what the test holds out as a whole")
    known: tuple[str, ...] = opt((), "labels of the known classes", nargs="+", type=str)
    dev: tuple[str, ...] = opt((), "groups of the development clips", nargs="+", type=str)
    test: tuple[str, ...] = opt((), "groups of the test clips", nargs="+", type=str)
    most: int = opt(24, "clips of a label and group at most, drawn at random", type=number(int, 1))
    recipe: tuple[str, ...] = opt(("all",), "rows of RECIPES", nargs="+", type=str)
    seeds: tuple[int, ...] = opt((1, 2), "random seeds", nargs="+", type=random_seed)
    num_epochs: int = opt(
        None, "passes over the training clips; left out: as many as the row of RECIPES says", type=number(int, 1)
    )
    out_fold: Path = opt(Path("runs/recipes"), "folder of lists and runs", "-o")
    json: Path = opt(RESULTS, "file of the results, to which the rows are added")


# ---- clips -----------------------------------------------------------------------------------------------------------


def read_lines(config):
    """[{column: text}] of the table; the file is an absolute path. Raises InputError where it cannot be used."""
    table = read_table(config.table, ("file", "label", "utterance", config.group))
    for message in (*table.problems, *table.missing.values()):
        raise InputError(message)
    return [dict(clip.columns) | {"file": str(clip.path.absolute()), "label": clip.label} for clip in table.clips]


def draw(lines, config):
    """At most --most of the `lines` of each label and group, always the same ones."""
    cells = {}
    for line in lines:
        cells.setdefault((line["label"], line[config.group]), []).append(line)
    rng = random.Random(1)
    return [line for cell in sorted(cells) for line in rng.sample(cells[cell], min(config.most, len(cells[cell])))]


def split(lines, config):
    """{part: lines}: train, dev, test of the known labels; unseen codecs in the groups of the test; outliers.

    The outliers are codecs of training groups that are neither known nor in the test.
    """
    known = [line for line in lines if line["label"] in config.known]
    others = [line for line in lines if line["label"] not in config.known]
    kept_out = {*config.dev, *config.test}
    unseen = [line for line in others if line[config.group] in config.test]
    tested = {line["label"] for line in unseen}
    parts = {
        "train": [line for line in known if line[config.group] not in kept_out],
        "dev": [line for line in known if line[config.group] in config.dev],
        "test": [line for line in known if line[config.group] in config.test],
        "unseen": unseen,
        "outliers": [line for line in others if line[config.group] not in kept_out and line["label"] not in tested],
    }
    return {part: draw(some, config) for part, some in parts.items()}


def write_lists(parts, folder):
    """Write a list for each part; gives {part: path}."""
    paths = {}
    for part, lines in parts.items():
        paths[part] = folder / f"{part}.csv"
        rows = [csv_line(line.values()) for line in lines]
        write_text(paths[part], csv_line(lines[0]) + "".join(rows))
    return paths


# ---- runs ------------------------------------------------------------------------------------------------------------


def train(recipe, seed, paths, folder):
    """Train one model of a Recipe in `folder`, or the rest of it; without effect where it is complete."""
    log = folder / LOG
    done = len(log.read_text().splitlines()) if log.exists() else 0
    if done >= recipe.epochs:
        return
    flags = [flag.format(**paths) for flag in recipe.flags]
    lists = ["--train_list", paths["train"], "--dev_list", paths["dev"]]
    command = [sys.executable, "main_train.py", *lists, *flags, "--seed", seed, "--num_epochs", recipe.epochs]
    command += ["-o", folder, *["--continue_training"] * bool(done)]
    print(*command)
    subprocess.run(list(map(str, command)), check=True, cwd=PROJECT)


def outputs_of(folder, parts):
    """{part: Outputs} of the trained model in `folder` for the clips of train, test, unseen, and its class names."""
    from data.dataset import Clips
    from engine.inference import infer, make_accelerator
    from models.building import load_model, read_run
    from models.weights import head_weights
    from ood_detectors import Outputs

    names = read_run(folder)["classes"]
    config = Config(num_classes=len(names))
    accelerator = make_accelerator(config)
    model = load_model(folder, Config(num_classes=len(names))).to(accelerator.device)
    made = {}
    for part in ("train", "test", "unseen"):
        labels = [names.index(line["label"]) if line["label"] in names else -1 for line in parts[part]]
        clips = [
            Clip(line["file"], Path(line["file"]), label, "") for line, label in zip(parts[part], labels, strict=True)
        ]
        features, logits = infer(model, Clips(clips), config, accelerator, f"{folder.name} {part}")
        made[part] = Outputs(features, logits, labels, head_weights(model))
    return made, names


# ---- figures ---------------------------------------------------------------------------------------------------------


def measure(outputs, parts, names):
    """The figures in % of some runs, `outputs` of outputs_of() of each: the mean over the runs, of each with others.

    {metric: {"value", "interval", "runs": [value of each run]}}. An interval is the 95 % bootstrap over utterances.
    """
    import numpy as np

    from evaluation.calibration import score_clips
    from evaluation.held_out import macro_f1, resampled_groups
    from evaluation.metrics import auc

    real = names.index(CLASSES[REAL])
    tested = len(parts["test"])
    utterances = np.array([line["utterance"] for line in parts["test"] + parts["unseen"]])
    judged = []
    for made in outputs:
        truth, answers = (np.array(made["test"].labels), made["test"].logits.argmax(dim=1).numpy())
        scores = [score_clips(made["train"], made[part], [DETECTOR])[DETECTOR] for part in ("test", "unseen")]
        judged.append((truth, answers, np.concatenate(scores)))

    def of_known(formula):
        def of_rows(judgement, rows):
            truth, answers, _ = judgement
            rows = rows[rows < tested]
            return formula(truth[rows], answers[rows])

        return of_rows

    def auroc(judgement, rows):
        scores = judgement[2]
        return auc(scores[rows[rows < tested]], scores[rows[rows >= tested]])

    metrics = {
        "macro_f1": of_known(macro_f1),
        "real_kept": of_known(lambda truth, answers: float((answers[truth == real] == real).mean())),
        "auroc_unseen": auroc,
    }
    everything = np.arange(len(utterances))
    figures = {}
    for name, formula in metrics.items():
        runs = [100 * float(formula(judgement, everything)) for judgement in judged]

        def mean(rows, formula=formula):
            return np.mean([formula(judgement, rows) for judgement in judged])

        figures[name] = {
            "value": float(np.mean(runs)),
            "interval": resampled_groups(utterances, mean),
            "runs": runs,
        }
    trained = [made["train"] for made in outputs]
    figures["macro_f1_train"] = {
        "value": float(np.mean([100 * macro_f1(np.array(o.labels), o.logits.argmax(dim=1).numpy()) for o in trained]))
    }
    return figures


def read_results(path):
    """What the file `path` of the results holds; {} when it is absent."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def recipe_rows(path=RESULTS):
    """(header, rows) of the table of docs/recipes.md, all cells text."""
    header = ("recipe", "seeds", "epochs", "macro F1", "on training clips", "real kept", "AUROC of unseen codecs")
    rows = []
    measured = read_results(path).get("recipes", {})
    for name in filter(measured.__contains__, RECIPES):
        figures = measured[name]
        cells = []
        for metric in ("macro_f1", "real_kept", "auroc_unseen"):
            low, high = figures[metric]["interval"]
            cells.append(f"{figures[metric]['value']:.1f} [{low:.1f}, {high:.1f}]")
        trained = f"{figures['macro_f1_train']['value']:.1f}"
        sizes = len(figures["macro_f1"]["runs"]), figures["epochs"]
        rows.append((name, *map(str, sizes), cells[0], trained, *cells[1:]))
    return header, rows


def main(argv=None):
    config = parse_flags(__doc__, argv, Study)
    names = list(RECIPES) if "all" in config.recipe else config.recipe
    for name in names:
        if name not in RECIPES:
            raise InputError(f"--recipe {name}: expected some of {', '.join(RECIPES)}")
    parts = split(read_lines(config), config)
    for part, lines in parts.items():
        if not lines:
            raise InputError(f"{config.table} has no clip left for {part}: give other --known, --dev or --test")
    paths = write_lists(parts, config.out_fold)
    print("  ".join(f"{part} {len(lines)} clips" for part, lines in parts.items()))
    for name in names:
        recipe = RECIPES[name]._replace(epochs=config.num_epochs or RECIPES[name].epochs)
        outputs = []
        for seed in config.seeds:
            folder = config.out_fold.absolute() / name.replace(" ", "_") / f"seed-{seed}"
            train(recipe, seed, paths, folder)
            made, classes = outputs_of(folder, parts)
            outputs.append(made)
        results = read_results(config.json)
        results["clips"] = {part: len(lines) for part, lines in parts.items()}
        results["hardware"] = hardware()
        figures = measure(outputs, parts, classes)
        results.setdefault("recipes", {})[name] = figures | {"epochs": recipe.epochs}
        write_json(config.json, results)
        print(name, {metric: round(figure["value"], 1) for metric, figure in figures.items()})


if __name__ == "__main__":
    run(main)
