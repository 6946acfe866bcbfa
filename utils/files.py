"""Writing files: a file that others may read is complete, or it is not there."""

import csv
import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from utils.errors import NOT_UTF8, InputError


def remove_leftovers(path):
    """Remove the temporary files of `path` whose processes have ended."""
    if os.name != "posix":  # elsewhere, signal 0 ends a process instead of asking whether it is there
        return
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(ValueError, PermissionError):
            try:
                os.kill(int(left.suffixes[-2][1:]), 0)
            except ProcessLookupError:
                left.unlink(missing_ok=True)


@contextmanager
def naming_unwritable(path):
    """Raise InputError, which names `path`, where the block fails to write."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def replacing(path):
    """Give a temporary path beside `path`; when the block ends without an error, that file becomes `path`.

    Parent folders are made. A block that fails leaves nothing behind; what a killed process leaves is removed when
    `path` is written again. A device, a pipe or the file of standard output is written to; of a link, the file that it
    points to becomes the new one. Raises InputError when the file cannot be written.
    """
    path = Path(path)
    stream = is_stream(path)
    target = path if stream or not path.is_symlink() else Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if stream:
            with tempfile.TemporaryDirectory(prefix="codectrace-") as folder:
                temporary = Path(folder, "output")
                yield temporary
                write_through(temporary, path)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_stream(path):
    """Whether `path` is a device, a pipe, or the file that standard output or error goes to: nothing to be replaced."""
    status = file_at(path)
    if not status or S_ISDIR(status.st_mode):
        return False
    return not S_ISREG(status.st_mode) or own_stream(path) is not None


def own_stream(path):
    """1 or 2 where `path` is the file that standard output, or standard error, goes to; otherwise None."""
    status = file_at(path)
    for number in (1, 2):
        with suppress(OSError):
            if status and os.path.samestat(status, os.fstat(number)):
                return number
    return None


def write_through(source, path):
    """Write the bytes of the file `source` to the device or pipe `path`; a reader that ends early misses the rest."""
    sys.stdout.flush()  # what was printed before comes first
    own = own_stream(path)  # another descriptor would have a position of its own in the file
    where = path if own is None else own
    with suppress(BrokenPipeError), open(source, "rb") as file, open(where, "ab", 0, closefd=own is None) as stream:
        shutil.copyfileobj(file, stream)


def file_at(path):
    """The stat of the file or folder at `path`, by which os.path.samestat recognises it; None when nothing is there."""
    with suppress(OSError):
        return os.stat(path)
    return None


def check_writable(folder, file=None):
    """Raise InputError when `folder`, which may not exist yet, cannot be written to; nothing is written.

    With `file`, a path in that folder, the message names the file, and a folder in its place is an error too.
    """
    if file and is_stream(file):
        if not os.access(file, os.W_OK):
            raise InputError(f"{file} cannot be written: it is write-protected")
        return
    if file and file.is_symlink():
        folder = Path(os.path.realpath(file)).parent
    paths = (folder.absolute(), *folder.absolute().parents)
    there, status = next((path, status) for path in paths if (status := file_at(path)))
    if not S_ISDIR(status.st_mode):
        raise InputError(f"{file or folder} cannot be written: {there} is not a folder")
    # The run that made a folder may remove it at this moment, so the first answer is not enough.
    if not os.access(there, os.W_OK | os.X_OK) and file_at(there) and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{file or folder} cannot be written: {there} is write-protected")
    if file and file.is_dir():
        raise InputError(f"{file} cannot be written: it is a folder")


def flush_to_disk(file):
    """Wait until the disk holds what was written to `file`: otherwise a power cut may leave an empty file."""
    file.flush()
    os.fsync(file.fileno())


def write_text(path, text):
    """Write `text` to `path` as UTF-8, complete or not at all; file names that are not UTF-8 keep their bytes."""
    write_parts(path, [text])


def write_parts(path, parts):
    """write_text() of a text that comes in `parts`."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", errors=NOT_UTF8) as file:
        for part in parts:
            file.write(part)
        flush_to_disk(file)


def write_json(path, content):
    """write_text() of `content` as JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def csv_line(row):
    """A line of CSV, ended by a line feed."""
    text = io.StringIO()
    csv.writer(text).writerow(row)  # with its own line end, \r\n, it puts fields with a carriage return into quotes
    return text.getvalue().removesuffix("\r\n") + "\n"


def save_tensors(path, content):
    """torch.save() `content` to `path`, complete or not at all; the same content gives the same bytes."""
    import torch  # slow to import

    # An open file, not its path: torch writes the name of a path into the archive.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch raises it instead of the cause, a full disk or Ctrl-C
            raise error.__context__ or error from None
        flush_to_disk(file)


def save_safetensors(path, tensors, metadata=None):
    """Write {name: tensor} and {key: text} to `path` as safetensors, complete or not at all.

    The metadata get the key `digest`, that of the tensors, because safetensors has no checksum. The same content gives
    the same bytes.
    """
    from safetensors.torch import save  # slow to import; save_file() would make a file that only its owner may read

    from utils.tensors import tensors_digest  # imports torch, which is slow

    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = save(tensors, {**(metadata or {}), "digest": tensors_digest(tensors)})
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(sort_metadata(content) if metadata else content)
        flush_to_disk(file)


def sort_metadata(content):
    """The bytes `content` of a safetensors file with its metadata in order: save() gives them in any."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
