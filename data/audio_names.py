"""Audio files that a table names: found although the name on the disk is written in another way."""

import os
import unicodedata
from collections import Counter, defaultdict
from pathlib import PurePath
from typing import NamedTuple

from data.decoders import only_audio
from utils.errors import InputError

# What is printed of the files of a table that were found under another name, by kind
OTHER_NAMES = {
    "extension": "{} files were found under another extension",
    "unicode": "{} files were found under another Unicode form of their name",
    "backslash": "{} paths were read with / in place of \\",
}


class Listing(NamedTuple):
    """What lies in a folder."""

    names: frozenset
    composed: dict  # {name in NFC: name}
    stems: dict  # {name of an audio file in NFC, without its extension: [name]}


def composed_form(name):
    """The Unicode form NFC of a name; some systems write é as one letter, others as two."""
    return unicodedata.normalize("NFC", name)


def list_folder(folder):
    """The Listing of a folder; an empty one where there is none. Raises InputError where it cannot be read."""
    try:
        names = os.listdir(folder)
    except PermissionError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    except (OSError, ValueError):  # ValueError: a NUL or half a letter in its name
        names = []
    stems = defaultdict(list)
    for name in only_audio(names):
        stems[composed_form(PurePath(name).stem)].append(name)
    return Listing(frozenset(names), {composed_form(name): name for name in names}, stems)


class AudioFinder:
    """Finds the files that a table names in `folders`. Each folder on the disk is listed once; no file is opened."""

    def __init__(self, folders):
        self.folders = folders
        self.listings = {}
        self.counts = Counter()  # of the files that were found under another name, by the kinds of OTHER_NAMES

    def listing(self, folder):
        if folder not in self.listings:
            self.listings[folder] = list_folder(folder)
        return self.listings[folder]

    def find(self, text):
        """(path, whether it exists) of the file that a table calls `text`.

        Raises InputError where several files have the name with another extension.
        """
        for folder in self.folders:
            path = folder / text
            if path.name in self.listing(path.parent).names:
                return path, True
        for folder in self.folders:
            path, kinds = self.find_other(folder, text)
            if path:
                self.counts.update(kinds)
                return path, True
        return self.folders[0] / text, False

    def find_other(self, folder, text):
        """(path, kinds of OTHER_NAMES) of the file `text` of `folder` under another name; (None, set()) without one."""
        kinds = set()
        path = folder / text
        if "\\" in text and not self.listing(path.parent).names & {path.name}:
            path = folder / text.replace("\\", "/")
            kinds.add("backslash")
        parent, parent_kinds = self.find_folder(path.parent)
        kinds |= parent_kinds
        listing = self.listing(parent)
        name = composed_form(path.name)
        if path.name in listing.names:
            return parent / path.name, kinds
        if name in listing.composed:
            return parent / listing.composed[name], kinds | {"unicode"}
        for stem in (name, PurePath(name).stem):
            others = sorted(listing.stems.get(stem, ()))
            if len(others) > 1:
                raise InputError(
                    f"{parent / path.name} does not exist, but {' and '.join(others)} do: keep one of them"
                )
            if others:
                return parent / others[0], kinds | {"extension"}
        return None, set()

    def find_folder(self, folder):
        """(path, kinds of OTHER_NAMES) of a folder whose name, or that of one above, may have another Unicode form."""
        if folder == folder.parent or self.listing(folder).names or os.path.isdir(folder):
            return folder, set()
        parent, kinds = self.find_folder(folder.parent)
        other = self.listing(parent).composed.get(composed_form(folder.name))
        return (parent / other, kinds | {"unicode"}) if other else (parent / folder.name, kinds)

    def notes(self):
        """Sentences on the files that were found under another name."""
        return [OTHER_NAMES[kind].format(count) for kind, count in self.counts.items()]
