"""Test conditions of the user's own, from a TOML file: lines of what to trace, beside those of data/conditions.py.

[[condition]]
name = "podcasts"          # for --condition; the score file is result_podcasts.txt
kind = "real"              # real: real speech; known: a class of training; unseen: a codec that training lacks
audio = "podcasts"         # a folder, or a table with a column `file`; relative to the TOML file

[[condition]]
name = "mimi-phone"
kind = "known"
class = "mimi"             # the class of every clip, by its name
audio = "phone/clips.csv"
"""

import re
from pathlib import Path
from typing import NamedTuple

from data.clip_table import read_table
from data.corpus_formats import REAL_LABEL
from data.protocols import Clip, audio_folder, refuse_doubles
from utils.errors import InputError, MissingInput
from utils.reading import read_bytes, shown

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

KINDS = {"real": "unseen_real", "known": "source", "unseen": "ood"}  # {kind: suite of its conditions}
KEYS = ("name", "kind", "audio", "class")


class OwnCondition(NamedTuple):
    """A [[condition]] of the file."""

    name: str
    kind: str  # a key of KINDS
    audio: Path
    class_name: str | None  # of every clip; None for unseen codecs


def read_own_conditions(path):
    """[OwnCondition] of a TOML file. Raises MissingInput when it does not exist, InputError for a broken one."""
    text = read_bytes(path, "give the file of --own_conditions")
    try:
        content = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, or an integer of 5,000 digits
        raise InputError(f"{path} is not a readable TOML file: {error}") from None
    rows = content.get("condition")
    if not isinstance(rows, list) or not rows or set(content) != {"condition"}:
        raise InputError(f"{path} holds {', '.join(content) or 'nothing'}, expected only [[condition]], once or more")
    conditions = [check_condition(path, number, row) for number, row in enumerate(rows, 1)]
    names = [condition.name for condition in conditions]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} has two conditions of the name {name}: rename one of them")
    return conditions


def check_condition(path, number, row):
    """The OwnCondition of the `number`-th [[condition]] of the file `path`. Raises InputError where it is broken."""
    place = f"{path}: condition {number}"
    if not isinstance(row, dict):
        raise InputError(f"{place} is {shown(row)}, expected a [[condition]]")
    for key, value in row.items():
        if key not in KEYS:
            raise InputError(f"{place} has the key {key}, expected {', '.join(KEYS)}")
        if not isinstance(value, str) or not value:
            raise InputError(f"{place} has {key} = {shown(value)}, expected text in quotes")
        if not value.isprintable():
            raise InputError(f"{place} has {key} = {shown(value)}, expected printable text")
    kind = row.get("kind")
    needed = [*KEYS[:3], *(["class"] if kind == "known" else [])]
    missing = [key for key in needed if key not in row]
    if missing:
        raise InputError(f"{place} has no {' and no '.join(missing)}")
    if kind not in KINDS:
        raise InputError(f"{place} has the kind {kind}, expected {', '.join(KINDS)}")
    if "class" in row and kind != "known":
        raise InputError(f"{place} has a class, but only those of kind known have one")
    if not re.fullmatch(r"[\w.-]+", row["name"]) or row["name"] in ("all", "id"):
        raise InputError(f"{place} has the name {row['name']!r}, expected letters, digits and - . _")
    class_name = {"real": REAL_LABEL, "known": row.get("class"), "unseen": None}[kind]
    return OwnCondition(row["name"], kind, path.parent / row["audio"], class_name)


def clips_of(audio):
    """A reader of all clips of a folder or a table, of one class; see data/protocols.py."""

    def read(config, label, problems=None):
        if audio.is_dir():
            return audio_folder(audio)(config, label, problems)
        try:
            table = read_table(audio, ("file",))
        except MissingInput:
            raise MissingInput(f"{audio}, named by {config.own_conditions}, does not exist") from None
        if table.problems and problems is None:
            raise InputError(table.problems[0])
        (problems if problems is not None else []).extend(table.problems)
        clips = [Clip(clip.name, clip.path, label, clip.source) for clip in table.clips]
        return refuse_doubles(clips, audio, problems)

    read.flags = ("own_conditions",)
    return read


def class_of(condition, names, path):
    """The number of the class of an OwnCondition; that after the known ones for unseen codecs.

    Raises InputError where the classes `names` lack it.
    """
    if condition.kind == "unseen":
        return len(names)
    if condition.class_name not in names:
        raise InputError(
            f"{path}: {condition.name} is of the class {condition.class_name}, which the model lacks:"
            f" expected one of {', '.join(names)}"
        )
    return names.index(condition.class_name)
