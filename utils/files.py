"""Files that others may read are written whole or not at all."""

import csv
import io
import os
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from utils.errors import InputError

NOT_UTF8 = "surrogateescape"  # how Python holds file names that are not UTF-8


def remove_leftovers(path):
    """Remove the temporary files of `path` whose processes are no more."""
    if os.name != "posix":  # where signal 0 would be no question
        return
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(ValueError, PermissionError):
            try:
                os.kill(int(left.suffixes[-2][1:]), 0)
            except ProcessLookupError:
                left.unlink(missing_ok=True)


@contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its place when the block ends well; parents are made.

    Nothing is left behind when the block fails; what a killed process has left goes when the next one writes `path`.
    Raises InputError when the disk refuses.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(folder, file=None):
    """Raise InputError when `folder`, which need not exist yet, could not be written to; nothing is written.

    With `file`, a path in that folder, the message names it, and it must not be a folder.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise InputError(f"{file or folder} cannot be written: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{file or folder} cannot be written: {there} is write-protected")
    if file and file.is_dir():
        raise InputError(f"{file} cannot be written: it is a folder")


def flush_to_disk(file):
    """Wait until the disk holds what was written: a power cut could else leave the name without the bytes."""
    file.flush()
    os.fsync(file.fileno())


def write_text(path, text):
    """Write `text` to `path` in one step, as UTF-8; file names in it that are not UTF-8 keep their bytes."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", errors=NOT_UTF8) as file:
        file.write(text)
        flush_to_disk(file)


def csv_line(row):
    """A line of CSV. csv.writer would leave a carriage return without quotes where lines end in a mere line feed."""
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue().removesuffix("\r\n") + "\n"


def save_tensors(path, content):
    """torch.save `content` to `path` in one step; the same content gives the same bytes."""
    import torch  # slow to import

    # An open file, not its path: torch would put the temporary name into the archive.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # in the place of what stopped it, a full disk or Ctrl-C
            raise error.__context__ or error from None
        flush_to_disk(file)
