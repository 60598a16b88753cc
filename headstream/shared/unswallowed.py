"""An interrupt that is not lost where Python swallows exceptions: in finalizers and in callbacks from C."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AGAIN_S = 0.05  # finalizers take microseconds


@contextmanager
def unswallowed(kind: type[BaseException], before_again: Callable[[], object] = lambda: None) -> Iterator[None]:
    """``kind``, which a handler of SIGTERM raises, comes again a moment later where it met code that nothing can be raised from
    (MediaPipe's pictures have a ``__del__`` in Python). before_again: called first, in the main thread. For the main thread."""
    usual = sys.unraisablehook
    timers: list[threading.Timer] = []

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, kind):
            usual(lost)
            return
        before_again()
        timers.append(threading.Timer(_AGAIN_S, _terminate, [threading.get_ident()]))
        timers[-1].daemon = True
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for timer in timers:
            timer.cancel()


def _terminate(thread: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(signal.SIGTERM)
    else:
        signal.pthread_kill(thread, signal.SIGTERM)  # ends a system call, too
