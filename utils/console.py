"""Tables on the terminal."""

from utils.errors import printable


def print_table(header, rows):
    """Print `rows` under `header`: columns as wide as their widest cell, the first aligned left, the others right."""
    lines = [list(map(printable, row)) for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((first.ljust(widths[0]), *cells)).rstrip())
