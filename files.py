"""Files that others may read are written whole or not at all."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import InputError


@contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its place when the block ends well; parents are made.

    Nothing is left behind when the block fails. Raises InputError when the disk refuses.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(folder):
    """Raise InputError when `folder`, which need not exist yet, could not be written to; nothing is written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise InputError(f"{folder} cannot be written: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written: {there} is write-protected")


def write_text(path, text):
    """Write `text` to `path` in one step, as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_tensors(path, content):
    """torch.save `content` to `path` in one step; the same content gives the same bytes."""
    import torch  # slow to import

    # An open file, not its path: torch would put the temporary name into the archive.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)
