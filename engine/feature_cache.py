"""The hidden states that a frozen front end gives for a list of clips: computed once, kept on disk as float16.

A folder under --cache_features holds one list: hidden_states.f16, the hidden states [clips, frames, width], of several
layers [clips, layers, frames, width], as they lie in memory; rows.u8, a 1 for each clip that is there; cache.json, all
that the values depend on, and whether the list is complete ("whole").
"""

import json
import os
import shutil
from hashlib import sha256
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Len
from typing_extensions import TypedDict

from data.dataset import Clips, files_digest
from models.front_ends import front_end_description, without_place
from utils.errors import InputError
from utils.files import naming_unwritable, write_json
from utils.reading import read_json, strict

STATES_FILE = "hidden_states.f16"
ROWS_FILE = "rows.u8"
ABOUT_FILE = "cache.json"


class StoredClips(Clips):
    """(position, hidden states float16, class) of each clip of a complete cache; the states are of its `shape`."""

    def __init__(self, data, cache):
        super().__init__(data.clips, data.samples)
        self.path = cache.folder / STATES_FILE
        self.shape = cache.shape

    def states(self):
        """A map of the hidden states of all clips [clips, *shape], float16."""
        return np.memmap(self.path, np.float16, "r", shape=(len(self), *self.shape))

    def __getitem__(self, position):
        # A new map for each clip: one that is kept counts as memory of every worker, and cannot be pickled.
        row = 2 * int(np.prod(self.shape))
        states = np.memmap(self.path, np.float16, "r", position * row, self.shape)
        return position, torch.from_numpy(np.array(states)), self.clips[position].label


def describe_states(data, config):
    """All that the hidden states of `data`, Clips, depend on; of the weights it says only where they lie."""
    return front_end_description(config) | {
        "mixed_precision": config.mixed_precision,
        "samples": data.samples,
        "clips": len(data),
        "files": files_digest(data.clips),
    }


@strict
class About(TypedDict):
    """What each cache.json has; for the rest see describe_states()."""

    whole: bool
    front_end: Annotated[str, Len(64, 64)]  # the digest of its weights
    shape: Annotated[list[Annotated[int, Ge(1)]], Len(2, 3)]
    clips: Annotated[int, Ge(1)]


def read_about(folder):
    """The content of cache.json in `folder`, an About; {} when it is absent or damaged."""
    try:
        return read_json(folder / ABOUT_FILE, About, "it is written again")
    except InputError:
        return {}


def find_cache(directory, described):
    """The complete FeatureCache under `directory` of what `described`, of describe_states(), describes; or None."""
    for path in sorted(directory.glob(f"*/{ABOUT_FILE}")):
        about = read_about(path.parent)
        if about.get("whole") and all(about.get(name) == value for name, value in described.items()):
            cache = FeatureCache(directory, described, about["front_end"], tuple(about["shape"]))
            if cache.folder == path.parent and cache.is_complete():
                return cache
    return None


class FeatureCache:
    """Hidden states of `shape`, [frames, width] or [layers, frames, width], for each of a list of clips, on disk.

    `front_end_digest` is that of the weights of the front end. Several processes may write it at the same time, each
    its own rows.
    """

    def __init__(self, directory, described, front_end_digest, shape):
        self.about = described | {"front_end": front_end_digest, "shape": list(shape)}
        made_of = without_place(self.about)  # the digest of the weights stands for their place
        key = sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = directory / key
        self.shape = tuple(shape)
        self.front_end_digest = front_end_digest
        self.clips = described["clips"]
        self.size = 2 * self.clips * int(np.prod(shape))  # bytes

    def is_complete(self):
        """Whether every clip is there, as cache.json and the size of the file say."""
        states = self.folder / STATES_FILE
        return bool(read_about(self.folder).get("whole")) and states.is_file() and states.stat().st_size == self.size

    def reserve(self):
        """Allocate the files on the disk, so that no later write can fail; rows that are there already stay.

        Raises InputError when the disk has too little space, or the folder cannot be written.
        """
        states = self.folder / STATES_FILE
        rows = self.folder / ROWS_FILE
        with naming_unwritable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not states.exists() or states.stat().st_size != self.size:
                rows.unlink(missing_ok=True)  # it marks states that are gone
            self.check_space(states)
            for path, size in ((states, self.size), (rows, self.clips)):
                with open(path, "ab") as file:
                    os.truncate(file.fileno(), size)
                with open(path, "r+b") as file:
                    allocate_blocks(file.fileno(), size)
        self.write_about(whole=False)

    def check_space(self, states):
        """Raise InputError when the disk has too little space for the rest of the file `states`."""
        held = 512 * states.stat().st_blocks if states.exists() else 0
        needed = self.size - held
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"--cache_features {self.folder.parent}: {needed / 1e9:.1f} GB are needed for {self.clips} clips,"
                f" {free / 1e9:.1f} GB are free: give a folder on a larger disk, or leave it out"
            )

    def open(self, mode="r+"):
        """Maps of the hidden states [clips, *shape] float16 and of the rows that are present [clips] uint8."""
        states = np.memmap(self.folder / STATES_FILE, np.float16, mode, shape=(self.clips, *self.shape))
        present = np.memmap(self.folder / ROWS_FILE, np.uint8, mode, shape=(self.clips,))
        return states, present

    def write_about(self, whole):
        write_json(self.folder / ABOUT_FILE, self.about | {"whole": whole})

    def mark_complete(self):
        """Write into cache.json that every clip is there. Raises InputError when some are not."""
        _, present = self.open("r")
        if not present.all():
            absent = int((present == 0).sum())
            raise InputError(f"{self.folder} lacks {absent} clips: give a folder that all processes share")
        self.write_about(whole=True)


def allocate_blocks(descriptor, size):
    """Give the open file all its blocks now: writing to a map of a sparse file ends the process on a full disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
