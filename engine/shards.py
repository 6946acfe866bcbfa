"""Shards: the outputs of a part of the clips, on disk while a run lasts, so that a stopped run continues from them."""

import json
import time
from contextlib import suppress

import torch

from engine.outputs import leaves, map_tensors
from utils.errors import InputError
from utils.files import save_tensors, write_text
from utils.tensors import kind_of

SECONDS_BETWEEN_SHARDS = 60  # of a process: a machine that fails loses at most so much work


class Shards:
    """Outputs of the batches of one run, in files of a folder that belongs to the run and that every process sees.

    `run` says all that the outputs of `size` clips depend on. Files of another run, and damaged ones, are removed.
    `done` holds the numbers of the batches that are there from a stopped run.
    """

    def __init__(self, folder, run, size, accelerator):
        self.folder = folder
        self.size = size
        self.rows = []  # that no shard has yet
        self.saved_at = time.monotonic()
        if accelerator.is_main_process:
            self.remove_foreign_files(json.dumps(run, indent=2, sort_keys=True))
        accelerator.wait_for_everyone()
        self.done = {row[0] for path in self.paths() for row in self.read_shard(path)}
        accelerator.wait_for_everyone()  # no process adds files before every process has looked

    def remove_foreign_files(self, run_text):
        """Remove what another run than that of `run_text` has left in the folder, and damaged shards."""
        path = self.folder / "run.json"
        with suppress(OSError, ValueError):
            if path.read_text(encoding="utf-8") != run_text:
                self.remove()
        for shard in self.paths():
            if self.read_shard(shard) is None:
                shard.unlink()
        write_text(path, run_text)

    def paths(self):
        return sorted(self.folder.glob("*.pt"))

    def read_shard(self, path):
        """The rows of a shard, whose tensors stay on the disk until they are used; None when it is damaged."""
        try:
            rows = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # torch raises many kinds for a torn file
            return None
        return rows if isinstance(rows, list) and all(is_row(row, self.size) for row in rows) else None

    def add(self, number, positions, outputs, bad):
        """Keep batch `number`: the outputs [n, ...] of the clips at `positions` [n], {position: reason} of the rest."""
        self.rows.append((number, positions, outputs, bad))
        if time.monotonic() - self.saved_at > SECONDS_BETWEEN_SHARDS:
            self.flush()

    def flush(self):
        """Write the rows that were added since the last shard."""
        if self.rows:
            save_tensors(self.folder / f"{self.rows[0][0]:08d}.pt", self.rows)
        self.rows = []
        self.saved_at = time.monotonic()

    def merge(self):
        """(positions [n] in order, outputs [n, ...], {position: reason}) of all clips.

        Raises InputError when some are missing, because the processes do not share a disk.
        """
        size = self.size
        outputs = None
        reasons = {}
        there = torch.zeros(size, dtype=torch.bool)
        for path in self.paths():
            for _, positions, part, bad in self.read_shard(path):
                reasons |= bad
                if len(positions):
                    if outputs is None:
                        outputs = map_tensors(lambda tensor: tensor.new_zeros(size, *tensor.shape[1:]), part)
                    try:
                        map_tensors(lambda whole, part, rows=positions: whole.index_copy_(0, rows, part), outputs, part)
                    except (RuntimeError, ValueError, KeyError, TypeError):
                        raise InputError(f"{path} has another form than the shards before it: delete it") from None
                    there[positions] = True
        missing = size - int(there.sum()) - len(reasons)
        if missing:
            raise InputError(
                f"{self.folder} lacks {missing} of {size} clips: give a folder that all processes share as --result"
                " and --save_feats"
            )
        positions = there.nonzero().flatten()
        if reasons and outputs is not None:
            outputs = map_tensors(lambda whole: whole[positions], outputs)
        return positions, outputs, dict(sorted(reasons.items()))

    def remove(self):
        """Remove the shards and, unless it holds other files, their folder."""
        for path in (*self.paths(), self.folder / "run.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def is_row(row, size):
    """Whether `row` is (number, positions [n], outputs [n, ...], {position: reason}) as Shards.add() has it.

    All positions are below `size`.
    """
    if not isinstance(row, tuple) or len(row) != 4 or type(row[0]) is not int or not isinstance(row[3], dict):
        return False
    _, positions, outputs, bad = row
    if any(type(position) is not int or not isinstance(reason, str) for position, reason in bad.items()):
        return False
    if any(not 0 <= position < size for position in bad) or not torch.is_tensor(positions):
        return False
    if not positions.numel():
        return True  # a batch of which no clip can be used
    if kind_of(positions) != "integer" or positions.ndim != 1 or positions.min() < 0 or positions.max() >= size:
        return False
    parts = leaves(outputs)
    return all(kind_of(part) == "real" and part.ndim and len(part) == len(positions) for part in parts)
