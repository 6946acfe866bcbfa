"""What a section of the report is made of, as data: tables, plots and text. pieces.html has the HTML of each."""

from typing import NamedTuple


class Table(NamedTuple):
    """Rows of values under a header; the reader can sort them by each column."""

    header: tuple
    rows: list
    caption: str = ""
    wrap: bool = False  # whether the text of the last column may take several lines
    kind: str = "table"


class Plot(NamedTuple):
    """A plot as the text of an SVG element, and the numbers that it shows as a table."""

    name: str
    title: str
    svg: str
    header: tuple
    rows: list
    wide: bool = False  # whether it takes the whole width of the page
    kind: str = "plot"


class Paragraph(NamedTuple):
    """A paragraph of text."""

    text: str
    kind: str = "paragraph"


class Tiles(NamedTuple):
    """The most important metrics in large type: {name: value}."""

    values: dict
    kind: str = "tiles"


class Bullets(NamedTuple):
    """A list of lines of text."""

    lines: list
    kind: str = "bullets"


class Folded(NamedTuple):
    """A piece that the reader unfolds under one line of text."""

    summary: str
    piece: Table
    kind: str = "folded"
