"""Tables on the terminal."""

from itertools import chain

from utils.errors import printable


def print_table(header, rows):
    """Print `rows` under `header`: columns as wide as their widest cell, the first aligned left, the others right.

    `rows` are iterated twice, and only one of them is held.
    """
    widths = [0] * len(header)
    for row in chain([header], rows):
        widths = [max(width, len(printable(cell))) for width, cell in zip(widths, row, strict=True)]
    for row in chain([header], rows):
        first, *rest = map(printable, row)
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((first.ljust(widths[0]), *cells)).rstrip())


def markdown(header, rows):
    """A Markdown table of `rows` under `header`, all cells text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
