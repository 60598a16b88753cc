"""What other packages say that means nothing to whoever uses this one."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def muted(package: str) -> Iterator[None]:
    """Nothing that a package warns of is shown meanwhile, nor in other threads; what others warn of is.

    ``warnings.catch_warnings`` is not for threads: of two that overlap, the one that ends last puts the other's filters back,
    for the whole program and for good. Here one filter comes, and goes from the very list that it was put into.
    """
    filters: Any = warnings.filters
    mine = ("ignore", None, Warning, re.compile(rf"{package}\b"), 0)
    filters.insert(0, mine)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # somebody has emptied it
            filters.remove(mine)


class _NativeStderr:
    """MediaPipe's C++ part writes start-up notes straight to file descriptor 2; keep them off the user's terminal.

    The descriptor is the whole process's: of several threads at once the first mutes it and the last gives it back.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may come in here again, in this very thread
        self._inside = 0
        self._saved: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._silence()

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            if self._inside == 1:
                self._give_back()
            self._inside -= 1

    def _silence(self) -> None:
        """File descriptor 2 to nowhere, if it can be."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
            with open(os.devnull, "wb") as nowhere:
                self._saved = os.dup(2)
                os.dup2(nowhere.fileno(), 2)

    def _give_back(self) -> None:
        if self._saved is not None:
            os.dup2(self._saved, 2)
            saved, self._saved = self._saved, None
            os.close(saved)

    def forked(self) -> None:
        """A child has none of the threads that are inside."""
        self._give_back()
        self._lock, self._inside = threading.RLock(), 0


native_stderr_muted = _NativeStderr()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=native_stderr_muted.forked)
