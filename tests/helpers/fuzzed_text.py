"""Kinds of files of text and of JSON whose structure a test changes: how they are written, read and checked."""

import io
import json
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config import Config
from data.classes import known_class_names, read_manifest, read_sidecar
from data.conditions import ITW, LA19
from data.own_conditions import read_own_conditions
from data.protocols import asvspoof, clip_list, in_the_wild, label_file
from data.taxonomy import TAXONOMY_CLASSES, read_codecs
from data.taxonomy_protocols import read_list
from engine.score_files import read_class_scores
from engine.taxonomy_score_files import TASK_COLUMNS, read_task_scores
from helpers.mutations import mutated_rows, mutated_tree, rows_text, tree_text
from models.building import adopt_run_settings


class Kind(NamedTuple):
    """A kind of file. What `write` gives goes to `check`, which asserts that the reader's result fits it."""

    write: object  # (rng, folder) -> content; writes the changed file
    read: object  # (folder) -> result
    check: object  # (result, content)


# ---- files of text ---------------------------------------------------------------------------------------------------


def text_kind(rows, read, check, separator=" ", name="file.txt"):
    def write(rng, folder):
        content = rows_text(rng, mutated_rows(rng, [row.split(separator) for row in rows]), separator)
        (folder / name).write_bytes(content)
        return content

    return Kind(write, lambda folder: read(folder / name), check)


def line_of(place, content, universal):
    """The line that a place FILE:LINE means; with `universal` ends, and UTF-16, as in lists, else those of UTF-8."""
    utf16 = universal and (content[:2] in (b"\xff\xfe", b"\xfe\xff") or 0 in content[:2])
    order = "utf-16-be" if content[:1] in (b"\0", b"\xfe") else "utf-16-le"
    text = content.decode(order if utf16 else "utf-8").removeprefix("\ufeff")
    lines = io.StringIO(text, newline=None if universal else "\n").read().split("\n")
    return lines[int(place.rpartition(":")[2]) - 1]


def check_clips(classes, universal=False):
    """A check of Clips whose labels are numbers, of which `classes` are allowed."""

    def check(clips, content):
        assert clips and len({clip.name for clip in clips}) == len(clips)
        for clip in clips:
            assert type(clip.label) is int and 0 <= clip.label < classes
            assert clip.name.strip() and clip.name in line_of(clip.source, content, universal)

    return check


def check_labelled(clips, content, universal=False):
    check_clips(7)(clips, content)
    for clip in clips:
        *_, key, label = line_of(clip.source, content, universal).split()
        assert int(label) == clip.label and key == ("fake" if clip.label else "real")


def check_taxonomy_clips(clips, content, universal=False):
    assert clips and len({clip.name for clip in clips}) == len(clips)
    for clip in clips:
        sizes = [len(classes) for classes in TAXONOMY_CLASSES.values()]
        assert all(0 <= number < size for number, size in zip(clip.label, sizes, strict=True))
        assert all(clip.label) or not any(clip.label)
        assert clip.name.rpartition("/")[2] in line_of(clip.source, content, universal)


def of_config(reader, field, label=None):
    """A function that reads the protocol file `path` by one of data.protocols' readers."""
    return lambda path: reader(Config(**{field: path}), label)


def read_as_list(path):
    config = Config(train_list=path)
    names = known_class_names(config)
    return names, clip_list("train", label_file("train_wav", "train_label"))(config)


def check_list(result, content):
    names, clips = result
    check = check_clips(len(names), universal=True)
    assert 2 <= len(names) == len(set(names)) and all(name.isprintable() and name.strip() for name in names)
    if b'"' not in content:  # a field in quotes is written otherwise, and may have several lines
        check(clips, content)


def check_class_scores(scores, content):
    assert scores
    for name, (label, confidence) in scores.items():
        assert type(label) is int and 0 <= label < 7 and type(confidence) is float and 0 <= confidence <= 1 + 1e-6
        assert name and name in content.decode("utf-8-sig")


def check_task_scores(task):
    def check(scores, content):
        assert scores and len({len(row) for row in scores.values()}) == 1
        for name, row in scores.items():
            assert row.dtype == np.float64 and len(row) in TASK_COLUMNS[task] and np.isfinite(row).all()
            assert name and name in content.decode("utf-8-sig")

    return check


def check_codecs(codecs, content):
    assert all(row[0] in TAXONOMY_CLASSES["aux"][1:] for row in codecs.values())


LISTS = {
    "csv": (["file,label,speaker", "a.wav,real,p1", "b.wav,mimi,p2", "c.wav,snac,p3", "d.wav,mimi,p1"], ","),
    "tsv": (["file\tlabel", "a.wav\treal", "b.wav\tmimi"], "\t"),
    "asvspoof2019": (["LA_1 LA_T_1 - - bonafide", "LA_2 LA_T_2 - A01 spoof", "LA_3 LA_T_3 - A02 spoof"], " "),
    "asvspoof2021-la": (
        [
            "LA_1 LA_E_1 alaw ita_tx bonafide bonafide notrim eval",
            "LA_2 LA_E_2 alaw ita_tx A07 spoof notrim eval",
        ],
        " ",
    ),
    "asvspoof2021-df": (
        [
            "LA_1 DF_E_1 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
            "LA_2 DF_E_2 low_m4a vcc2020 bonafide bonafide notrim eval bonafide Task1 - - -",
        ],
        " ",
    ),
    "asvspoof5": (
        ["T_1 T_0001 F - - - AC3 A05 spoof -", "T_2 T_0002 M - - - - bonafide bonafide -"],
        " ",
    ),
    "in-the-wild": (["file,speaker,label", "0.wav,Alec Guinness,spoof", "1.wav,Ayn Rand,bona-fide"], ","),
    "mlaad": (
        [
            "path|original_file|language|is_original_language|duration|training_data|model_name",
            "./fake/de/bark/a.wav|x/a.wav|de|True|3.5|unknown|bark",
            "./fake/de/xtts/b.wav|x/b.wav|de|True|3.5|unknown|xtts",
        ],
        "|",
    ),
}
TEXT_KINDS = {
    "labels": text_kind(
        ["a b.wav real 0", "c.wav fake 3", "d.wav fake 6"],
        of_config(label_file("train_wav", "train_label"), "train_label"),
        check_labelled,
    ),
    "labels: asvspoof": text_kind(
        ["LA_0001 LA_T_1 - - bonafide", "LA_0001 LA_T_2 - A01 spoof"],
        of_config(asvspoof(*LA19, "bonafide"), LA19[1], 0),
        check_clips(1),
    ),
    "labels: in-the-wild": text_kind(
        ["file,speaker,label", "0.wav,Alec Guinness,spoof", "1.wav,Ayn Rand,bona-fide"],
        of_config(in_the_wild(*ITW, "spoof"), ITW[1], 0),
        check_clips(1),
        ",",
    ),
    "labels: taxonomy": text_kind(
        [
            "p225 p225_001 - REAL REAL REAL bonafide",
            "p225 p225_001_dac - Trad TIME MVQ spoof",
            "p225 p225_002_bigcodec - - bonafide",
        ],
        lambda path: read_list(path, "CoRS", path.parent),
        check_taxonomy_clips,
    ),
    "codec table": text_kind(["mine Trad TIME MVQ", "yours SEM FREQ SQ"], read_codecs, check_codecs),
    **{
        f"list: {name}": text_kind(rows, read_as_list, check_list, separator)
        for name, (rows, separator) in LISTS.items()
    },
    "scores": text_kind(
        ["a b.wav 0 0.9", "c.wav 3 0.51", "d.wav 6 1.0"], lambda path: read_class_scores(path, 7), check_class_scores
    ),
    "scores: bin": text_kind(
        ["p225_001 0.25", "p225_001_dac 0.5"], lambda path: read_task_scores(path, "bin"), check_task_scores("bin")
    ),
    "scores: vq": text_kind(
        ["p225_001 0.25 0.25 0.5 0.0", "p225_001_dac 0.5 0.1 0.2 0.2"],
        lambda path: read_task_scores(path, "vq"),
        check_task_scores("vq"),
    ),
}


# ---- files of JSON ---------------------------------------------------------------------------------------------------


def json_kind(tree, read, check, name="file.json"):
    def write(rng, folder):
        (folder / name).write_bytes(tree_text(rng, mutated_tree(rng, deepcopy(tree))))

    return Kind(write, read, check)


def check_run(config, _):
    assert config.num_classes is None or (type(config.num_classes) is int and 2 <= config.num_classes <= 1000)
    assert type(config.model) is str and type(config.SSL_path) in (str, type(Path()))


def check_names(result, _):
    names = () if result is None else result.classes if hasattr(result, "classes") else result[0].values()
    assert all(type(name) is str and name.isprintable() for name in names)


def check_conditions(conditions, _):
    assert conditions and len({row.name for row in conditions}) == len(conditions)


def json_lines(rng, folder):
    rows = [{"file": "a.wav", "label": "real"}, {"file": "b.wav", "label": "mimi"}, {"file": "c.wav", "label": "mimi"}]
    parts = [tree_text(rng, mutated_tree(rng, row)) if rng.random() < 0.5 else json.dumps(row).encode() for row in rows]
    content = b"\n".join(parts)
    (folder / "file.txt").write_bytes(content)
    return content


def toml(rng, folder):
    rows = [
        ["[[condition]]"],
        *(["name", '"podcasts"'], ["kind", '"real"'], ["audio", '"podcasts"']),
        ["[[condition]]"],
        *(["name", '"phone"'], ["kind", '"known"'], ["class", '"mimi"'], ["audio", '"clips.csv"']),
    ]
    (folder / "file.toml").write_bytes(rows_text(rng, mutated_rows(rng, rows), " = "))


def check_json_list(result, content):
    names, clips = result
    assert 2 <= len(names) == len(set(names)) and all(name.isprintable() and name.strip() for name in names)
    assert all(clip.name and 0 <= clip.label < len(names) for clip in clips)


RUN = {
    "config": json.loads(Config(model="mellcnn", num_classes=3).json_text()),
    "versions": {"torch": "2.11"},
    "data": {"train.txt": "0" * 64},
    "classes": ["real", "mimi", "snac"],
    "frozen": "0" * 64,
    "front_end": None,
}
TEXT_KINDS |= {
    "list: jsonl": Kind(json_lines, lambda folder: read_as_list(folder / "file.txt"), check_json_list),
    "conditions": Kind(toml, lambda folder: read_own_conditions(folder / "file.toml"), check_conditions),
    "args.json": json_kind(RUN, lambda folder: adopt_run_settings(folder, Config()), check_run, "args.json"),
    "classes.json": json_kind(
        {"classes": ["real", "mimi", "snac"], "corpus": None, "lists": {"train_list": "a.csv", "list_audio": ["x"]}},
        read_sidecar,
        check_names,
        "classes.json",
    ),
    "manifest.json": json_kind(
        {"classes": {"0": {"name": "real"}, "1": {"name": "mimi"}, "2": {"name": "snac"}}, "known": 2},
        read_manifest,
        check_names,
        "manifest.json",
    ),
}
