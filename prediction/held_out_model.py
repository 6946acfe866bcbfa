"""A model folder for predict.py from a table of clips, calibrated on clips of groups that its readers never heard."""

import json

import numpy as np

from config import Network
from data.classes import CLASSES, OTHER_CODEC, REAL
from engine.run_folder import describe_run
from evaluation.calibration import DEFAULT_DETECTOR, probabilities_at, write_calibration
from evaluation.held_out import answers_of, macro_f1, resampled_groups
from models.weights import trained_state
from prediction.verdict import UNKNOWN, UNSURE, Limits, name_sources
from utils.console import print_table
from utils.files import save_safetensors, write_json
from utils.model_files import RUN_JSON, SHARED_CHECKPOINT

RIGHT = "right"
WRONG = "wrong codec"
TREATED_RATES = {  # the rates that matter most: (kind of clips, answer)
    "known_right": ("known codec", RIGHT),
    "known_wrong": ("known codec", WRONG),
    "known_called_real": ("known codec", CLASSES[REAL]),
    "real_kept": ("real", CLASSES[REAL]),
    "real_called_codec": ("real", WRONG),
    "unseen_called_real": ("unseen codec", CLASSES[REAL]),
    "unseen_named": ("unseen codec", WRONG),
}
COVERAGES = tuple(range(10, 101, 10))  # % of the clips that get an answer


def held_out_probabilities(judged, description):
    """Calibrated probabilities [n, classes] of the Judged clips; `description` is what calibrate_held_out() gives."""
    return probabilities_at(description["temperature"], judged.logits).numpy()


def answer_kinds(judged, description):
    """{answer: bool [n]}: which of the Judged clips predict.py would answer how."""
    names = np.array(judged.names)
    limits = Limits(description["detectors"][DEFAULT_DETECTOR]["threshold"], **description["limits"])
    probabilities = held_out_probabilities(judged, description)
    sources = name_sources(probabilities, judged.scores.numpy(), judged.level_ranges.numpy(), judged.names, limits)
    truth = names[judged.labels.numpy()]
    kinds = {
        RIGHT: (sources == truth) & (truth != CLASSES[REAL]),
        CLASSES[REAL]: sources == CLASSES[REAL],
        UNKNOWN: sources == UNKNOWN,
        UNSURE: sources == UNSURE,
    }
    kinds[WRONG] = ~np.any(list(kinds.values()), axis=0)
    return kinds


def clip_kinds(judged):
    """{kind of clips: bool [n]}: which of the Judged clips are of it."""
    truth = np.array(judged.names)[judged.labels.numpy()]
    unseen = judged.unseen.numpy()
    real = truth == CLASSES[REAL]
    return {"known codec": ~real & ~unseen, "real": real, "unseen codec": unseen}


def verdict_rates(judged, description):
    """How often predict.py would give each answer, in %.

    {kind of clips: {"clips": n, answer: share, answer + "_interval": [low, high]}} for known codecs, real speech, and
    codecs that the reader had not learned; and {"named_right": share} of the verdicts that name a codec.
    """
    answers = answer_kinds(judged, description)
    rates = {}
    for kind, chosen in clip_kinds(judged).items():
        rates[kind] = {"clips": int(chosen.sum())}
        for answer, given in answers.items() if chosen.any() else ():
            rates[kind][answer] = 100 * float(given[chosen].mean())
            share_of = given[chosen].astype(float)
            rates[kind][f"{answer}_interval"] = resampled_groups(
                judged.groups[chosen], lambda rows, share_of=share_of: share_of[rows].mean()
            )
    named = answers[RIGHT] | answers[WRONG]
    return rates | {"named_right": 100 * float(answers[RIGHT][named].mean()) if named.any() else None}


def risk_coverage(judged, description):
    """[{"coverage", "right"}] in %: how many answers are right when only the most probable ones are given.

    The answer is the most probable class that has a name; it is wrong for every codec that the reader had not learned.
    """
    names = np.array(judged.names)
    named = names != OTHER_CODEC
    probabilities = held_out_probabilities(judged, description)[:, named]
    right = names[named][probabilities.argmax(axis=1)] == names[judged.labels.numpy()]
    ordered = right[np.argsort(-probabilities.max(axis=1), kind="stable")]
    answered = [max(1, round(len(right) * coverage / 100)) for coverage in COVERAGES]
    return [
        {"coverage": coverage, "right": 100 * float(ordered[:number].mean())}
        for coverage, number in zip(COVERAGES, answered, strict=True)
    ]


def print_verdict_rates(rates):
    """Print what verdict_rates() gives."""
    print("\nVerdicts at the operating point (%)")
    answers = (RIGHT, CLASSES[REAL], UNKNOWN, UNSURE, WRONG)
    rows = [
        (kind, row["clips"], *(f"{row[answer]:.1f}" for answer in answers))
        for kind, row in rates.items()
        if kind != "named_right" and row["clips"]
    ]
    print_table(("clips of", "clips", *answers), rows)
    if rates["named_right"] is not None:
        print(f"{rates['named_right']:.1f} % of the verdicts that name a codec are right")


def measure_treatments(judged, description=None):
    """[{"treatment", "macro_f1", ...}], in %, of {treatment: Judged}; see print_treatments().

    With `description`, which calibrate_held_out() gives, also the rates of some verdicts.
    """
    rows = []
    for name, of_treatment in judged.items():
        truth, answers, _ = answers_of(of_treatment)
        row = {"treatment": name, "macro_f1": 100 * macro_f1(truth, answers)}
        rows.append(row | (treated_rates(of_treatment, description) if description else {}))
    return rows


def treated_rates(judged, description):
    """The rates of TREATED_RATES of Judged clips, in %; NaN for a kind without clips."""
    kinds = clip_kinds(judged)
    answers = answer_kinds(judged, description)
    return {
        name: 100 * float(answers[answer][kinds[kind]].mean()) if kinds[kind].any() else np.nan
        for name, (kind, answer) in TREATED_RATES.items()
    }


def print_treatments(rows):
    """Print what measure_treatments() gives."""
    columns = [name for name in rows[0] if name != "treatment"]
    print("\nAfter a treatment of the test clips (%)")
    print_table(
        ("treatment", *(name.replace("_", " ").replace("f1", "F1") for name in columns)),
        [(row["treatment"], *(f"{row[name]:.1f}" for name in columns)) for row in rows],
    )


def save_model(config, names, reader, description, tensors):
    """Write the trained `reader` of the classes `names` and its calibration into config.save."""
    network = json.loads(Network(model=config.model, num_classes=len(names)).json_text())
    described = describe_run(config, [config.table], names)
    described["data"] = {config.table.name: described["data"][str(config.table)]}
    outputs = dict.fromkeys(("save", "cache", "plot", "json"))
    described["config"] |= {"table": config.table.name, **outputs, **network}
    save_safetensors(config.save / SHARED_CHECKPOINT, trained_state(reader.half()))
    write_json(config.save / RUN_JSON, described)
    origin = {key: described[key] for key in ("versions", "data")}
    write_calibration(config.save, description, tensors, names, origin)
    print(f"wrote {config.save}")
