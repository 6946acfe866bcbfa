"""What is wrong with a whole corpus: its label files, its folders, its audio, and what its splits share.

Every function adds what it finds to a list of Findings. check_data.py calls them one after the other.
"""

import csv
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import NamedTuple

from tqdm import tqdm

from data.audio import SAMPLE_RATE, SAMPLES
from data.classes import MANIFEST
from data.clip_lists import uses_lists
from data.conditions import CONDITIONS, PUBLISHED_FILES, select
from data.doctor import FileRecord, examine_file, file_findings, file_state, find_archives
from data.names import cluster_of
from data.taxonomy import read_codecs
from data.taxonomy_protocols import find_audio, read_list
from utils.console import print_table
from utils.errors import NOT_UTF8, InputError, MissingInput, printable
from utils.files import csv_line, naming_unwritable, write_parts
from utils.flags import is_default
from utils.reading import files_below

RECORDS_FILE = "files.csv"
CASES = 3  # of each kind, that the summary prints
TAKEN_AT_ONCE = {True: 256, False: 8}  # files that a process is given at once, by --fast
# Lines of the lists of CodecFake+, as published. Its files are not counted, as the lists name only some of them.
PUBLISHED_LINES = {
    **dict.fromkeys(("train_mult_learn", "train_mult_learn_bal_dec", "train_mult_learn_bal_vq"), 85_930),
    **dict.fromkeys(("dev_mult_learn", "dev_mult_learn_bal_dec", "dev_mult_learn_bal_vq"), 1470),
    **dict.fromkeys(("test_mult_learn", "test_mult_learn_bal_dec", "test_mult_learn_bal_vq"), 1510),
    **{"CoRS_ALL": 23_405, "CoSG_ALL": 1797, "CoSG_SEEN": 577},
}


class FindingKind(NamedTuple):
    """A row of FINDING_KINDS."""

    is_wrong: bool  # whether the exit status counts it; what is not counted is normal in some corpora
    words: str


FINDING_KINDS = {
    "unusable": FindingKind(True, "corpora, folders and label files that are missing or cannot be read"),
    "label": FindingKind(True, "lines of label files that are broken, repeated or of an unknown class"),
    "missing": FindingKind(True, "audio files that a label file names, but that do not exist"),
    "surplus": FindingKind(True, "files in a folder of the corpus that no label file names"),
    "count": FindingKind(True, "parts whose number of files is not the published one"),
    "undecodable": FindingKind(True, "audio files that are empty, cut short, not finite or not audio"),
    "silent": FindingKind(True, "audio files in which no sample is above -100 dB of full scale"),
    "clipped": FindingKind(True, "audio files with more than 0.1 % of their samples at full scale"),
    "duplicate": FindingKind(True, "audio files with the same samples as a file of another split"),
    "copy": FindingKind(False, "audio files with the same samples as another file of their split"),
    "speaker": FindingKind(False, "speakers that are in two splits, by their file names"),
    "utterance": FindingKind(True, "utterances that are in two splits, by their file names"),
    "archive": FindingKind(True, "archives that are cut short, or of which a part is missing"),
    "short": FindingKind(False, f"audio files shorter than the crop of {SAMPLES / SAMPLE_RATE:.2f} s, which repeat"),
    "rate": FindingKind(False, f"audio files whose sample rate is not {SAMPLE_RATE} Hz, which are resampled"),
    "channels": FindingKind(False, "audio files of more than one channel, of which the mean is taken"),
}


class Finding(NamedTuple):
    """A row of findings.csv."""

    kind: str  # a key of FINDING_KINDS
    part: str  # the name of a part, or of two
    file: str
    detail: str


class Part(NamedTuple):
    """The clips that one condition or list names."""

    name: str
    split: str
    clips: list
    published: int | None  # number of clips
    checked: bool = True  # False: only its names are read, so that its files do not count as surplus


# ---- label files and lists ------------------------------------------------------------------------------------------


def read_part(config, findings, name, split, published, read, checked=True):
    """The Part whose clips read(problems) gives; None where it cannot be read."""
    problems = []
    try:
        clips = read(problems)
    except InputError as error:
        if not checked:
            return None
        if isinstance(error, MissingInput) and config.skip_missing:
            print(f"skipped {name}: {error}")
        else:
            findings.append(Finding("unusable", name, "", str(error)))
        clips = None
    if checked:
        findings += [Finding("label", name, "", message) for message in problems]
    return None if clips is None else Part(name, split, clips, published, checked)


def condition_parts(config, findings):
    """[Part] of the conditions of the first system. Of those that --condition leaves out, only the names are read.

    Beside lists, a part that is not given is no finding, but for the training clips.
    """
    wanted = conditions_to_check(config)
    parts = []
    for row in [*CONDITIONS, *(row for row in wanted if row not in CONDITIONS)]:
        split = row.suite if row.suite in ("train", "dev") else "eval"
        optional = uses_lists(config) and split != "train" and row.name not in config.condition
        settings = replace(config, skip_missing=config.skip_missing or optional)
        read = partial(row.clips, config)
        parts.append(read_part(settings, findings, row.name, split, PUBLISHED_FILES.get(row.name), read, row in wanted))
    return list(filter(None, parts))


def conditions_to_check(config):
    """The conditions that --condition selects; beside lists, without other corpora that no flag names."""
    suites = {row.suite for row in CONDITIONS}
    try:
        wanted = select(config, *suites)
    except MissingInput:  # no list has test clips, so nothing says which classes training lacks
        wanted = select(config, *suites - {"ood"})
    if not uses_lists(config):
        return wanted

    def is_given(row):
        of_lists = row.suite in ("train", "dev", "id") or row not in CONDITIONS
        flags = ("data_root", *row.reader.flags) if not of_lists else ()
        named = not all(is_default(config, name) for name in flags)
        return of_lists or named or row.name in config.condition

    return list(filter(is_given, wanted))


def split_of_lists(corpus):
    """{path: split} of the lists of one corpus of CodecFake+, a TaxonomyConfig: those of training first."""
    splits = {}
    if corpus.dataset_type == "CoRS":
        splits = {path: path.stem.partition("_")[0] for path in files_below(corpus.list_dir, levels=1)}
        splits = {path: split for path, split in splits.items() if path.suffix == ".txt"}
    tested = {corpus.eval_list, *corpus.eval_list.parent.glob(f"{corpus.dataset_type}_*.txt")}
    return splits | dict.fromkeys(sorted(tested), "test")


def list_parts(config, corpora, findings):
    """[Part] of the lists of CodecFake+; `corpora` holds a TaxonomyConfig for each of its corpora."""
    codecs = read_codecs(config.codec_table)
    parts = []
    for corpus in corpora:
        for path, split in split_of_lists(corpus).items():

            def read(problems, path=path, corpus=corpus):
                return find_audio(read_list(path, corpus.dataset_type, corpus.base_dir, codecs, problems))

            parts.append(read_part(config, findings, path.stem, split, PUBLISHED_LINES.get(path.stem), read))
    return list(filter(None, parts))


def refuse_empty_corpus(config, parts, findings):
    """Raise InputError when not a single part can be checked."""
    if not any(part.checked for part in parts):
        reason = f"the first problem: {findings[0].detail}" if findings else "every part was skipped"
        raise InputError(f"{config.data_root} holds no part that can be checked; {reason}")


# ---- names ----------------------------------------------------------------------------------------------------------


def is_own_corpus(config):
    """Whether the corpus is not a published one: it is given by lists, or has a manifest.json as that of the demo."""
    return uses_lists(config) or (config.data_root / MANIFEST).exists()


def tell_unreadable(findings, part, folder):
    """Make a folder that cannot be read a finding, once."""
    if not any((row.kind, row.file) == ("unusable", str(folder)) for row in findings):
        findings.append(Finding("unusable", part, str(folder), "the folder cannot be read"))


def file_names(folder):
    """The names of all that lies in a folder, without its folders; an empty set where there is no folder.

    Raises OSError where it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def clips_by_folder(config, parts, findings):
    """{folder: {file name: (Part, Clip) that names it first}}; a second split of a list is a finding."""
    folders = defaultdict(dict)
    for part in parts:
        for clip in part.clips:
            first_part, first_clip = folders[clip.path.parent].setdefault(clip.path.name, (part, clip))
            named_by_lists = config.system == "taxonomy" or uses_lists(config)
            if part.checked and first_part.split != part.split and named_by_lists:
                splits = f"{first_part.split}, {part.split}"
                detail = f"named by {first_clip.source} and by {clip.source}"
                findings.append(Finding("duplicate", splits, str(clip.path), detail))
    return folders


def check_file_names(config, parts, findings):
    """{path: its first Part} of the files to read. Missing and surplus files are findings."""
    label_files = {getattr(config, name) for name in vars(config) if name.endswith("_label")}
    present = {}
    for folder, named in clips_by_folder(config, parts, findings).items():
        try:
            in_folder = file_names(folder)
        except OSError:
            tell_unreadable(findings, next(iter(named.values()))[0].name, folder)
            continue
        checked = {name: (part, clip) for name, (part, clip) in named.items() if part.checked}
        for name, (part, clip) in checked.items():
            if name in in_folder:
                present[clip.path] = part
            else:
                findings.append(Finding("missing", part.name, str(clip.path), f"named by {clip.source}"))
        if config.system == "codecs" and checked and not uses_lists(config):
            first_part = next(iter(checked.values()))[0]
            surplus = [folder / name for name in sorted(in_folder - named.keys()) if folder / name not in label_files]
            findings += [Finding("surplus", first_part.name, str(path), "no label file names it") for path in surplus]
    return present


def check_counts(config, parts, findings):
    """Parts of a published corpus whose number of files is not the published one are findings."""
    if is_own_corpus(config):
        return
    for part in parts:
        if part.checked and part.published not in (None, len(part.clips)):
            detail = f"{len(part.clips)} files, published: {part.published}"
            findings.append(Finding("count", part.name, "", detail))


def check_splits(config, parts, findings):
    """Speakers and utterances that are in two splits, by their file names, are findings."""
    if is_own_corpus(config):
        return  # the demo corpus numbers its utterances from 0 in every part
    for kind in ("speaker", "utterance"):
        members = defaultdict(set)
        for part in parts:
            members[part.split] |= {cluster_of(clip.name, kind) for clip in part.clips if part.checked} - {None}
        for one, other in combinations(sorted(members), 2):
            for shared in sorted(members[one] & members[other]):
                name = shared if kind == "speaker" else "_".join(shared)
                findings.append(Finding(kind, f"{one}, {other}", name, "in both"))


# ---- files ----------------------------------------------------------------------------------------------------------


def read_records(path):
    """{path: FileRecord} of a files.csv, without lines that a stopped run left incomplete; {} where there is none.

    Raises InputError when the file cannot be read.
    """
    numbers = [name for name, kind in FileRecord.__annotations__.items() if kind is int]
    records = {}
    try:
        with open(path, encoding="utf-8", errors=NOT_UTF8, newline="") as file:
            for row in csv.reader(file):
                try:
                    record = FileRecord(**dict(zip(FileRecord._fields, row, strict=True)))
                    record = record._replace(**{name: int(getattr(record, name)) for name in numbers})
                except (TypeError, ValueError):
                    continue
                records[record.path] = record
    except FileNotFoundError:
        pass
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it, or give another --check_folder") from None
    return records


def write_rows(path, header, rows):
    """Write a CSV file in one step."""
    write_parts(path, map(csv_line, [header, *rows]))


def examine_files(config, paths):
    """[FileRecord] of `paths`. Files that files.csv holds and that have not changed are not read again.

    Every record is added to files.csv at once, so that a stopped run can go on. Raises InputError when it cannot be
    written.
    """
    log = config.check_folder / RECORDS_FILE
    records = read_records(log)
    depths = ("headers", "samples") if config.fast else ("samples",)

    def is_known(path):
        record = records.get(str(path))
        if record is None or record.error or record.depth not in depths:
            return False
        return (record.size, record.changed) == file_state(path)

    to_read = [path for path in paths if not is_known(path)]
    if len(to_read) < len(paths):
        print(f"{len(paths) - len(to_read)} of {len(paths)} files have not changed since {log} was written")
    job = partial(examine_file, headers_only=config.fast)
    log.parent.mkdir(parents=True, exist_ok=True)
    pool = ProcessPoolExecutor(config.num_workers) if config.num_workers and len(to_read) > 1 else None
    examined = pool.map(job, to_read, chunksize=TAKEN_AT_ONCE[config.fast]) if pool else map(job, to_read)
    try:
        with naming_unwritable(log), open(log, "a", encoding="utf-8", errors=NOT_UTF8, newline="") as file:
            for record in tqdm(examined, desc="files", total=len(to_read), unit="file"):
                file.write(csv_line(record))
                records[record.path] = record
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    write_rows(log, FileRecord._fields, [records[path] for path in sorted(records)])
    return [records[str(path)] for path in paths]


def check_files(config, present, findings):
    """Read the files of `present` {path: Part} and the archives; what is wrong with them are findings."""
    archives = find_archives(config.data_root, lambda path: tell_unreadable(findings, "", path))
    records = examine_files(config, [*present, *archives])
    damaged = [record for record in records[len(present) :] if record.error]
    findings += [Finding("archive", "", record.path, record.error) for record in damaged]
    first = {}
    for (path, part), record in zip(present.items(), records[: len(present)], strict=True):
        findings += [Finding(kind, part.name, str(path), detail) for kind, detail in file_findings(record)]
        if not record.digest or record.silent:
            continue
        twin, twin_part = first.setdefault(record.digest, (path, part))
        if twin != path:
            kind = "copy" if twin_part.split == part.split else "duplicate"
            parts = f"{twin_part.name}, {part.name}"
            findings.append(Finding(kind, parts, str(path), f"the same samples as {twin}"))


# ---- summary --------------------------------------------------------------------------------------------------------


def print_parts(config, parts, present):
    """Print a table of the parts: how many files their label files name, are present, and were published.

    The published numbers are left out for a corpus of the user's own.
    """
    columns = ("part", "split", "classes", "named", "present", "published")[: 5 if is_own_corpus(config) else 6]
    rows = []
    for part in [part for part in parts if part.checked]:
        in_folder = sum(clip.path in present for clip in part.clips)
        labels = {str(clip.label) for clip in part.clips if isinstance(clip.label, int)}
        published = "-" if part.published is None else part.published
        row = (part.name, part.split, len(labels) or "-", len(part.clips), in_folder, published)
        rows.append(row[: len(columns)])
    print_table(columns, rows)


def print_findings(findings):
    """Print the number of findings of each kind, and the first of them."""
    for kind, (is_wrong, words) in FINDING_KINDS.items():
        cases = [finding for finding in findings if finding.kind == kind]
        if cases:
            print(f"\n{len(cases)} {kind}{'' if is_wrong else ' (listed, not counted as wrong)'}: {words}")
        for case in cases[:CASES]:
            print(printable("  " + ": ".join(filter(None, (case.part, case.file, case.detail)))))
        if len(cases) > CASES:
            print(f"  and {len(cases) - CASES} more")


def count_wrong(findings):
    """How many of `findings` are of a kind that counts as wrong."""
    return sum(FINDING_KINDS[finding.kind].is_wrong for finding in findings)
