"""What a terminal that is closed does to what runs in it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_hangup(act: Callable[[], object]) -> Iterator[None]:
    """Meanwhile the signal of a closed terminal, which would kill, calls ``act`` instead, once, in the main thread.

    Does nothing in other threads, on Windows, and where the signal is ignored (nohup) or somebody else's.
    """
    hangup = getattr(signal, "SIGHUP", None)
    main = threading.current_thread() is threading.main_thread()
    if hangup is None or not main or signal.getsignal(hangup) != signal.SIG_DFL:
        yield
        return

    def once(*_: object) -> None:
        signal.signal(
            hangup, signal.SIG_IGN
        )  # shells and the kernel both send it: the second would break into the closing
        act()

    signal.signal(hangup, once)
    try:
        yield
    finally:
        if signal.getsignal(hangup) is once:  # else all is on its way out, and what is told last can be told
            signal.signal(hangup, signal.SIG_DFL)
