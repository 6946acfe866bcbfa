"""What a model gave for a part of the clips, on disk while a run lasts: a stopped run continues where it was."""

import json
import time
from contextlib import suppress

import torch

from engine.outputs import map_tensors
from utils.errors import InputError
from utils.files import save_tensors, write_text

SECONDS = 60  # between two shards of a process: what is lost at most when the machine fails


class Shards:
    """Outputs of the batches of one run, in files of a folder that every process sees and that the run owns.

    `run` says all that the outputs depend on. What lies in the folder of another run, or is damaged, is removed.
    `done` holds the numbers of the batches that a run that was stopped has left.
    """

    def __init__(self, folder, run, accelerator):
        self.folder, self.rows, self.since = folder, [], time.monotonic()
        text = json.dumps(run, indent=2, sort_keys=True)
        if accelerator.is_main_process:
            with suppress(OSError, ValueError):
                if (folder / "run.json").read_text(encoding="utf-8") != text:
                    self.remove()
            for path in self.paths():
                if self.read(path) is None:
                    path.unlink()
            write_text(folder / "run.json", text)
        accelerator.wait_for_everyone()
        self.done = {row[0] for path in self.paths() for row in self.read(path)}
        accelerator.wait_for_everyone()  # nobody adds to the folder before everybody has looked

    def paths(self):
        return sorted(self.folder.glob("*.pt"))

    @staticmethod
    def read(path):
        """The rows of a shard, whose tensors stay on the disk until they are used; None when it is damaged."""
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # of a torn file, torch lets many kinds through
            return None

    def add(self, number, positions, outputs, bad):
        """Keep what batch `number` gave: outputs of `positions` [n], and {position: reason} of the others."""
        self.rows.append((number, positions, outputs, bad))
        if time.monotonic() - self.since > SECONDS:
            self.flush()

    def flush(self):
        """Write what has been added since the last time."""
        if self.rows:
            save_tensors(self.folder / f"{self.rows[0][0]:08d}.pt", self.rows)
        self.rows, self.since = [], time.monotonic()

    def merge(self, size):
        """(positions [n] in order, outputs [n, ...], {position: reason}) of all `size` clips.

        Raises InputError when some are missing: the processes do not share a disk.
        """
        outputs, there, reasons = None, torch.zeros(size, dtype=torch.bool), {}
        for path in self.paths():
            for _, positions, part, bad in self.read(path):
                reasons |= bad
                if len(positions):
                    if outputs is None:
                        outputs = map_tensors(lambda tensor: tensor.new_zeros(size, *tensor.shape[1:]), part)
                    map_tensors(lambda whole, part, rows=positions: whole.index_copy_(0, rows, part), outputs, part)
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
        """Remove the folder with its shards; what is not ours in it stays."""
        for path in (*self.paths(), self.folder / "run.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
