"""Print the README's tables of classes, models, conditions, detectors and codecs, from the code that they describe.

python -m docs.tables            # or: python -m docs.tables --write, which puts them into README.md
"""

import re
import sys
from pathlib import Path

from config import Config
from utils.errors import InputError, run
from utils.files import write_text


def markdown(header, rows):
    """A Markdown table of `rows` under `header`."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def classes_table():
    from data.classes import CLASSES, KNOWN_CLASSES

    known = KNOWN_CLASSES
    rows = [(str(label), name, "known" if label < known else "unseen") for label, name in enumerate(CLASSES)]
    return markdown(("class", "of ST-Codecfake", "in training"), rows)


def models_table():
    from data.classes import KNOWN_CLASSES
    from data.conditions import PAPER_MODELS
    from models import MODELS

    rows = []
    for name, row in MODELS.items():
        network = row.network(KNOWN_CLASSES)
        weights = sum(weight.numel() for weight in network.parameters())
        what = row.network.__doc__.partition(":")[0]
        rows.append((f"`{name}`", PAPER_MODELS[name], what, str(network.head.in_features), f"{weights:,}"))
    return markdown(("`--model`", "in the paper", "what it is", "embedding", "trained weights"), rows)


def conditions_table():
    from data.classes import class_names
    from data.conditions import CONDITIONS

    names = class_names(Config())
    rows = []
    for row in CONDITIONS:
        label = "labels of the corpus" if row.label is None else f"{row.label} {names[row.label]}"
        outputs = [f"`result/{name}`" for name in row.result[:1]]
        outputs += [f"`save_feats/{row.features}`"] if row.features else []
        rows.append((f"`{row.name}`", row.suite, label, ", ".join(outputs)))
    return markdown(("condition", "suite", "class", "written by tracing"), rows)


def detectors_table():
    from ood_detectors import DETECTORS

    rows = [(f"`{name}`", (detector.__doc__ or "").strip().splitlines()[0]) for name, detector in DETECTORS.items()]
    return markdown(("detector", "score, higher for known codecs"), rows)


def forms_table():
    from data.taxonomy import CLASSES
    from models.taxonomy import FORMS

    kinds = {"S": "one task", "D": "with spoof detection", "M1": "all tasks", "M2": "tracing alone"}
    rows = [
        (f"`{form}`", kinds[form.partition("_")[0]], ", ".join(task.upper() for task in tasks), str(columns))
        for form, tasks in FORMS.items()
        for columns in [sum(len(CLASSES[task]) for task in tasks)]
    ]
    return markdown(("`--model_type`", "form", "tasks, a graph read-out each", "logits"), rows)


def codecs_table():
    from demo.pool import card
    from demo.zoo import ZOO

    rows = []
    for row in ZOO:
        made = card(row.name)
        size = f"{made['bit_rate'] / 1000:.1f}", f"{made['parameters'] / 1e6:.2f}"
        quality = f"{made['si_sdr_db']:.1f}", f"{made['log_spectral_distance_db']:.1f}"
        rows.append((str(row.label), f"`{row.name}`", row.vq, row.aux, row.dec, *size, *quality))
    quality = ("SI-SDR (dB)", "log-spectral distance (dB)")
    return markdown(("class", "codec", "VQ", "AUX", "DEC", "kbit/s", "parameters (M)", *quality), rows)


TABLES = {
    "codecs": codecs_table,
    "classes": classes_table,
    "models": models_table,
    "conditions": conditions_table,
    "detectors": detectors_table,
    "forms": forms_table,
}


def with_tables(text):
    """`text` of the README with each table between its two marks made anew."""
    for name, table in TABLES.items():
        marks = rf"(<!-- {name} -->\n)(?:\|.*\n)*(<!-- end -->)"
        made = table().replace("\\", r"\\")
        text, found = re.subn(marks, rf"\g<1>{made}\n\g<2>", text)
        if not found:
            raise InputError(f"README.md has no marks <!-- {name} --> and <!-- end -->")
    return text


def main():
    if sys.argv[1:] == ["--write"]:
        readme = Path(__file__).with_name("README.md")
        write_text(readme, with_tables(readme.read_text(encoding="utf-8")))
    else:
        print(*(table() for table in TABLES.values()), sep="\n\n")


if __name__ == "__main__":
    run(main)
