"""One run at a time writes into a folder; a second one is refused and told who the first is."""

import os
import socket
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from utils.errors import InputError
from utils.files import check_writable
from utils.hardware import is_first_process

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_NAME = ".codectrace.lock"  # in the folder, for as long as it is written to; holds who does
LONGEST = 4096  # bytes of that


def is_at(descriptor, path):
    """Whether the open file is still the one at `path`."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def open_lock(path):
    """A descriptor of the file `path`, made with its folder where it is absent, which this process alone has locked.

    The lock is the operating system's: it holds among hosts that share the folder, ends with its process however that
    ends, and the workers of a loader do not inherit it. Raises InputError when another process has it.
    """
    for _ in range(100):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # its owner has just ended and taken the folder along
            continue
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            owner = os.read(descriptor, LONGEST).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise InputError(
                f"{path.parent} is in use by {owner}: wait until it has ended, stop it, or give another folder"
            ) from None
        except OSError as error:  # some network file systems have no locks
            print(f"{path.parent}: nothing keeps other runs out of it ({error.strerror})")
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # of a file that its owner removed between our two steps
    raise InputError(f"{path} cannot be locked: other runs begin and end all the time")


@contextmanager
def lock_folder(folder):
    """lock_folders() for one folder."""
    absent, path = [each for each in (folder, *folder.parents) if not each.exists()], folder / LOCK_NAME
    try:
        descriptor = open_lock(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        if left := os.read(descriptor, LONGEST).decode(errors="replace"):
            print(f"{folder}: {left} wrote here and was ended from outside: its lock is taken over")
        me = f"process {os.getpid()} on {socket.gethostname()} ({Path(sys.argv[0]).name})"
        with suppress(OSError):  # a full disk will tell in good time
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, me.encode(errors="replace"), 0)
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        finally:
            if is_at(descriptor, path):  # a signal came at that very moment
                path.unlink()
            os.close(descriptor)
            for made in absent:
                with suppress(OSError):  # it holds something
                    made.rmdir()


@contextmanager
def lock_folders(*folders):
    """No other run writes into `folders` while the block lasts; one that is still empty at its end goes again.

    Of several processes of one run the first one holds the locks for all. Raises InputError for a folder that another
    run holds, naming its process and host, and for one that cannot be written.
    """
    for folder in folders:
        check_writable(folder)
    with ExitStack() as held:
        if fcntl and is_first_process():
            # In one order everywhere: of two runs that want the same folders, one gets them all.
            for _, folder in sorted({folder.resolve(): folder for folder in folders}.items()):
                held.enter_context(lock_folder(folder))
        yield
