"""Published protocols that serve as tables of clips without a change: a row each in CORPUS_FORMATS.

The class of a clip is what made it (an attack, a model), and `real` for bona fide speech. The columns are those of the
README files of ASVspoof 2019 LA, of the evaluation package of ASVspoof 2021 and of ASVspoof 5, and of the headers of
meta.csv in In-the-Wild and MLAAD.
"""

import io
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from utils.errors import InputError

REAL_LABEL = "real"
REAL_NAMES = (REAL_LABEL, "bonafide", "bona-fide", "bona_fide", "bona fide")  # in lower case
KEYS = MappingProxyType({"bonafide": True, "spoof": False})
FIRST_LINES = 50  # of a file, by which its format is recognised


class CorpusFormat(NamedTuple):
    """A row of CORPUS_FORMATS. Its columns `file` and `speaker` are those of a table of clips."""

    title: str
    columns: tuple  # names, in their order; for a file with a header those that it must begin with
    source: str  # the column that names what made a spoofed clip
    key: str | None = None  # the column that says whether a clip is real; None: none is
    keys: Mapping = KEYS  # {word of this column: whether it means real speech}
    delimiter: str | None = None  # None: white space
    header: bool = False
    file_name: Callable = str  # what the column `file` holds -> the name relative to the folder of the audio

    def fields(self, line):
        """The fields of a line."""
        return [field.strip() for field in line.split(self.delimiter)]

    def fits(self, lines):
        """Whether the first lines of a file, text, are of this format."""
        names = tuple(self.fields(lines[0]))
        if self.header and names[: len(self.columns)] != self.columns:
            return False
        if not self.key:
            return True
        rows = [self.fields(line) for line in lines[self.header :]]
        place = self.columns.index(self.key)
        right = [len(row) == len(names) and len(row) > place and row[place] in self.keys for row in rows]
        if self.header:  # a table of the user's own may have the same columns
            return names == self.columns and bool(right) and all(right)
        # Half of them: some lines may be broken, and a line of another table may look like one of these.
        return 2 * sum(len(row) == len(self.columns) and row[place] in self.keys for row in rows) >= len(rows)

    def read_rows(self, path, text):
        """([(line number, {column: text})], names of the columns, messages on broken lines) of a file."""
        lines = [(number, line) for number, line in enumerate(text_lines(text), 1) if line.strip()]
        names = self.columns
        if self.header and lines:
            names = tuple(self.fields(lines[0][1]))
            missing = [name for name in self.columns if name not in names]
            if missing:
                raise InputError(f"{path}:{lines[0][0]} has no column {missing[0]}: it is not of {self.title}")
            lines = lines[1:]
        rows = []
        problems = []
        for number, line in lines:
            try:
                rows.append((number, self.read_line(self.fields(line), names)))
            except InputError as error:
                problems.append(f"{path}:{number} {error}")
        standard = {"path": "file"}
        return rows, [*(standard.get(name, name) for name in names), "label"], problems

    def read_line(self, fields, names):
        """{column: text} of the fields of a line, with a label. Raises InputError that says what is wrong."""
        if len(fields) != len(names):
            raise InputError(f"has {len(fields)} fields, expected the {len(names)} of {self.title}: {' '.join(names)}")
        row = dict(zip(names, fields, strict=True))
        if self.key and row[self.key] not in self.keys:
            raise InputError(f"has the {self.key} {row[self.key]!r}, expected {' or '.join(self.keys)}")
        real = self.key and self.keys[row[self.key]]
        file = self.file_name(row.get("file") or row.get("path", ""))
        return row | {"file": file, "label": REAL_LABEL if real else row[self.source]}


def label_of(text):
    """The label that `text` of a table, or the name of a folder, means: REAL_LABEL for each of REAL_NAMES."""
    label = unicodedata.normalize("NFC", text)
    return REAL_LABEL if label.lower() in REAL_NAMES else label


def last_part(text):
    """The name of a file without its folders: MLAAD writes each meta.csv beside its audio."""
    return text.replace("\\", "/").rpartition("/")[2]


CORPUS_FORMATS = {
    "asvspoof2019-la": CorpusFormat("ASVspoof 2019 LA", ("speaker", "file", "-", "attack", "key"), "attack", "key"),
    "asvspoof2021-la": CorpusFormat(
        "ASVspoof 2021 LA",
        ("speaker", "file", "codec", "transmission", "attack", "key", "trim", "subset"),
        *("attack", "key"),
    ),
    "asvspoof2021-df": CorpusFormat(
        "ASVspoof 2021 DF",
        (
            "speaker",
            "file",
            "codec",
            "corpus",
            "attack",
            "key",
            "trim",
            "subset",
            "vocoder",
            "task",
            "team",
            "pair",
            "to",
        ),
        *("attack", "key"),
    ),
    "asvspoof5": CorpusFormat(
        "ASVspoof 5",
        ("speaker", "file", "gender", "codec", "codec_q", "codec_seed", "attack_tag", "attack", "key", "tmp"),
        *("attack", "key"),
    ),
    "in-the-wild": CorpusFormat(
        "In-the-Wild",
        ("file", "speaker", "label"),
        *("label", "label"),
        keys=MappingProxyType({"bona-fide": True, "spoof": False}),
        delimiter=",",
        header=True,
    ),
    "mlaad": CorpusFormat(
        "MLAAD",
        ("path", "original_file", "language", "is_original_language", "duration", "training_data", "model_name"),
        "model_name",
        delimiter="|",
        header=True,
        file_name=last_part,
    ),
    "label-file": CorpusFormat(
        "label files of ST-Codecfake",
        ("file", "key", "class"),
        *("class", "key"),
        keys=MappingProxyType({"real": True, "fake": False}),
    ),
}


def text_lines(text):
    """The lines of a text, which end with \\n, \\r\\n or \\r; splitlines() would split names that hold U+2028."""
    return io.StringIO(text, newline=None).read().split("\n")


def recognise_format(text, name=None):
    """The row of CORPUS_FORMATS that a table is of: that of `name`, or the one that its first lines fit, or None."""
    if name:
        return CORPUS_FORMATS[name]
    lines = [line for line in text_lines(text[:100_000]) if line.strip()][:FIRST_LINES]
    return next((row for row in CORPUS_FORMATS.values() if lines and row.fits(lines)), None)
