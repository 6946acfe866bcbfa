"""The README says what the code does: its tables are the code's, its commands parse, its files exist."""

import re
import shlex

import pytest
from helpers import ROOT, run_script

from docs import tables

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^(?:\| [^|]*\| `)?python (\w+\.py[^`#\n]*)", README, flags=re.MULTILINE)))


def test_the_tables_are_those_of_the_code():
    assert tables.with_tables(README) == README, "run `python -m docs.tables --write`"


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_is_understood(command):
    script, *flags = shlex.split(command)
    finished = run_script(script, *flags, "--help")
    assert finished.returncode == 0 and script in finished.stdout, finished.stderr


def test_every_script_is_in_the_readme():
    scripts = {path.name for path in ROOT.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    assert scripts - {name for name in scripts if name in README} == set()
