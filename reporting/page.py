"""Pieces of the report's page, as text of HTML that is XML too; whatever is shown is escaped here."""

from html import escape
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).with_name("page.html")
DASH = "-"


def text(value):
    """A value as it stands in a table: floats to two places, a dash for what is not known."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
    return str(value)


def table(header, rows, caption=""):
    """A table of `rows` under `header`, sorted by a column when its head is pressed."""
    above = f'<p class="caption">{escape(caption)}</p>' if caption else ""  # a caption would be as wide as the table
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'{above}<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def paragraph(words, kind="note"):
    return f'<p class="{kind}">{escape(words)}</p>'


def details(summary, content):
    """`content`, which is HTML, folded under one line."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def figure(drawn):
    """A reporting.plots.Figure with its caption, and its numbers folded under it."""
    numbers = details("Numbers", table(drawn.header, drawn.rows))
    return (
        f'<figure id="figure-{drawn.name}">{drawn.svg}<figcaption>{escape(drawn.title)}</figcaption>{numbers}</figure>'
    )


def figures(drawn):
    """Several figures side by side, where there is room."""
    return f'<div class="figures">{"".join(map(figure, drawn))}</div>'


def tiles(named):
    """The few figures that matter first: {what: value}."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text(value))}</dd></div>" for name, value in named.items()
    )
    return f'<dl class="tiles">{items}</dl>'


def items(lines):
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def page(title, subtitle, sections):
    """The whole page of {heading: [piece of HTML]}, with a list of its sections."""
    names = {heading: f"section-{number}" for number, heading in enumerate(sections, start=1)}
    links = "".join(f'<a href="#{name}">{escape(heading)}</a>\n' for heading, name in names.items())
    body = "\n".join(
        f'<section id="{names[heading]}"><h2>{escape(heading)}</h2>\n' + "\n".join(pieces) + "\n</section>"
        for heading, pieces in sections.items()
    )
    fill = {"title": escape(title), "subtitle": escape(subtitle), "links": links, "body": body}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(fill)
