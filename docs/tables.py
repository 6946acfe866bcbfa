"""Write the tables of codecs, classes, models, conditions and detectors into the pages, from the code they describe.

python -m docs.tables            # print the tables
python -m docs.tables --write    # write each one into its page, between <!-- NAME --> and <!-- end -->
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path

from config import Config
from data import taxonomy
from data.classes import CLASSES, KNOWN_CLASSES, class_names
from data.conditions import CONDITIONS, PAPER_MODELS
from demo.pool import read_card
from demo.zoo import ZOO
from docs.model_card import CARD, CARD_TABLES
from docs.recipes import recipe_rows
from models import HEADS, MODELS, resolve_class
from models.building import build_network
from models.taxonomy import FORMS
from models.weights import embedding_size
from ood_detectors import DETECTORS
from utils.console import markdown
from utils.errors import InputError, run
from utils.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FORM_KINDS = {"S": "one task", "D": "with spoof detection", "M1": "all tasks", "M2": "only the parts of the codec"}


def classes_table():
    rows = [(str(label), name, "known" if label < KNOWN_CLASSES else "unseen") for label, name in enumerate(CLASSES)]
    return markdown(("class", "in ST-Codecfake", "in training"), rows)


def models_table():
    rows = []
    for name, row in MODELS.items():
        network = build_network(name, KNOWN_CLASSES)
        weights = sum(weight.numel() for weight in network.parameters())
        description = resolve_class(row.network).__doc__.partition(":")[0]
        paper_name = PAPER_MODELS.get(name, "-")
        rows.append((f"`{name}`", paper_name, description, str(embedding_size(network)), f"{weights:,}"))
    return markdown(("`--model`", "in the paper", "description", "embedding size", "trained weights"), rows)


def heads_table():
    rows = []
    for name, row in HEADS.items():
        network = build_network("W2VAASIST", KNOWN_CLASSES, head=name)
        weights = sum(weight.numel() for weight in network.parameters())
        its_class = resolve_class(row.network)
        description = its_class.__doc__.partition(":")[0]
        paper = re.search(r"arXiv (\d{4}\.\d{5})", sys.modules[its_class.__module__].__doc__)[1]
        rows.append((f"`{name}`", description, arxiv_link(paper), str(embedding_size(network)), f"{weights:,}"))
    return markdown(("`--head`", "description", "paper", "embedding size", "trained weights"), rows)


def conditions_table():
    names = class_names(Config())
    rows = []
    for row in CONDITIONS:
        label = "labels of the corpus" if row.label is None else f"{row.label} {names[row.label]}"
        outputs = [f"`result/{name}`" for name in row.result[:1]]
        outputs += [f"`save_feats/{row.features}`"] if row.features else []
        rows.append((f"`{row.name}`", row.suite, label, ", ".join(outputs)))
    return markdown(("condition", "suite", "class", "written by tracing"), rows)


def detectors_table():
    rows = [(f"`{name}`", (detector.__doc__ or "").strip().splitlines()[0]) for name, detector in DETECTORS.items()]
    return markdown(("detector", "score, higher for known codecs"), rows)


def forms_table():
    rows = []
    for form, tasks in FORMS.items():
        logits = sum(len(taxonomy.TAXONOMY_CLASSES[task]) for task in tasks)
        rows.append((f"`{form}`", FORM_KINDS[form.partition("_")[0]], ", ".join(map(str.upper, tasks)), str(logits)))
    return markdown(("`--model_type`", "form", "tasks", "logits"), rows)


def families_table():
    rows = []
    for family in sorted(taxonomy.FAMILIES, key=lambda family: family.name.lower()):
        described = taxonomy.describe_codec(family.name)
        parts = [described[task] or "" for task in ("VQ", "AUX", "DEC")]
        users = [f"{user} ({arxiv_link(taxonomy.GENERATORS[user].paper)})" for user in described["used_by"]]
        source = "CoRS" if family.rows else arxiv_link(family.paper)
        rows.append((family.name, *parts, source, ", ".join(users)))
    return markdown(("codec", "VQ", "AUX", "DEC", "source", "used by"), rows)


def arxiv_link(paper):
    """A link to the arXiv number `paper`; another text as it is."""
    return f"[{paper}](https://arxiv.org/abs/{paper})" if re.fullmatch(r"\d{4}\.\d{5}", paper) else paper


def codecs_table():
    rows = []
    for row in ZOO:
        made = read_card(row.name)
        rows.append(
            (
                *(str(row.label), f"`{row.name}`", row.vq, row.aux, row.dec),
                f"{made['bit_rate'] / 1000:.1f}",
                f"{made['parameters'] / 1e6:.2f}",
                f"{made['si_sdr_db']:.1f}",
                f"{made['log_spectral_distance_db']:.1f}",
            )
        )
    measured = ("SI-SDR (dB)", "log-spectral distance (dB)")
    return markdown(("class", "codec", "VQ", "AUX", "DEC", "kbit/s", "parameters (M)", *measured), rows)


def card_table(lines):
    """The Markdown table of a function of docs/model_card.py."""
    header, *rows = lines()
    return markdown(header, rows)


# Name of a table: the page that it stands in, and the function that makes it
TABLES = {
    "classes": ("docs/data.md", classes_table),
    "codecs": ("docs/demo.md", codecs_table),
    "conditions": ("docs/evaluation.md", conditions_table),
    "detectors": ("docs/detectors.md", detectors_table),
    "families": ("docs/taxonomy.md", families_table),
    "forms": ("docs/taxonomy.md", forms_table),
    "heads": ("docs/training.md", heads_table),
    "models": ("README.md", models_table),
    "recipes": ("docs/recipes.md", lambda: markdown(*recipe_rows())),
    "verdicts": ("README.md", partial(card_table, CARD_TABLES["held-out-verdicts"])),
    **{name: (CARD, partial(card_table, lines)) for name, lines in CARD_TABLES.items()},
}


def with_table(text, name, table):
    """`text` of a page with `table` between <!-- `name` --> and <!-- end -->. Raises InputError without these marks."""
    marks = rf"(<!-- {name} -->\n)(?:\|.*\n)*(<!-- end -->)"
    page, replaced = re.subn(marks, lambda match: f"{match[1]}{table}\n{match[2]}", text)
    if replaced != 1:
        raise InputError(f"the marks <!-- {name} --> and <!-- end --> occur {replaced} times, expected once")
    return page


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the tables into their pages")
    write = parser.parse_args(argv).write
    for name, (page, make_table) in TABLES.items():
        if write:
            path = ROOT / page
            write_text(path, with_table(path.read_text(encoding="utf-8"), name, make_table()))
        else:
            print(make_table(), end="\n\n")


if __name__ == "__main__":
    run(main)
