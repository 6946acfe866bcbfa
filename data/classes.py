"""Class names: of a corpus, and of the score files that a trained model wrote.

The known classes are 0 to n - 1; higher numbers are codecs that no training clip has. A user's own corpus names its
classes in a manifest.json in --data_root: {"classes": {"0": {"name": "real"}, ...}, "known": n}; or by the labels of
lists (data/clip_lists.py).
"""

import json
from types import MappingProxyType
from typing import NamedTuple

from data.clip_lists import adopt_lists, names_in_lists, uses_lists
from utils.errors import InputError
from utils.files import write_text

ST_CODECFAKE = "ST-Codecfake"
KNOWN_CLASSES = 7  # of ST-Codecfake, in training
CLASSES = (
    *("real", "mimi", "speechtokenizer", "funcodec", "encodec", "facodec", "snac"),
    *("wavtokenizer", "ood8", "ood9", "ood10", "ood11"),
)
REAL, MIMI, SPEECHTOKENIZER, FUNCODEC, ENCODEC, FACODEC, SNAC, WAVTOKENIZER = range(8)
OTHER_CODEC = "other codec"  # a class of several codecs, none of which a verdict can name
SIDECAR = "classes.json"  # beside score files


def read_manifest(data_root):
    """({class: name}, number of known classes or None) of manifest.json in `data_root`; None where there is none.

    Raises InputError for a manifest that does not name its classes.
    """
    path = data_root / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        names = {int(label): str(described["name"]) for label, described in manifest["classes"].items()}
        known = manifest.get("known")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path} does not name the classes: {error!r}") from None
    if known is not None and (type(known) is not int or not 2 <= known <= max(names, default=0) + 1):
        raise InputError(f"{path} gives {known!r} known classes, expected a whole number from 2 to {len(names)}")
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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names, corpus, lists = content["classes"], content["corpus"], dict(content.get("lists", {}))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{path} does not name the classes: {error!r}") from None
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path} names the classes {names!r}, expected a list of two or more names")
    return Sidecar(names, corpus, lists)


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
