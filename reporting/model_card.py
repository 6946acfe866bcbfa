"""The card of a model: a README.md with the metadata of the Hugging Face hub, its training and all of its results."""

from dataclasses import fields
from pathlib import Path

from config import Conditions, Detection, Folders, OtherCorpora
from config_taxonomy import TaxonomyEvaluation, TaxonomyFolders
from models import MODELS
from models.front_ends import FRONT_END_FLAGS
from reporting.held_out_tables import HELD_OUT_TABLES
from utils.console import markdown
from utils.files import write_text
from utils.settings import Compute, Intervals, Results

CARD = "README.md"
METADATA = """---
license: other
library_name: pytorch
pipeline_tag: audio-classification
tags:
  - audio-forensics
  - neural-audio-codec
  - source-tracing
---
"""
LIMITS = """## Limits

- The model knows only the codecs that it was trained on. Results hold for speech like that of its test sets.
- Codecs that were used after the one that is sought, noise, rooms and resampling change the result; the tables above
  show it only where they name such treatments.
- Scores are evidence for research. They are no proof of origin, and no ground for a decision about a person.
"""
CITATION = """## How to cite

Please cite the papers whose work CodecTrace unites: Xie et al., "Neural Codec Source Tracing: Toward Comprehensive
Attribution in Open-Set Condition" (arXiv 2501.06514), and for models of the taxonomy Chen et al., "Codec-Based Deepfake
Source Tracing via Neural Audio Codec Taxonomy" (arXiv 2505.12994) and "Towards Generalized Source Tracing for
Codec-Based Deepfake Speech" (arXiv 2506.07294).
"""
# Flags that made no model
OF_TESTS = (
    OtherCorpora,
    Conditions,
    Folders,
    Results,
    Intervals,
    Compute,
    Detection,
    TaxonomyFolders,
    TaxonomyEvaluation,
)
WITHOUT_EFFECT = {f.name for flags in OF_TESTS for f in fields(flags)} | {"eval_wav", "eval_label", "eval_list"}
LABELS = ("condition", "treatment", "detector", "label", "name")  # keys that say what a row of metrics is of


def figures(content, place=""):
    """(place, name, value, interval) of each number with an interval in the content of a JSON file, in its order."""
    if isinstance(content, dict):
        label = next((str(content[key]) for key in LABELS if key in content), "")
        here = " ".join(filter(None, (place, label)))
        for key, value in content.items():
            interval = content.get(f"{key}_interval")
            if isinstance(value, (int, float)) and isinstance(interval, list) and len(interval) == 2:
                yield here, key, value, interval
            elif isinstance(value, list) and isinstance(interval, list) and len(interval) == len(value):
                names = content.get("classes")
                names = names if isinstance(names, list) and len(names) == len(value) else range(len(value))
                for name, number, around in zip(names, value, interval, strict=True):
                    if number is not None and around:
                        yield " ".join(filter(None, (here, str(name)))), key, number, around
            elif isinstance(value, (dict, list)) and not key.endswith("_interval"):
                yield from figures(value, " ".join((here, key)).strip())
    elif isinstance(content, list):
        for item in content:
            yield from figures(item, place)


def results_section(results):
    """The tables of the metrics {file name: content}."""
    parts = [
        "## Results",
        "The brackets are 95 % bootstrap intervals. `results/` has all other numbers.",
    ]
    for name, content in results.items():
        rows = [
            (place or "-", key, f"{value:.2f} [{low:.2f}, {high:.2f}]")
            for place, key, value, (low, high) in figures(content)
        ]
        if rows:
            parts += [f"### {name}", markdown(("of", "metric", "value"), rows)]
    return parts


def held_out_section(metrics):
    """The tables of the metrics of evaluate_held_out.py; those that were not measured are left out."""
    parts = ["## Results on groups that training never heard"]
    for name, make in HELD_OUT_TABLES.items():
        try:
            header, *rows = make(metrics)
        except (KeyError, TypeError):
            continue
        parts += [f"### {name.removeprefix('held-out-')}", markdown(header, rows)]
    return parts


def has_front_end(described):
    """Whether the model that config.json describes reads the hidden states of an SSL front end."""
    name = described["config"]["model"]
    return name not in MODELS or MODELS[name].needs_front_end


def training_section(described):
    """Data, recipe and machine of the run that config.json describes."""
    data = [(Path(name).name, f"`{digest}`") for name, digest in described.get("data", {}).items()]
    left_out = WITHOUT_EFFECT if has_front_end(described) else WITHOUT_EFFECT | {"SSL_path", *FRONT_END_FLAGS}
    flags = {name: value for name, value in described["config"].items() if name not in left_out}
    recipe = [(f"`{name}`", str(value)) for name, value in flags.items() if value not in (None, "", [], False)]
    parts = ["## Training data"]
    parts += [markdown(("list of clips", "SHA-256"), data)] if data else ["The run does not say which lists it used."]
    parts += ["## Recipe", markdown(("flag", "value"), recipe)]
    versions = described.get("versions", {})
    made_with = [", ".join(f"{name} {number}" for name, number in versions.items())] if versions else []
    return parts + made_with


def calibration_section(calibration):
    """What calibration.json says; nothing for a model without it."""
    if not calibration:
        return ["This model is not calibrated: `predict.py` needs `calibrate.py` first."]
    dev = calibration["dev"]
    rows = [
        ("development clips", str(dev["clips"])),
        ("right", f"{100 * dev['accuracy']:.2f} %"),
        ("temperature", f"{calibration['temperature']:.3f}"),
        ("share of known clips that a threshold keeps", f"{calibration['tpr']:g}"),
    ]
    return ["## Calibration", markdown(("", "value"), rows)]


def write_card(path, name, described, calibration, results, held_out):
    """Write the card of the model `name` to `path`; see share_model() for the parameters."""
    config = described["config"]
    head = [f"# {name}", f"A model of CodecTrace: `--model {config['model']}`."]
    if has_front_end(described) and config.get("SSL_path"):
        digest = f", SHA-256 of the weights `{described['frozen']}`" if described.get("frozen") else ""
        head.append(f"Its front end is `{config['SSL_path']}`{digest}; a frozen one is not in this folder.")
    if described.get("classes"):
        head.append("Classes: " + ", ".join(described["classes"]) + ".")
    head.append("```\npython predict.py clip.wav --model_folder FOLDER\n```")
    sections = [*head, *training_section(described), *calibration_section(calibration)]
    sections += results_section(results) if results else []
    sections += held_out_section(held_out) if held_out else []
    write_text(path, METADATA + "\n" + "\n\n".join([*sections, LIMITS.strip(), CITATION.strip()]) + "\n")
