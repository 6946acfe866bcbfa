"""Tell all that is wrong with a copy of ST-Codecfake, CodecFake+ or the real corpora, before hours of GPU time.

    python check_data.py --data_root st-codecfake
    python check_data.py --data_root st-codecfake --condition 19LA ITW NCSSD --fast
    python check_data.py --data_root codecfake_plus --system taxonomy

Prints a summary and writes every finding to result/check_data/findings.csv, and what was measured of every file to
files.csv beside it (--check_folder). A run that was stopped goes on from files.csv; files that have not changed are not
read again. Exit status: 0 nothing is wrong, 1 something is, 2 the corpus or the flags cannot be used.
"""

import csv
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from config_checks import CheckConfig
from utils.errors import InputError, MissingInput, printable, run
from utils.flags import parse_flags

FINDINGS, FILES = "findings.csv", "files.csv"
COLUMNS = ("kind", "part", "file", "detail")
CASES = 3  # of each kind, that the summary shows
CHUNK = {True: 256, False: 8}  # files that a process takes at once, by --fast
# Lines of the lists of CodecFake+, as published; files are not counted, as the lists name some of them.
PUBLISHED_LINES = {
    **dict.fromkeys(("train_mult_learn", "train_mult_learn_bal_dec", "train_mult_learn_bal_vq"), 85_930),
    **dict.fromkeys(("dev_mult_learn", "dev_mult_learn_bal_dec", "dev_mult_learn_bal_vq"), 1470),
    **dict.fromkeys(("test_mult_learn", "test_mult_learn_bal_dec", "test_mult_learn_bal_vq"), 1510),
    **{"CoRS_ALL": 23_405, "CoSG_ALL": 1797, "CoSG_SEEN": 577},
}


class Part(NamedTuple):
    """Clips that one condition or list names."""

    name: str
    split: str
    clips: list
    published: int | None
    checked: bool = True  # False: read for the sake of its names, which tell what is surplus


def read_part(config, found, name, split, published, read, checked=True):
    """The Part of what read(problems) gives, None where it cannot be read; the list `found` takes what is wrong."""
    problems = []
    try:
        clips = read(problems)
    except InputError as error:
        if not checked:
            return None
        if isinstance(error, MissingInput) and config.skip_missing:
            print(f"skipped {name}: {error}")
        else:
            found.append(("unusable", name, "", str(error)))
        clips = None
    if checked:
        found += [("label", name, "", message) for message in problems]
    return None if clips is None else Part(name, split, clips, published, checked)


def conditions(config, found):
    """The Parts of ST-Codecfake's conditions, those that --condition leaves out included, for their names."""
    from data.conditions import CONDITIONS, PUBLISHED_FILES, select

    wanted = select(config, *(row.suite for row in CONDITIONS))
    for row in CONDITIONS:
        split = row.suite if row.suite in ("train", "dev") else "eval"
        read = partial(row.clips, config)
        yield read_part(config, found, row.name, split, PUBLISHED_FILES.get(row.name), read, row in wanted)


def lists(config, found):
    """The Parts of the lists of CodecFake+, their clips with the paths of the audio."""
    from config_taxonomy import CORPORA, TaxonomyConfig
    from data.taxonomy import read_codecs
    from data.taxonomy_protocols import find_audio, read_list

    codecs = read_codecs(config.codec_table)
    for corpus in CORPORA:
        paths = TaxonomyConfig(data_root=config.data_root, dataset_type=corpus)
        listed = {path: path.stem.partition("_")[0] for path in sorted(paths.list_dir.glob("*.txt"))}
        listed = listed if corpus == "CoRS" else {}
        evaluated = {paths.eval_list, *paths.eval_list.parent.glob(f"{corpus}_*.txt")}
        for path, split in {**listed, **dict.fromkeys(sorted(evaluated), "test")}.items():

            def read(problems, path=path, corpus=corpus, paths=paths):
                return find_audio(read_list(path, corpus, paths.base_dir, codecs, problems))

            yield read_part(config, found, path.stem, split, PUBLISHED_LINES.get(path.stem), read)


# ---- names ----------------------------------------------------------------------------------------------------------


def file_names(folder):
    """The names of all that lies in a folder but folders; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def check_names(config, parts, found):
    """{path: its first Part} of the files to read; `found` takes missing and surplus ones, and unexpected counts."""
    named, here = defaultdict(dict), {}
    for part in parts:
        for clip in part.clips:
            first = named[clip.path.parent].setdefault(clip.path.name, (part, clip))
            if part.checked and first[0].split != part.split and config.system == "taxonomy":
                detail = f"named by {first[1].source} and by {clip.source}"
                found.append(("duplicate", f"{first[0].split}, {part.split}", str(clip.path), detail))
    labels = {getattr(config, name) for name in vars(config) if name.endswith("_label")}
    for folder, members in named.items():
        there, checked = file_names(folder), [part for part, _ in members.values() if part.checked]
        for name, (part, clip) in members.items():
            if not part.checked:
                continue
            if name in there:
                here[clip.path] = part
            else:
                found.append(("missing", part.name, str(clip.path), f"named by {clip.source}"))
        if config.system == "codecs" and checked:
            surplus = [folder / name for name in sorted(there - members.keys()) if folder / name not in labels]
            found += [("surplus", checked[0].name, str(path), "nothing names it") for path in surplus]
    if not (config.data_root / "manifest.json").exists():  # which only a corpus of the user's own has
        for part in parts:
            if part.checked and part.published not in (None, len(part.clips)):
                detail = f"{len(part.clips)} files, published: {part.published}"
                found.append(("count", part.name, "", detail))
    return here


def check_shared(config, parts, found):
    """Add to `found` the speakers and utterances that occur in two splits, where file names tell them."""
    from data.names import cluster_of

    if (config.data_root / "manifest.json").exists():
        return  # the demo corpus numbers its utterances from 0 in every part
    for kind in ("speaker", "utterance"):
        members = defaultdict(set)
        for part in parts:
            members[part.split] |= {cluster_of(clip.name, kind) for clip in part.clips if part.checked} - {None}
        for one, other in combinations(sorted(members), 2):
            for shared in sorted(members[one] & members[other]):
                name = shared if kind == "speaker" else "_".join(shared)
                found.append((kind, f"{one}, {other}", name, "in both"))


# ---- samples --------------------------------------------------------------------------------------------------------


def read_files(path):
    """{path: File} of a files.csv, without lines that a stopped run left torn; {} where there is none."""
    from data.doctor import File

    numbers = [name for name, kind in File.__annotations__.items() if kind is int]
    known = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for row in csv.reader(file):
                try:
                    entry = File(**dict(zip(File._fields, row, strict=True)))
                    known[entry.path] = entry._replace(**{name: int(getattr(entry, name)) for name in numbers})
                except (TypeError, ValueError):
                    continue
    except FileNotFoundError:
        pass
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it, or give another --check_folder") from None
    return known


def write_rows(path, header, rows):
    from utils.files import replacing

    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def examine_all(config, paths):
    """[File] of `paths`; those that files.csv knows and that have not changed are not read again."""
    from tqdm import tqdm

    from data.doctor import File, examine, state

    log = config.check_folder / FILES
    known = read_files(log)
    depths = ("headers", "samples") if config.fast else ("samples",)

    def is_known(path):
        entry = known.get(str(path))
        return entry and entry.depth in depths and not entry.error and (entry.size, entry.changed) == state(path)

    todo = [path for path in paths if not is_known(path)]
    if len(todo) < len(paths):
        print(f"{len(paths) - len(todo)} of {len(paths)} files have not changed since {log} was written")
    job = partial(examine, headers_alone=config.fast)
    log.parent.mkdir(parents=True, exist_ok=True)
    pool = ProcessPoolExecutor(config.num_workers) if config.num_workers and len(todo) > 1 else None
    results = pool.map(job, todo, chunksize=CHUNK[config.fast]) if pool else map(job, todo)
    try:
        with open(log, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            for entry in tqdm(results, desc="files", total=len(todo), unit="file"):
                rows.writerow(entry)
                known[entry.path] = entry
    except OSError as error:
        raise InputError(f"{log} cannot be written: {error.strerror or error}") from None
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    write_rows(log, File._fields, [known[path] for path in sorted(known)])
    return [known[str(path)] for path in paths]


def check_samples(here, files, found):
    """Add to `found` what is wrong with each file of `here` {path: Part}, and those whose samples are the same."""
    from data.doctor import findings

    first = {}
    for (path, part), file in zip(here.items(), files, strict=True):
        found += [(kind, part.name, str(path), detail) for kind, detail in findings(file)]
        if not file.digest or file.silent:
            continue
        twin, its = first.setdefault(file.digest, (path, part))
        if twin != path:
            kind = "copy" if its.split == part.split else "duplicate"
            found.append((kind, f"{its.name}, {part.name}", str(path), f"the samples of {twin}"))


# ---- report ---------------------------------------------------------------------------------------------------------


def show(parts, here, found):
    """Print a table of the parts, and of each kind of finding the first cases; the number of findings that count."""
    from data.doctor import KINDS
    from utils.console import print_table

    rows = []
    for part in [part for part in parts if part.checked]:
        there = sum(clip.path in here for clip in part.clips)
        labels = {str(clip.label) for clip in part.clips if isinstance(clip.label, int)}
        published = "-" if part.published is None else part.published
        rows.append((part.name, part.split, len(labels) or "-", len(part.clips), there, published))
    print_table(("part", "split", "classes", "named", "found", "published"), rows)
    for kind, (counts, words) in KINDS.items():
        cases = [row for row in found if row[0] == kind]
        if cases:
            print(f"\n{len(cases)} {kind}{'' if counts else ' (told, not counted)'}: {words}")
        for _, part, file, detail in cases[:CASES]:
            print(printable("  " + ": ".join(filter(None, (part, file, detail)))))
        if len(cases) > CASES:
            print(f"  and {len(cases) - CASES} more")
    return sum(KINDS[row[0]][0] for row in found)


def check(config):
    """Check the corpus, write both tables, print the summary; the number of findings that count."""
    from data.doctor import archives

    found = []
    reader = {"codecs": conditions, "taxonomy": lists}[config.system]
    parts = [part for part in reader(config, found) if part]
    if not any(part.checked for part in parts):
        first = found[0][3] if found else "every part was skipped"
        raise InputError(f"{config.data_root} holds no part that can be used; the first: {first}")
    here, packed = check_names(config, parts, found), archives(Path(config.data_root))
    check_shared(config, parts, found)
    files = examine_all(config, [*here, *packed])
    found += [("archive", "", file.path, file.error) for file in files[len(here) :] if file.error]
    check_samples(here, files[: len(here)], found)
    count = show(parts, here, found)
    write_rows(config.check_folder / FINDINGS, COLUMNS, found)
    print(f"\n{count or 'no'} findings in {len(here)} files; all of them: {config.check_folder / FINDINGS}")
    return count


def main(argv=None):
    config = parse_flags(__doc__, argv, CheckConfig)
    from utils.locks import lock_folders

    if not config.data_root.is_dir():
        raise InputError(f"{config.data_root} is not a folder: give the folder of the corpus as --data_root")
    with lock_folders(config.check_folder):
        count = check(config)
    if count:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
