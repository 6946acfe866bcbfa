"""A corpus as one table: a line for each clip, with the columns `file` and `label` and others of the user's own.

The table is a CSV or TSV file with a header, a JSONL file, a protocol of data/corpus_formats.py, or a folder with a
subfolder for each label.
"""

import csv
import functools
import io
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from data.audio_names import AudioFinder
from data.corpus_formats import REAL_LABEL, label_of, recognise_format, text_lines
from data.decoders import only_audio
from utils.digests import file_digest
from utils.errors import InputError, MissingInput, printable
from utils.hardware import is_first_process
from utils.reading import files_below, load_json, read_bytes

DELIMITERS = "\t,;|"
TREE_TABLE = "meta.csv"  # of In-the-Wild, and of each model in MLAAD
SHOWN_COLUMNS = 8  # in a message
OTHER_COLUMNS = {  # names that people give to a column
    "file": ("path", "filename", "file_name", "filepath", "audio"),
    "label": ("class", "category"),
}
ZIP_MARK = b"PK\x03\x04"
SEPARATOR_LINE = re.compile(r"\Asep=.(?=\r?\n)")  # the first line that Excel may write
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class TableClip(NamedTuple):
    """A line of a table of clips."""

    path: Path
    label: str
    group: str  # clips of one group went through the same hands: a page, a speaker, a device
    name: str = ""  # as the table writes it
    source: str = ""  # the place that names it, FILE:LINE
    columns: Mapping = MappingProxyType({})  # {column: text}: all of its line


class Table(NamedTuple):
    """What read_table() gives."""

    clips: tuple  # of TableClip, without groups
    columns: tuple  # names
    missing: dict  # {position of a clip whose audio does not exist: message}
    problems: tuple  # messages on the lines that cannot be used


def read_clip_table(path, group):
    """[TableClip] of a table; `group` is the column that names the group of a clip.

    Paths are relative to the folder of the table. Raises MissingInput when the table or an audio file does not exist,
    InputError, naming the line, for a table without these columns or with an empty cell in one of them.
    """
    try:
        table = read_table(path, ("file", "label", group))
    except MissingInput:
        raise MissingInput(f"{path} does not exist: give a CSV file with the columns file, label and {group}") from None
    for message in table.problems:
        raise InputError(message)
    for message in table.missing.values():
        raise MissingInput(message)
    return [clip._replace(group=clip.columns[group]) for clip in table.clips]


def read_table(path, columns=("file", "label"), audio_folders=(), format_name=None):
    """The Table of the file or folder `path`, which must have `columns`: file, that of the label, if any, and others.

    What was guessed about it is printed once.

    Audio is looked for in `audio_folders`; without them, in the folder of the table. `format_name` is one of
    CORPUS_FORMATS. Raises MissingInput when the table does not exist, InputError when it cannot be read or has no clip.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        raise MissingInput(f"{path} does not exist") from None
    state = file_digest(path) or (status.st_mtime_ns, status.st_size)  # the latter of a folder
    return read_table_once(path, tuple(columns), tuple(audio_folders), format_name, state)


@functools.lru_cache(maxsize=16)
def read_table_once(path, columns, audio_folders, format_name, state):
    """What read_table() gives; `state` is its digest, so that a table is read again after a change."""
    if path.is_dir():
        tables = tables_of_tree(path)
        if tables:
            return merged_tables([read_table(table, columns, audio_folders, format_name) for table in tables])
        clips = clips_of_folder(path)
        return Table(clips, ("file", "label"), {}, ())
    text, notes = read_text(path)
    rows, names, problems, format_notes = parse_rows(path, text, columns, format_name)
    finder = AudioFinder(audio_folders or (path.parent,))
    clips = []
    missing = {}
    for number, row in rows:
        try:
            clip, exists = table_clip(path, number, row, columns, finder)
        except InputError as error:
            problems.append(str(error))
            continue
        if not exists:
            missing[len(clips)] = f"{clip.source} names {clip.path}, which does not exist"
        clips.append(clip)
    if not clips and not problems:
        raise InputError(f"{path} names no clip")
    notes += format_notes + finder.notes()
    real = sum(clip.label == REAL_LABEL != clip.columns[columns[1]].strip() for clip in clips)
    if real:
        notes.append(f"{real} labels such as bonafide were read as {REAL_LABEL}")
    if notes and is_first_process():
        print(f"{path}: {'; '.join(notes)}")
    return Table(tuple(clips), tuple(names), missing, tuple(problems))


def table_clip(path, number, row, columns, finder):
    """(TableClip of the line `number` of the table `path`, whether its audio exists)."""
    empty = [name for name in columns if not (row.get(name) or "").strip()]
    if empty:
        raise InputError(f"{path}:{number} has nothing in the column {', '.join(empty)}")
    label = ""
    if len(columns) > 1:
        label = label_of(row[columns[1]].strip())
        if not label.isprintable() or not label:
            raise InputError(f"{path}:{number} has the label {row[columns[1]]!r}, expected printable text")
    try:
        audio, exists = finder.find(row["file"])
    except InputError as error:
        raise InputError(f"{path}:{number}: {error}") from None
    return TableClip(audio, label, row.get("group") or "", row["file"], f"{path}:{number}", row), exists


# ---- text ------------------------------------------------------------------------------------------------------------


def read_text(path):
    """(text of a file, sentences on how it was read). UTF-8 and UTF-16 are known, with and without a mark.

    Raises InputError for other text.
    """
    content = read_bytes(path)
    if content.startswith(ZIP_MARK):
        raise InputError(f"{path} is a ZIP file, as those of Excel are: save the table as CSV in UTF-8")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:  # the first letter is one of ASCII
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a readable CSV file: {error}; save it as UTF-8") from None
    return text, ["it was read as UTF-16"] if encoding.startswith("utf-16") else []


def parse_rows(path, text, columns, format_name):
    """([(line number, {column: text})], names of the columns, messages on broken lines, sentences) of a table.

    Raises InputError where it lacks one of `columns`, or where `format_name` is not known.
    """
    known = recognise_format(text, format_name)
    if known:
        rows, names, problems = known.read_rows(path, text)
        notes = [f"it was read as {known.title}"]
    elif text.lstrip().startswith("{"):
        rows, names, problems, notes = with_usual_names(*read_json_lines(path, text), columns)
    elif text.lstrip().startswith("["):
        raise InputError(f"{path}:1 begins a JSON array, expected JSONL: one JSON object a line")
    else:
        rows, names, problems, notes = with_usual_names(*read_delimited(path, text), columns)
    missing = [name for name in columns if name not in names]
    if missing:
        expected = " and ".join(filter(None, (", ".join(columns[:-1]), columns[-1])))
        found = printable(", ".join(names[:SHOWN_COLUMNS]))
        raise InputError(
            f"{path}:1 has no column {', '.join(missing)}: expected {expected}, found {found or 'no text'}"
        )
    return rows, names, problems, notes


def with_usual_names(rows, names, problems, columns):
    """What parse_rows() gives: a column with another case, or a usual other name, of a wanted one is renamed."""
    by_case = {name.lower(): name for name in reversed(names)}
    renamed = {}
    for wanted in (*columns, "split", "group", "speaker", "utterance"):
        others = wanted, *OTHER_COLUMNS.get(wanted, ())
        other = next((by_case[name] for name in others if name in by_case), None)
        if wanted not in names and other and other not in columns:
            renamed[other] = wanted
    if not renamed:
        return rows, names, problems, []
    rows = [(number, {renamed.get(name, name): text for name, text in row.items()}) for number, row in rows]
    notes = [f"its column {other} was read as {wanted}" for other, wanted in renamed.items()]
    return rows, [renamed.get(name, name) for name in names], problems, notes


def read_json_lines(path, text):
    """What parse_rows() gives of a JSONL file, without sentences: one JSON object a line."""
    rows = []
    problems = []
    names = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = load_json(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"{path}:{number} is not JSON: {error}")
            continue
        if not isinstance(row, dict):
            problems.append(f"{path}:{number} holds {line.strip()[:60]!r}, expected a JSON object")
            continue
        names |= dict.fromkeys(row)
        rows.append((number, {name: json_cell(value) for name, value in row.items()}))
    return rows, list(names), problems


def json_cell(value):
    """A value of a JSON object as the text of a cell; null, lists and objects have none."""
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, (list, dict)) else json.dumps(value)


def find_delimiter(text):
    """The delimiter of a table: one that gives its header a column `file`, and of several the one of most columns."""
    header = text_lines(text.lstrip("\r\n"))[:1]

    def columns(delimiter):
        with suppress(csv.Error):  # read_delimited() names it
            names = [name.strip() for name in next(csv.reader(header, delimiter=delimiter), [])]
            return "file" in names, len(names)
        return False, 0

    return max(DELIMITERS, key=columns)


def read_delimited(path, text):
    """What parse_rows() gives of a CSV or TSV file, without sentences. Raises InputError for a broken header."""
    text = SEPARATOR_LINE.sub("", text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text))
    rows = []
    problems = []
    try:
        header = [name.strip() for name in next((row for row in reader if row), [])]
        doubles = [name for name, count in Counter(header).items() if count > 1 and name]
        if doubles:
            raise InputError(
                f"{path}:{reader.line_num} has the column {printable(min(doubles))} twice: rename one of them"
            )
        for row in reader:
            if not any(map(str.strip, row)):
                continue
            if len(row) < len(header) or any(row[len(header) :]):  # a field too few shifts those after it
                mark = repr(reader.dialect.delimiter)
                how = "keep the place of an empty field" if len(row) < len(header) else ""
                problems.append(
                    f"{path}:{reader.line_num} has {len(row)} fields, expected {len(header)}:"
                    f" {how or f'put quotes around a field that holds {mark}'}"
                )
                continue
            rows.append((reader.line_num, dict(zip(header, row, strict=False))))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num} is not a readable CSV file: {error}") from None
    return rows, header, problems


# ---- folders ---------------------------------------------------------------------------------------------------------


def tables_of_tree(folder):
    """The paths of the tables in the folder of a corpus such as MLAAD, which has a table beside each source's audio."""
    return [path for path in files_below(folder) if path.name == TREE_TABLE and recognise_format(read_text(path)[0])]


def merged_tables(tables):
    """One Table of several; the names of their columns are those of all together."""
    missing = {}
    start = 0
    for table in tables:
        missing |= {start + position: message for position, message in table.missing.items()}
        start += len(table.clips)
    return Table(
        tuple(clip for table in tables for clip in table.clips),
        tuple(dict.fromkeys(name for table in tables for name in table.columns)),
        missing,
        tuple(message for table in tables for message in table.problems),
    )


def clips_of_folder(folder):
    """The TableClips of a folder with a subfolder for each label, in the order of their names.

    Raises InputError where no subfolder holds an audio file, or one cannot be read.
    """
    clips = []
    for subfolder in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        label = label_of(subfolder.name)
        for path in only_audio(files_below(subfolder)):
            name = path.relative_to(folder).as_posix()
            clips.append(TableClip(path, label, "", name, str(folder), {"file": name, "label": label}))
    if not clips:
        raise InputError(f"{folder} has no subfolder with audio files: expected a subfolder for each class")
    return tuple(clips)
