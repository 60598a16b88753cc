"""What a terminal that is closed does to what runs in it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class _Once:
    """A handler that calls ``act`` at the first signal alone: shells and the kernel both send it, and the second would break
    into the closing."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def __call__(self, number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        self._act()


@contextmanager
def on_hangup(act: Callable[[], object]) -> Iterator[None]:
    """Meanwhile the signal of a closed terminal, which would kill, calls ``act`` instead, once, in the main thread; of several
    such blocks, the innermost's.

    Does nothing in other threads, on Windows, and where the signal is ignored (nohup) or somebody else's.
    """
    hangup = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(hangup) if hangup is not None and main else None
    if hangup is None or not (before == signal.SIG_DFL or isinstance(before, _Once)):
        yield
        return
    once = _Once(act)
    signal.signal(hangup, once)
    try:
        yield
    finally:
        if signal.getsignal(hangup) is once:  # else all is on its way out, and what is told last can be told
            signal.signal(hangup, before)


class _Surviving:
    """A text stream to a terminal; when that is gone, what is written goes nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _gone_is_no_error():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _gone_is_no_error():
            self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))


def _is_device(stream: Any) -> bool:
    """Whether it may be a terminal: one that is gone already does not say so."""
    try:
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return bool(stream.isatty())


@contextmanager
def _gone_is_no_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


@contextmanager
def outliving_terminal() -> Iterator[None]:
    """Meanwhile what is said on a terminal that was closed, or that this process was taken off (disown), is no error: the work
    goes on without it."""
    before = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and _is_device(stream):
            setattr(sys, name, _Surviving(stream))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
