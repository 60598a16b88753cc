"""One process at a time for an output: a lock file beside it, which the system frees when its holder is gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from headstream.errors import SinkError
from headstream.sinks.clipfile import beside, check_output
from headstream.sinks.partial import make_parents, sink_error

_LOCKED_BYTE = 1 << 30  # far past what is written: on Windows nobody else can read what is locked


@contextmanager
def locked(outputs: Sequence[Path]) -> Iterator[None]:
    """Hold the locks of all outputs. Raises SinkError naming the process that has one already; and as ``check_output``.

    The lock is the system's own on the open file, so that one left behind by a process that was killed is free.
    """
    with ExitStack() as held:
        for place, output in sorted({beside(output.absolute(), "lock"): output for output in outputs}.items()):
            held.enter_context(_locked(place, output))
        yield


@contextmanager
def _locked(place: Path, output: Path) -> Iterator[None]:
    check_output(output)
    make_parents(place)
    file = _acquired(place, output)
    try:
        with suppress(OSError):  # a full disk: whose lock it is helps others, and is no reason to end
            file.truncate(0)
            file.seek(0)
            file.write(f"{os.getpid()}\n".encode())
        yield
    finally:
        if sys.platform == "win32":
            file.close()  # it removes no open file; whose somebody else has opened since, stays
        with suppress(OSError):
            place.unlink()  # elsewhere while it is held: nobody can take the name over in between
        file.close()


def _acquired(place: Path, output: Path) -> Any:
    while True:
        try:
            file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        except OSError as error:
            raise sink_error(output, error) from error
        if not _try_lock(file):
            with file:
                file.seek(0)
                holder = file.read(20).decode(errors="replace").strip()
            raise SinkError(f"{output}: process {holder or '?'} is making it at this moment; wait for it or stop it")
        if _still_named(place, file):
            return file
        file.close()  # its last holder removed it just now


def _still_named(place: Path, file: Any) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _try_lock(file: Any) -> bool:
    """Whether the lock is ours now. A file system without locks cannot keep two apart; then there are none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
