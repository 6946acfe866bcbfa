"""Class names: of a corpus, and of the score files that a trained model wrote.

The known classes are 0 to n - 1; higher numbers are codecs that no training clip has. A user's own corpus names its
classes in a manifest.json in --data_root: {"classes": {"0": {"name": "real"}, ...}, "known": n}; or by the labels of
lists (data/clip_lists.py).
"""

import json
from types import MappingProxyType
from typing import Annotated, NamedTuple

from annotated_types import Ge, Predicate
from typing_extensions import NotRequired, TypedDict

from data.clip_lists import adopt_lists, names_in_lists, uses_lists
from utils.errors import InputError
from utils.files import write_text
from utils.reading import Name, Names, read_json, strict

ST_CODECFAKE = "ST-Codecfake"
KNOWN_CLASSES = 7  # of ST-Codecfake, in training
CLASSES = (
    *("real", "mimi", "speechtokenizer", "funcodec", "encodec", "facodec", "snac"),
    *("wavtokenizer", "ood8", "ood9", "ood10", "ood11"),
)
REAL, MIMI, SPEECHTOKENIZER, FUNCODEC, ENCODEC, FACODEC, SNAC, WAVTOKENIZER = range(8)
OTHER_CODEC = "other codec"  # a class of several codecs, none of which a verdict can name
MANIFEST = "manifest.json"  # in --data_root
SIDECAR = "classes.json"  # beside score files


def class_number(text):
    return text.isascii() and text.isdecimal() and len(text) <= 3


@strict
class NamedClass(TypedDict):
    name: Name


@strict
class Manifest(TypedDict):
    """manifest.json of a corpus."""

    classes: dict[Annotated[str, Predicate(class_number)], NamedClass]
    known: NotRequired[Annotated[int, Ge(2)] | None]


@strict
class SidecarFile(TypedDict):
    """classes.json beside score files."""

    classes: Names
    corpus: Name | None
    lists: NotRequired[dict[str, object]]  # adopt_lists() checks them


def read_manifest(data_root):
    """({class: name}, number of known classes or None) of manifest.json in `data_root`; None where there is none.

    Raises InputError for a manifest that does not name its classes.
    """
    path = data_root / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path, Manifest, "write the names of the classes there")
    names = {int(label): described["name"] for label, described in manifest["classes"].items()}
    known = manifest.get("known")
    most = max(names, default=0) + 1
    if known is not None and known > most:
        raise InputError(f"{path} gives {known} known classes, expected a whole number from 2 to {most}")
    return names, known


class Sidecar(NamedTuple):
    """What tracing writes beside score files."""

    classes: list  # names of the known classes
    corpus: str | None
    lists: dict = MappingProxyType({})  # flags of the lists that were traced, see given_lists()


def read_sidecar(result):
    """The Sidecar that tracing wrote beside the score files of the folder `result`.

    None where there are none, as beside published score files. Raises InputError for a damaged file.
    """
    path = result / SIDECAR
    if not path.is_file():
        return None
    content = read_json(path, SidecarFile, "trace again")
    return Sidecar(**{name: content[name] for name in Sidecar._fields if name in content})


def with_traced_lists(config):
    """`config` with the lists of the clips of the score files in --result, where it names no corpus itself."""
    sidecar = read_sidecar(config.result)
    return adopt_lists(config, sidecar.lists, config.result) if sidecar else config


def write_sidecar(result, names, lists):
    """Write the names of the known classes and the flags of `lists` beside the score files of the folder `result`."""
    corpus = ST_CODECFAKE if tuple(names) == CLASSES[:KNOWN_CLASSES] else None
    path = result / SIDECAR
    content = {"classes": list(names), "corpus": corpus} | ({"lists": lists} if lists else {})
    text = json.dumps(content, indent=2) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
        write_text(path, text)


def number_of_classes(config):
    """How many classes are known: --num_classes, else as many as the corpus has."""
    if config.num_classes:
        return config.num_classes
    names = names_in_lists(config)
    if names:
        return len(names)
    manifest = read_manifest(config.data_root)
    return (manifest and manifest[1]) or KNOWN_CLASSES


def class_names(config):
    """Names of the classes 0, 1, ... of the corpus, those unseen in training included.

    They come from lists, which give no names of unseen classes, or from the manifest. Without both they are those of
    ST-Codecfake, or numbers where the number of known classes is not that of ST-Codecfake. Raises InputError for a
    broken manifest.
    """
    names = names_in_lists(config)
    if names:
        return names
    known = number_of_classes(config)
    manifest = read_manifest(config.data_root)
    published = CLASSES if known == KNOWN_CLASSES else CLASSES[:1]
    names = manifest[0] if manifest else dict(enumerate(published))
    count = max([known, *(label + 1 for label in names)])
    return [names.get(label, f"class {label}") for label in range(count)]


def known_class_names(config):
    """Names [classes] of the known classes of the corpus."""
    return class_names(config)[: number_of_classes(config)]


def evaluated_class_names(config):
    """Names [classes] of the known classes of the score files in --result: of their sidecar, else of the corpus.

    Raises InputError where --num_classes says another number than the sidecar.
    """
    sidecar = read_sidecar(config.result)
    if sidecar is None:
        return known_class_names(config)
    names = sidecar.classes
    if config.num_classes not in (None, len(names)):
        raise InputError(
            f"{config.result / SIDECAR} names {len(names)} classes, but --num_classes is {config.num_classes}:"
            " leave the flag out"
        )
    return names


def is_st_codecfake(config):
    """Whether the known classes are those of ST-Codecfake, so that its published values may stand beside ours."""
    sidecar = read_sidecar(config.result)
    if not sidecar and uses_lists(config):
        return False
    names = sidecar.classes if sidecar else known_class_names(config)
    return tuple(names) == CLASSES[:KNOWN_CLASSES]
