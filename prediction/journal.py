"""The results of one run of predict.py while it lasts: a line of JSON for each file, in their order, on the disk.

A run that was stopped, also by SIGKILL, goes on after the last complete block of files, and at the latest where a file
is no longer the one that was traced.
"""

import json
import os
import tempfile
import time
import zlib
from contextlib import ExitStack, contextmanager, suppress

from tqdm import tqdm

from prediction.results import result_from_dict
from utils.digests import file_digest
from utils.errors import InputError, resume_hint
from utils.files import flush_to_disk, is_stream, naming_unwritable
from utils.locks import lock_file

SUFFIX = ".unfinished.jsonl"  # of the journal, beside the first output file
SECONDS_BETWEEN_SYNCS = 30  # a power cut loses at most so much work


class Journal:
    """The results in an open binary `file`; its first line is `run`, a dict of all that they depend on.

    `blocks` are file_blocks() of the `recordings`; `done` counts those whose results are there. Iterating gives every
    result, a Prediction or a Failure, from the disk. Raises InputError when the file holds another run, naming `path`.
    """

    def __init__(self, file, run, recordings, blocks, path=None):
        self.file = file
        self.path = path or "the temporary file of results"
        self.recordings = recordings
        self.blocks = blocks
        self.changed = None  # the first recording whose file is not the one that was traced before the stop
        self.outdated = 0  # how many results were there of its block and of those after it
        self.saved = False  # whether the output files hold all of it, so that it is needed no more
        self.synced_at = time.monotonic()
        line = json.dumps(run).encode() + b"\n"
        there = file.readline()
        if not line.startswith(there):
            raise InputError(
                f"{path} holds the results of another run, which was stopped: end that run by its own command, or"
                " delete this file"
            )
        if there != line:  # a new file, or a run that was stopped in its first moment
            self._cut(0)
            file.write(line)
        self.begin = file.tell()
        self.done = 0  # in _recover()
        self._recover()

    def _recover(self):
        """Count the blocks that are complete and of the same files as before; what follows them is cut off."""
        end = self.begin
        for block in tqdm(self.blocks, desc="digests", unit="block", delay=5, leave=False):
            entries = [read_entry(self.file.readline()) for _ in block]
            if None in entries:
                break
            if not self.changed:
                self.changed = self._first_change(block, entries)
            if self.changed:
                self.outdated += len(block)
            else:
                self.done += 1
                end = self.file.tell()
        self._cut(end)

    def _first_change(self, block, entries):
        """The first recording of a block whose file has not the digest of its entry; None where there is none."""
        for number, entry in zip(block, entries, strict=True):
            if file_digest(self.recordings[number].path) != entry["sha256"]:
                return self.recordings[number]
        return None

    def _cut(self, end):
        self.file.seek(end)
        self.file.truncate()

    @property
    def files(self):
        """How many files have results."""
        return self.blocks[self.done - 1].stop if self.done else 0

    def add(self, rows, blocks=1):
        """Keep `rows`, entry_of() each result of the next `blocks`."""
        with naming_unwritable(self.path):
            self.file.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
            self.file.flush()
        self.done += blocks
        if time.monotonic() - self.synced_at > SECONDS_BETWEEN_SYNCS:
            flush_to_disk(self.file)
            self.synced_at = time.monotonic()

    def __iter__(self):
        self.file.seek(self.begin)
        for line in iter(self.file.readline, b""):
            yield result_from_dict(json.loads(line)["result"])


def entry_of(recording, result):
    """What a line holds, as a dict: the digest of the file of a Recording, to_dict() of its result, and a checksum."""
    entry = {"sha256": file_digest(recording.path), "result": result.to_dict()}
    return entry | {"crc32": checksum(entry)}


def checksum(entry):
    """The CRC-32 of what an entry holds beside it."""
    return zlib.crc32(json.dumps({"sha256": entry["sha256"], "result": entry["result"]}).encode())


def read_entry(line):
    """The entry of a line; None where the line is torn, as the last one of a stopped run may be, or was changed."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        entry = json.loads(line)
        if line.endswith(b"\n") and entry["crc32"] == checksum(entry):
            return entry
    return None


def journal_path(outputs):
    """The file of the Journal beside the first of the paths `outputs`; None where no file can lie beside them."""
    for path in outputs:
        if not is_stream(path):  # a device or a pipe has no place beside it
            return path.with_name(path.name + SUFFIX)
    return None


@contextmanager
def open_journal(path, run, recordings, blocks):
    """The Journal of `run` in the file `path`, which goes on where it was stopped; where `path` is None, a new one.

    It is removed at the end of the block when it is `saved`, or empty. Raises InputError as Journal does, and when the
    file cannot be written.
    """
    if path is None:
        with tempfile.TemporaryFile() as file:
            yield Journal(file, run, recordings, blocks)
        return
    with ExitStack() as stack:
        stack.enter_context(lock_file(path.with_name(f".{path.name}.lock")))
        with naming_unwritable(path):
            file = stack.enter_context(open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b"))
        journal = Journal(file, run, recordings, blocks, path)
        count = len(recordings)
        if journal.changed:
            print(
                f"{journal.changed.name} has changed since the run was stopped: {journal.outdated} files, from its"
                " block on, are traced again",
                flush=True,
            )
        if journal.done:
            print(f"goes on after {journal.files} of {count} files, which {path} holds", flush=True)
        try:
            with resume_hint(lambda: f"{path} holds {journal.files} of {count} files; the same command goes on there"):
                yield journal
        finally:
            if journal.saved or not journal.done:
                path.unlink(missing_ok=True)
