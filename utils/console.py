"""Tables on the terminal."""

import unicodedata
from itertools import chain

from utils.errors import printable


def percent(share):
    """A probability as text: 0.987 is 98.7%. No answer of a model is certain, so 1 is over 99.9%."""
    return f"{share:.1%}" if share < 0.9995 else "over 99.9%"


def width_of(text):
    """The columns of a terminal that `text` takes: East Asian letters take two, accents of their own none."""
    return sum((1 + (unicodedata.east_asian_width(c) in "WF")) * (not unicodedata.combining(c)) for c in text)


def print_table(header, rows):
    """Print `rows` under `header`: columns as wide as their widest cell, the first aligned left, the others right.

    `rows` are iterated twice, and only one of them is held.
    """
    widths = [0] * len(header)
    for row in chain([header], rows):
        widths = [max(width, width_of(printable(cell))) for width, cell in zip(widths, row, strict=True)]
    for row in chain([header], rows):
        first, *rest = map(printable, row)
        cells = (" " * (width - width_of(cell)) + cell for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((first + " " * (widths[0] - width_of(first)), *cells)).rstrip())


def markdown(header, rows):
    """A Markdown table of `rows` under `header`, all cells text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
