"""Digests of files, by which a script sees whether a file is still the one that something was made of."""

import functools
import hashlib
import os
from stat import S_ISREG


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@functools.lru_cache(maxsize=1 << 18)
def digest_in_state(path, state):
    """sha256() of the file `path`; computed again only when its `state` is another, see file_digest()."""
    return sha256(path)


def file_digest(path):
    """SHA-256 of the content of a file; None where there is no regular file, or it cannot be read.

    One process reads a file again only when its size, its times or its inode have changed. No copy and no tool sets the
    time of the last change of the inode.
    """
    try:
        status = os.stat(path)
        if not S_ISREG(status.st_mode):
            return None
        state = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        return digest_in_state(os.fspath(path), state)
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return None
