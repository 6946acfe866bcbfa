"""The pages say what the code does: their tables are the code's, their links lead somewhere, their commands run."""

import argparse
import importlib
import re
import shlex

import pytest
from helpers import ROOT
from helpers.pages import code_blocks

from docs import tables
from utils.errors import InputError

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "pretrained/real-codecs/README.md"]
LINKED = [*PAGES, ROOT / "benchmarks/README.md", ROOT / "CHANGELOG.md"]


def code(text):
    """Every line of code of a page: those of its blocks, with continued lines joined, and what stands in backticks."""
    blocks, prose = code_blocks(text)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines] + re.findall(r"`([^`\n]+)`", prose)


def python_commands(text):
    """[(module, flags)] of the commands of a page that run a script or a module of this project."""
    commands = []
    for line in code(text):
        words = shlex.split(line, comments=True) if line.startswith(("python ", "torchrun ")) else []
        if words[:2] == ["python", "-m"] and words[2] != "pytest":
            commands.append((words[2], words[3:]))
        for position, word in enumerate(words):
            if re.fullmatch(r"\w+\.py", word):
                commands.append((word.removesuffix(".py"), words[position + 1 :]))
                break
    return commands


COMMANDS = {(page.name, module, *flags) for page in PAGES for module, flags in python_commands(page.read_text("utf-8"))}


def anchors(text):
    """The anchors that GitHub gives the headings of a page."""
    seen = {}
    for heading in re.findall(r"^#+ (.+)$", code_blocks(text)[1], flags=re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        times = seen.get(anchor, 0)
        seen[anchor] = times + 1
        yield anchor if times == 0 else f"{anchor}-{times}"


def broken_links(page):
    """The relative links of `page` that lead to no file, or to no heading of a page."""
    text = page.read_text("utf-8")
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", code_blocks(text)[1]):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    return broken


class Parsed(Exception):
    """The flags were parsed; the script need not go on."""


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_table_is_that_of_the_code(name):
    page, make_table = tables.TABLES[name]
    text = (ROOT / page).read_text("utf-8")
    assert tables.with_table(text, name, make_table()) == text, "run `python -m docs.tables --write`"


def test_a_page_without_the_marks_of_its_table_is_named():
    with pytest.raises(InputError, match="<!-- codecs -->"):
        tables.with_table("no marks here", "codecs", "| a |")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, and `code`\n[a](#a-title-and-code) [b](#b) [c](gone.md) [d](page.md#a-title-and-code)\n"
    )
    assert broken_links(page) == ["#b", "gone.md"]


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 250


def test_the_readme_links_to_every_page():
    text = README.read_text("utf-8")
    links = {page.relative_to(ROOT).as_posix() for page in PAGES[1:]}
    assert sorted(link for link in links if f"]({link})" not in text) == []


def test_every_script_is_in_the_readme():
    scripts = {path.name for path in ROOT.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    text = README.read_text("utf-8")
    assert {name for name in scripts if name not in text} == set()


def test_the_readme_says_why_each_library_is_here():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    libraries = [re.match(r"[\w-]+", line)[0] for line in lines if line[:1].isalpha()]
    table = README.read_text("utf-8").partition("| library |")[2].partition("\n\n")[0]
    assert libraries and [name for name in libraries if not re.search(rf"\b{name}\b", table)] == []


@pytest.mark.parametrize("command", sorted(COMMANDS), ids=" ".join)
def test_a_command_names_a_script_and_its_flags(command, monkeypatch):
    _, module, *flags = command

    def parse(parser, argv=None):
        _, unknown = parser.parse_known_args(argv)
        assert unknown == []
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    with pytest.raises(Parsed):
        importlib.import_module(module).main(flags)


def test_an_unknown_flag_would_be_noticed(monkeypatch):
    with pytest.raises(AssertionError, match="--no_such_flag"):
        test_a_command_names_a_script_and_its_flags(("", "predict", "clip.wav", "--no_such_flag"), monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_and_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = code(page.read_text("utf-8"))
    files = {name for line in lines for name in re.findall(r"(?<![\w/.*{}-])[\w/]+\.py(?!\w)", line)}
    targets = {target for line in lines for target in re.findall(r"^make ([a-z-]+)", line)}
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_the_functions_and_tables_of_the_developers_page_exist():
    checked = 0
    for line in (ROOT / "docs/development.md").read_text("utf-8").splitlines():
        files = [ROOT / name for name in re.findall(r"[\w/]+\.py", line)]
        names = re.findall(r"\w+(?=\(\))", line) + re.findall(r"`([A-Z_]{3,})`", line)
        sources = "".join(path.read_text("utf-8") for path in files)
        for name in names if files else ():
            assert re.search(rf"^(def |class )?{name}\b", sources, flags=re.MULTILINE), f"{name}: {line}"
            checked += 1
    assert checked > 20
