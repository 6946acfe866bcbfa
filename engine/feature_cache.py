"""What a frozen front end makes of a list of clips, computed once and kept on disk in half precision.

A folder under --cache_features holds one such list: hidden_states.f16, the hidden states [clips, frames, width] as
they lie in memory; rows.u8, 1 for each clip that is there; cache.json, all that the values depend on, and whether it
is whole.
"""

import json
import os
import shutil
from hashlib import sha256

import numpy as np
import torch

from data.dataset import Clips, files_digest
from models.front_ends import front_end_description, without_place
from utils.errors import InputError
from utils.files import write_text

STATES_FILE, ROWS_FILE, ABOUT_FILE = "hidden_states.f16", "rows.u8", "cache.json"


class StoredClips(Clips):
    """(position, hidden states [frames, width] float16, class) of each clip of a whole cache."""

    def __init__(self, data, cache):
        super().__init__(data.clips, data.samples)
        self.path, self.shape = cache.folder / STATES_FILE, cache.shape

    def __getitem__(self, position):
        # Mapped anew for each clip: a map that is kept would count as memory of every worker, and does not pickle.
        row = 2 * int(np.prod(self.shape))
        states = np.memmap(self.path, np.float16, "r", position * row, self.shape)
        return position, torch.from_numpy(np.array(states)), self.clips[position].label


def describe_states(data, config):
    """All that a front end's hidden states of Clips depend on, but its weights, of which it says where they are."""
    return front_end_description(config) | {
        "mixed_precision": config.mixed_precision,
        "samples": data.samples,
        "clips": len(data),
        "files": files_digest(data.clips),
    }


def read_about(folder):
    """What cache.json in `folder` says; {} when there is none or it is damaged."""
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def find_cache(directory, described):
    """The whole FeatureCache under `directory` of what is `described`, or None."""
    for path in sorted(directory.glob(f"*/{ABOUT_FILE}")):
        about = read_about(path.parent)
        if about.get("whole") and all(about.get(name) == value for name, value in described.items()):
            cache = FeatureCache(directory, described, about["front_end"], tuple(about["shape"]))
            if cache.folder == path.parent and cache.is_whole():
                return cache
    return None


class FeatureCache:
    """Hidden states of the given shape [frames, width] on disk, of the front end whose weights have digest `front_end`.

    Several processes may write it at the same time, each its own rows.
    """

    def __init__(self, directory, described, front_end, shape):
        self.about = described | {"front_end": front_end, "shape": list(shape)}
        made_of = without_place(self.about)  # the digest of the weights stands for their place
        key = sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
        self.folder, self.shape, self.front_end = directory / key, tuple(shape), front_end
        self.clips, self.size = described["clips"], 2 * described["clips"] * int(np.prod(shape))

    def is_whole(self):
        """Whether every clip is there, by what cache.json says and the size of the file."""
        states = self.folder / STATES_FILE
        return bool(read_about(self.folder).get("whole")) and states.is_file() and states.stat().st_size == self.size

    def reserve(self):
        """Take the room on the disk, so that no later write can fail; rows that are there already stay.

        Raises InputError when there is not enough, or the folder cannot be written.
        """
        states, rows = self.folder / STATES_FILE, self.folder / ROWS_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not states.exists() or states.stat().st_size != self.size:
                rows.unlink(missing_ok=True)  # they would tell of states that are gone
            held = 512 * states.stat().st_blocks if states.exists() else 0
            needed, free = self.size - held, shutil.disk_usage(self.folder).free
            if needed > free:
                raise InputError(
                    f"--cache_features {self.folder.parent}: {needed / 1e9:.1f} GB are needed for {self.clips} clips,"
                    f" {free / 1e9:.1f} GB are free: give a folder on a larger disk, or leave it out"
                )
            for path, size in ((states, self.size), (rows, self.clips)):
                with open(path, "ab") as file:
                    os.truncate(file.fileno(), size)
                with open(path, "r+b") as file:
                    allocate(file.fileno(), size)
        except OSError as error:
            raise InputError(f"{self.folder} cannot be written: {error.strerror or error}") from None
        write_text(self.folder / ABOUT_FILE, json.dumps(self.about | {"whole": False}, indent=2) + "\n")

    def open(self, mode="r+"):
        """Maps of the hidden states [clips, frames, width] and of the rows that are there [clips], for writing."""
        states = np.memmap(self.folder / STATES_FILE, np.float16, mode, shape=(self.clips, *self.shape))
        return states, np.memmap(self.folder / ROWS_FILE, np.uint8, mode, shape=(self.clips,))

    def finish(self):
        """Write down that the cache is whole. Raises InputError when it is not: processes that share no disk."""
        _, rows = self.open("r")
        if not rows.all():
            raise InputError(
                f"{self.folder} lacks {int((rows == 0).sum())} clips: give a folder that all processes share"
            )
        write_text(self.folder / ABOUT_FILE, json.dumps(self.about | {"whole": True}, indent=2) + "\n")


def allocate(descriptor, size):
    """Give a file its blocks on the disk: a map of a file with holes would end the process when the disk is full."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
