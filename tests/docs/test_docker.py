"""The Dockerfile and .dockerignore, read as far as that goes without Docker: the image itself is not built here."""

import json
import re
import subprocess
from fnmatch import fnmatchcase

from helpers import ROOT, run_script

INSTRUCTIONS = re.findall(
    r"^([A-Z]+) (.+)$", (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", ""), flags=re.MULTILINE
)


def instructions(name):
    return [text for word, text in INSTRUCTIONS if word == name]


def ignored(path, patterns):
    """Whether .dockerignore leaves out `path`: the last pattern that matches it, or a folder above it, decides."""
    parts = path.split("/")
    heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").rstrip("/")  # Docker cleans the path, so a last slash says nothing
        anywhere = wanted.startswith("**/")
        wanted = wanted.removeprefix("**/")
        for head in heads:
            names = head.split("/")[-1:] if anywhere else head.split("/")
            if len(names) == wanted.count("/") + 1 and all(map(fnmatchcase, names, wanted.split("/"))):
                out = not pattern.startswith("!")
    return out


def test_the_image_has_what_git_has_but_tests():
    patterns = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] not in ("", "#")]
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split("\n")
    left_out = {path.split("/")[0] for path in filter(None, listed) if ignored(path, patterns)}
    assert left_out == {"tests", ".ci"}
    for line in (ROOT / ".gitignore").read_text("utf-8").splitlines():  # nor anything that git leaves out
        assert ignored(line.strip("/").replace("*", "x") + "/y", patterns), line


def test_every_file_that_is_copied_exists():
    for text in instructions("COPY"):
        *sources, _ = text.split()
        assert all((ROOT / source).exists() for source in sources)


def test_python_is_one_that_we_support_and_torch_is_that_of_the_requirements():
    arguments = dict(text.split("=") for text in instructions("ARG"))
    assert instructions("FROM") == ["python:${PYTHON}-slim"]
    oldest = re.search(r'target-version = "py3(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))[1]
    assert int(oldest) <= int(arguments["PYTHON"].removeprefix("3.")) and not arguments["TORCH_INDEX"]
    [install] = instructions("RUN")
    assert "==" not in install and "grep '^torch' requirements.txt" in install
    pins = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line.startswith("torch")]
    assert [pin.split("==")[0] for pin in pins] == ["torch", "torchaudio"]


def test_without_arguments_the_container_shows_the_help_of_predict():
    assert instructions("ENTRYPOINT") == ['["python"]']
    [command] = instructions("CMD")
    shown = run_script(*json.loads(command))
    assert shown.returncode == 0 and shown.stdout.startswith("usage: predict.py")
