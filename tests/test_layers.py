"""The layout: scripts in the root, libraries in folders, imports in one direction."""

import ast
import subprocess

import pytest
from helpers import ROOT

# A library may import those before it, never those after it. `config` holds the values of both systems.
LAYERS = ("utils", "data", "ood_detectors", "models", "config", "engine", "evaluation", "prediction", "reporting")
MOST_LINES = 400  # of a file
LONGEST = 60  # lines of a function


def tracked(pattern):
    done = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in done.stdout.splitlines()]
    return [path for path in paths if path.exists()] or sorted(ROOT.glob(f"**/{pattern}"))


SOURCES = [path for path in tracked("*.py") if ".venv" not in path.parts]
SCRIPTS = {path.stem: path for path in SOURCES if path.parent == ROOT}
LIBRARIES = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in (*LAYERS, "demo", "docs")]


def imported(path):
    """The first part of the name of every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def layer(name):
    """The layer of a module's first name; both configurations are one layer."""
    return "config" if name in ("config", "config_taxonomy") else name


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_import_only_what_lies_below_them(path):
    own = path.relative_to(ROOT).parts[0]
    names = set(map(layer, imported(path)))
    if own in LAYERS:
        assert not names & {*LAYERS[LAYERS.index(own) + 1 :], "demo", "docs"}
    assert not names & (SCRIPTS.keys() - {"config", "config_taxonomy"}), "a library imports a script"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_file_in_the_root_is_a_script_and_imports_no_other(script):
    tree = ast.parse(SCRIPTS[script].read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    assert ast.get_docstring(tree)
    assert not set(imported(SCRIPTS[script])) & (SCRIPTS.keys() - {"config", "config_taxonomy"})


def test_the_check_of_layers_can_fail(tmp_path):
    path = tmp_path / "low.py"
    path.write_text("def late():\n    from reporting import build\n    import evaluate_alm\n")
    assert set(imported(path)) == {"reporting", "evaluate_alm"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < LONGEST, node.name
