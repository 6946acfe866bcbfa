"""Only one run at a time writes into a folder. A second run is refused, and its message names the first.

The lock is that of filelock, which takes it from the operating system: it ends with its process, however that ends, and
the workers of a loader do not inherit it. The lock file also holds who has the lock.
"""

import errno
import os
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from filelock import FileLock, Timeout

from utils.errors import InputError, printable
from utils.files import check_writable, file_at, naming_unwritable
from utils.hardware import is_first_process

LOCK_NAME = ".codectrace.lock"  # in the folder, for as long as a run writes into it
OWNER_START = 1  # byte of the lock file at which its owner begins: Windows lets nobody else read the locked byte 0
OWNER_BYTES = 4096  # at most
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}  # from a file system that has no locks


def open_own(path, flags):
    """os.open() of a lock file, which follows no link and does not wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def refuse_foreign(path):
    """Raise InputError when something else than a file lies where the lock file `path` should."""
    with suppress(FileNotFoundError):
        if not S_ISREG(os.lstat(path).st_mode):
            raise InputError(f"{path} is no lock file but a link, a pipe or a folder: remove it")


def read_owner(path):
    """Who has the lock file `path`, as write_owner() wrote it; "" when it does not say so."""
    try:
        with open(path, "rb", opener=open_own) as file:
            file.seek(OWNER_START)
            return printable(file.read(OWNER_BYTES).decode(errors="replace"))
    except OSError:
        return ""


def write_owner(path):
    """Write into the lock file `path` that this process has it; without effect when the disk is full."""
    owner = f"process {os.getpid()} on {socket.gethostname()} ({Path(sys.argv[0]).name})"
    with suppress(OSError), open(path, "r+b", opener=open_own) as file:
        file.seek(OWNER_START)
        file.write(owner.encode(errors="replace"))
        file.truncate()


def is_same_file(stat, path):
    """Whether `stat`, of file_at(), is of the file that is at `path` now."""
    now = file_at(path)
    return bool(stat and now) and os.path.samestat(stat, now)


def acquire_lock(lock, path):
    """Acquire `lock`, the FileLock of the file `path`, whose folder is made where it is absent.

    Prints who had the lock when that process ended without giving it back. Where the file system has no locks, prints
    a warning and acquires nothing. Raises InputError when another process has the lock.
    """
    for attempt in range(100):
        refuse_foreign(path)
        left_by = read_owner(path)
        left = file_at(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (FileNotFoundError, FileExistsError):  # its owner ends at this moment and removes the folder
            continue
        except Timeout:
            owner = read_owner(path)
            if not owner and (attempt < 50 or not path.exists()):  # its owner has just begun, or ended
                time.sleep(0.01)
                continue
            raise InputError(
                f"{path.parent} is in use by {owner or 'another process'}: wait until it has ended, stop it,"
                " or give another folder"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(f"{path.parent}: this file system has no locks ({error.strerror}), so let no other run write here")
        else:
            if left_by and is_same_file(left, path):  # an owner that ends in order removes the file
                print(f"{path.parent}: {left_by} was killed while it wrote here; this run takes over its lock")
        return
    raise InputError(f"{path} cannot be locked: other runs begin and end all the time")


def release_lock(lock, path, own):
    """Remove the lock file `path` and release `lock`; `own` is the stat of that file."""
    if not lock.is_locked:
        return
    try:
        with suppress(OSError):  # Windows: the file is open; filelock removes it after the release
            path.unlink()
    finally:
        if is_same_file(own, path):  # a signal has stopped the line above
            with suppress(OSError):
                path.unlink()
        lock.release()


@contextmanager
def lock_file(path):
    """No other run holds the lock file `path` while the block lasts; its folder is made, and removed if still empty.

    Raises InputError when another run holds it, naming its process and host, and when the folder cannot be written.
    """
    folder = path.parent
    absent = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    own = None
    try:
        with naming_unwritable(folder):
            acquire_lock(lock, path)
            own = file_at(path)
        if lock.is_locked:
            write_owner(path)
        yield
    finally:
        try:
            release_lock(lock, path, own)
        finally:
            for made in absent:
                with suppress(OSError):  # it holds something
                    made.rmdir()


def lockable(*folders):
    """Those of `folders` that can be locked. A folder that is only read needs a lock only where this user may write."""
    return [folder for folder in folders if os.access(folder, os.W_OK | os.X_OK)]


@contextmanager
def lock_folders(*folders):
    """No other run writes into `folders` while the block lasts; folders that are still empty at its end are removed.

    Of several processes of one run, the first one holds the locks for all. Raises InputError for a folder that another
    run has locked, naming its process and host, and for a folder that cannot be written.
    """
    for folder in folders:
        check_writable(folder)
    with ExitStack() as held:
        if is_first_process():
            # In one order everywhere: of two runs that want the same folders, one gets them all.
            for _, folder in sorted({folder.resolve(): folder for folder in folders}.items()):
                held.enter_context(lock_file(folder / LOCK_NAME))
        yield
