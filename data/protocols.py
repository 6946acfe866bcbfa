"""Readers of the corpora: each makes a function (config, label, problems) -> list of Clips, in a fixed order.

Where a reader needs a path, it takes the name of a field of Config, such as "eval_wav", or a path inside --data_root,
such as "my_codec/test" (text or pathlib). The attribute `flags` of the function that it makes holds the names of the
fields, for --help. `label` is the class of every clip where the corpus does not name it. A line that cannot be used
raises InputError; where `problems` is a list, the line is left out and its message joins the list.
"""

import csv
import os
import re
from collections import defaultdict, namedtuple
from pathlib import Path

from data.classes import REAL, known_class_names, number_of_classes
from data.clip_lists import list_of, ordered_names, read_role, unseen_labels, uses_lists
from data.decoders import audio_suffixes, only_audio
from utils.errors import InputError, MissingInput
from utils.hardware import is_first_process
from utils.reading import read_bytes

LAST_CLASS = 999  # of a corpus of unseen codecs

# A test or training item: its name in score files, its path, its class, and the place that names it ("FILE:LINE").
Clip = namedtuple("Clip", "name path label source")


def locate(config, place):
    """The path that `place` means: the value of the field of `config` of this name, or else a path in --data_root."""
    if isinstance(place, str) and hasattr(config, place):
        return getattr(config, place)
    return Path(config.data_root, place)


def flags_among(*places):
    """Those of `places` that may be names of fields of Config: not pathlib paths, and not text such as "a/b"."""
    return tuple(place for place in places if isinstance(place, str) and place.isidentifier())


def read_lines(path):
    """[(line number, text)] of every line of a text file that is not blank.

    Raises MissingInput when the file does not exist, InputError when it is not UTF-8 text or has no line.
    """
    try:
        content = read_bytes(path, "set --data_root or the flag of this path")
        lines = content.decode("utf-8-sig").split("\n")  # splitlines() would split names that hold U+2028
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a readable text file: {error}") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path} holds no line")
    return rows


def folder_names(folder):
    """The set of file names in a folder. Raises MissingInput when it does not exist, InputError for no access."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInput(f"{folder} is not a folder: set --data_root or the flag of this path") from None
    except (OSError, ValueError) as error:  # too long, not readable, or a NUL in its name
        raise InputError(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def parsed(rows, parse, problems=None):
    """parse(*row) of each of `rows`. The messages of its InputErrors join the list `problems`, if there is one."""
    for row in rows:
        try:
            yield parse(*row)
        except InputError as error:
            if problems is None:
                raise
            problems.append(str(error))


def refuse_doubles(clips, path, problems=None):
    """[Clip] of `clips`, whose names must differ, because score files are joined by name, and so must their files.

    Raises InputError for a name or a file that comes twice, and when there is no clip.
    """
    seen = {}
    files = {}

    def first(clip):
        if not clip.name.strip():
            raise InputError(f"{clip.source} names no file: write its name, or remove the line")
        if clip.name in seen:
            raise InputError(f"{clip.source} names {clip.name} again, first named by {seen[clip.name]}: keep one line")
        seen[clip.name] = clip.source
        other = files.setdefault(os.path.normpath(clip.path), clip)
        if other is not clip:
            raise InputError(
                f"{clip.source} names {clip.name}, the same file as {other.name} in {other.source}: keep one"
            )
        return clip

    clips = list(parsed(zip(clips), first, problems))
    if not clips:
        raise InputError(f"{path} names no clip of this condition")
    return clips


def label_file(wav, label, *, known=True):
    """Clips of the label file `label`, lines of `FILE real|fake CLASS`, whose audio lies in the folder `wav`.

    With `known`, only the classes of training are allowed, 0 to n - 1; otherwise 0 to LAST_CLASS.
    """

    def read(config, _=None, problems=None):
        path = locate(config, label)
        folder = locate(config, wav)
        classes = number_of_classes(config) if known else LAST_CLASS + 1

        def parse(number, line):
            fields = line.strip().rsplit(None, 2)  # from the right: file names may hold blanks
            if len(fields) != 3 or fields[1] not in ("real", "fake"):
                raise InputError(f"{path}:{number} reads {line.strip()!r}, expected FILE real|fake CLASS")
            name, _, text = fields
            if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) >= classes:
                raise InputError(f"{path}:{number} gives {name} the class {text}, expected 0 to {classes - 1}")
            if (fields[1] == "real") != (int(text) == REAL):
                raise InputError(
                    f"{path}:{number} calls {name} {fields[1]} and gives it the class {text}: only real speech is class"
                    f" {REAL}"
                )
            return Clip(name, folder / name, int(text), f"{path}:{number}")

        return refuse_doubles(parsed(read_lines(path), parse, problems), path, problems)

    read.flags = flags_among(wav, label)
    return read


def clip_list(role, otherwise):
    """Clips of `role`, train, dev or eval, of the user's lists; without lists, those of the reader `otherwise`.

    A label that training lacks is an error. But test clips, and lines that --dev_rows takes from the training list, are
    left out then, and their number is printed.
    """

    def read(config, label=None, problems=None):
        if not uses_lists(config):
            return otherwise(config, label, problems)
        names = known_class_names(config)
        rows = read_role(config, role, problems)
        held_out = role == "dev" and config.dev_rows and not config.dev_list
        known = [row for row in rows if row.label in names] if role == "eval" or held_out else rows
        if len(known) < len(rows) and is_first_process():
            unseen = ", ".join(ordered_names({row.label for row in rows} - set(names)))
            kind = "development" if role == "dev" else "test"
            count = len(rows) - len(known)
            print(f"{list_of(config, role)}: {count} {kind} clips are of classes that training lacks: {unseen}")

        def as_clip(row):
            if row.label not in names:
                raise InputError(
                    f"{row.source} gives {row.name} the label {row.label}, which the model lacks:"
                    f" expected {', '.join(names)}"
                )
            return Clip(row.name, row.path, names.index(row.label), row.source)

        return refuse_doubles(parsed(zip(known), as_clip, problems), list_of(config, role), problems)

    read.flags = (f"{role}_list", *([] if role == "train" else [f"{role}_rows"]), *otherwise.flags)
    return read


def unseen_clips(config, label=None, problems=None):
    """The test clips of the user's lists whose classes training lacks. Their classes follow the known ones."""
    if not uses_lists(config):
        raise MissingInput("there is no list of test clips: give --eval_list")
    names = known_class_names(config)
    unseen = unseen_labels(config, names)
    clips = [
        Clip(row.name, row.path, len(names) + unseen.index(row.label), row.source)
        for row in read_role(config, "eval", problems)
        if row.label in unseen
    ]
    return refuse_doubles(clips, list_of(config, "eval"), problems)


unseen_clips.flags = ("eval_list", "eval_rows")


def audio_folder(wav, subfolder=""):
    """Every audio file that lies directly in a folder, in name order, all of one class."""

    def read(config, label, problems=None):
        folder = locate(config, wav) / subfolder
        names = sorted(only_audio(folder_names(folder)))
        if not names:
            raise InputError(f"{folder} holds no audio file ({', '.join(audio_suffixes())})")
        return [Clip(name, folder / name, label, str(folder)) for name in names]

    read.flags = flags_among(wav)
    return read


def asvspoof(wav, protocol, key):
    """The trials of one `key`, bonafide or spoof, of an ASVspoof2019 LA protocol: lines of `SPEAKER NAME - SYSTEM KEY`.

    A clip's name has no extension, as in the published score files; its audio is NAME.flac.
    """

    def read(config, label, problems=None):
        path = locate(config, protocol)
        folder = locate(config, wav)

        def parse(number, line):
            fields = line.split()
            if len(fields) != 5 or fields[4] not in ("bonafide", "spoof"):
                raise InputError(f"{path}:{number} reads {line!r}, expected SPEAKER NAME - SYSTEM bonafide|spoof")
            if fields[4] == key:
                return Clip(fields[1], folder / f"{fields[1]}.flac", label, f"{path}:{number}")

        return refuse_doubles(filter(None, parsed(read_lines(path), parse, problems)), path, problems)

    read.flags = flags_among(wav, protocol)
    return read


def in_the_wild(wav, meta, key):
    """The rows of one `key`, bona-fide or spoof, of In-the-Wild's meta.csv: `file,speaker,label` under a header."""

    def read(config, label, problems=None):
        path = locate(config, meta)
        folder = locate(config, wav)

        def parse(number, line):
            try:
                fields = next(csv.reader([line]))
            except csv.Error as error:
                raise InputError(f"{path}:{number} is not a line of CSV ({error}), expected FILE,SPEAKER,KEY") from None
            if number == 1 and fields[-1] == "label":
                return None
            if len(fields) != 3 or fields[2] not in ("bona-fide", "spoof"):
                raise InputError(f"{path}:{number} reads {line!r}, expected FILE,SPEAKER,bona-fide|spoof")
            if fields[2] == key:
                return Clip(fields[0], folder / fields[0], label, f"{path}:{number}")

        return refuse_doubles(filter(None, parsed(read_lines(path), parse, problems)), path, problems)

    read.flags = flags_among(wav, meta)
    return read


def both(*readers):
    """The clips of several readers, one after the other."""

    def read_all(config, label, problems=None):
        return [clip for read in readers for clip in read(config, label, problems)]

    read_all.flags = tuple(name for read in readers for name in read.flags)
    return read_all


def check_audio(clips, folders_only=False):
    """Raise InputError when an audio file of `clips` does not exist. Each folder is listed once; no file is opened.

    Raises MissingInput when the folder of a corpus does not exist; with `folders_only`, only this is checked.
    """
    folders = defaultdict(list)
    for clip in clips:
        folders[clip.path.parent].append(clip)
    for folder, members in folders.items():
        corpus = members[0].path.parents[: members[0].name.count("/") + 1][-1]  # names may have folders in them
        names = folder_names(folder) if os.path.isdir(folder) or not corpus.is_dir() else ()
        missing = [clip for clip in members if clip.path.name not in names]
        if missing and not folders_only:
            raise InputError(
                f"{missing[0].path}, named by {missing[0].source}, does not exist"
                f" ({len(missing)} of {len(members)} files of {folder} are missing)"
            )
