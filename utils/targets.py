"""Files that flags name as output, before anything is written: none of them is an input or a file of another kind."""

import os
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from stat import S_ISREG

from utils.errors import InputError
from utils.files import check_writable, file_at
from utils.model_files import MODEL_FILES

HEAD_BYTES = 4096  # of a file, in which its kind is looked for
# {kind: whether bytes are the head of such a file}. An empty file is of any kind.
KINDS = {
    "csv": lambda head: b"\0" not in head and b"," in head.partition(b"\n")[0],
    "onnx": lambda head: head.startswith(b"\x08"),  # the first field of a model, its version
    "safetensors": lambda head: head[8:9] == b"{",
    "json": lambda head: b"\0" not in head and head.lstrip()[:1] in (b"{", b"["),
    "parquet": lambda head: head.startswith(b"PAR1"),
    "png": lambda head: head.startswith(b"\x89PNG"),
}


def check_target(path, kind, inputs=()):
    """Raise InputError when the output file `path` cannot be written, is one of `inputs`, or holds no `kind`, of KINDS.

    Hard links, links and other spellings of an input are found too. A device or a pipe takes any kind.
    """
    path = Path(path)
    check_writable(path.parent, path)
    status = file_at(path)
    if not status or not S_ISREG(status.st_mode):
        return
    for name in inputs:
        other = file_at(name)
        if other and os.path.samestat(status, other):
            raise InputError(f"{path} would replace {name}, which this run reads: give another name for the output")
    head = read_head(path)
    if head and not KINDS[kind](head):
        raise InputError(f"{path} is there and is no {kind.upper()} file: give another name, or remove it")


def read_head(path):
    """The first bytes of a file; none of one that may be replaced but not be read."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(HEAD_BYTES)
    return b""


def named_paths(value):
    """The paths that the value of a flag may name."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [item for item in values if isinstance(item, (str, Path)) and str(item)]


def check_targets(config):
    """check_target() of every flag of `config` that opt() declares with `writes`; other flags name its inputs, and the
    folders of models. Raises InputError also for two equal targets."""
    targets = {f.name: f.metadata["writes"] for f in fields(config) if f.metadata["writes"]}
    targets = {name: kind for name, kind in targets.items() if getattr(config, name)}
    inputs = [path for f in fields(config) if f.name not in targets for path in named_paths(getattr(config, f.name))]
    inputs += [Path(path, name) for path in inputs if os.path.isdir(path) for name in MODEL_FILES]
    seen = {}
    for name, kind in targets.items():
        path = getattr(config, name)
        check_target(path, kind, inputs)
        place = os.path.realpath(path)
        status = file_at(path)
        if place in seen and not (status and not S_ISREG(status.st_mode)):
            raise InputError(f"--{seen[place]} and --{name} name the same file {path}: give two names")
        seen[place] = name
