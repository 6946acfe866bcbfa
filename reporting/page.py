"""The page of the report: the template report.html, filled with the pieces of its sections."""

from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

UNKNOWN_VALUE = "-"


def cell_text(value):
    """A value as a table shows it: floats to two places, a dash for an unknown value."""
    if value is None:
        return UNKNOWN_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
    return str(value)


def side_by_side(pieces):
    """Lists of pieces: plots that follow each other share a list, every other piece has its own."""
    for are_plots, group in groupby(pieces, lambda piece: piece.kind == "plot"):
        group = list(group)
        yield from [group] if are_plots else ([piece] for piece in group)


def render_page(title, subtitle, sections):
    """The text of the page of {heading: pieces}: HTML that is well-formed XML too. Text in pieces is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell_text": cell_text, "side_by_side": side_by_side}
    template = environment.get_template("report.html")
    return template.render(title=title, subtitle=subtitle, sections=sections) + "\n"
