"""What a terminal that is closed does to what runs in it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_hangup(act: Callable[[], object]) -> Iterator[None]:
    """Meanwhile the signal of a closed terminal, which would kill, calls ``act`` instead, in the main thread.

    Does nothing in other threads, on Windows, and where the signal is ignored (nohup) or somebody else's.
    """
    hangup = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    if hangup is None or not main or signal.getsignal(hangup) != signal.SIG_DFL:
        yield
        return
    signal.signal(hangup, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(hangup, signal.SIG_DFL)
