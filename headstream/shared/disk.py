"""What a disk is asked for twice over: that bytes have reached it, and a name while others look at the file."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE_S = 2.0
_AGAIN_S = 0.05
# Of file systems that cannot be asked at all, as shared folders of virtual machines.
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def sync(path: Path) -> None:
    """What was written to a file, or the names in a folder, is on the disk when this returns. Raises OSError."""
    folder = path.is_dir()
    if folder and sys.platform == "win32":
        return  # there is no such thing
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder and error.errno not in _UNKNOWN:  # some file systems of the network know it for files only
            raise
    finally:
        os.close(descriptor)


def rename(path: Path, to: Path) -> None:
    """Give a file, or a folder, another name, over a file that has it. Raises OSError.

    Virus scanners, search indexers and players open what has just been written, and what Windows holds open has no other name
    given; there, that is waited for a moment.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            os.replace(path, to)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > until:
                raise
        time.sleep(_AGAIN_S)


def remove(path: Path) -> None:
    """Remove a file, if it is there and the disk lets it go: one that fails must not hide what had gone wrong before."""
    with suppress(OSError):
        path.unlink()
