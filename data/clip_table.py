"""A corpus as one CSV table: a line for each clip, with the columns `file` and `label` and others of the user's own."""

import csv
from pathlib import Path
from typing import NamedTuple

from utils.errors import InputError, MissingInput


class TableClip(NamedTuple):
    """A line of a table of clips."""

    path: Path
    label: str
    group: str  # clips of one group went through the same hands: a page, a speaker, a device


def read_clip_table(path, group):
    """[TableClip] of a CSV file with a header; `group` is the column that names the group of a clip.

    Paths are relative to the folder of the table. Raises MissingInput when the table or an audio file does not exist,
    InputError, naming the line, for a table without these columns or with an empty cell in one of them.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("file", "label", group) if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}:1 has no column {', '.join(missing)}: expected file, label and {group}")
            clips = [table_clip(path, reader.line_num, row, group) for row in reader]
    except FileNotFoundError:
        raise MissingInput(f"{path} does not exist: give a CSV file with the columns file, label and {group}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file: {error}") from None
    if not clips:
        raise InputError(f"{path} names no clip")
    return clips


def table_clip(path, number, row, group):
    """The TableClip of the line `number` of the table `path`."""
    empty = [name for name in ("file", "label", group) if not row[name]]
    if empty:
        raise InputError(f"{path}:{number} has nothing in the column {', '.join(empty)}")
    audio = path.parent / row["file"]
    if not audio.is_file():
        raise MissingInput(f"{path}:{number} names {audio}, which does not exist")
    return TableClip(audio, row["label"], row[group])
