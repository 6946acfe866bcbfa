"""Print the README's tables of classes, conditions and detectors, from the code that they describe.

    python tables.py
"""

from config import Config
from errors import run


def markdown(header, rows):
    """A Markdown table of `rows` under `header`."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def conditions_table():
    from data.conditions import CONDITIONS, class_names

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


def main():
    print(conditions_table(), detectors_table(), sep="\n\n")


if __name__ == "__main__":
    run(main)
