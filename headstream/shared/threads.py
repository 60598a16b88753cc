"""Threads that can be waited for again after an interrupt."""

from __future__ import annotations

import os
import threading
from typing import Any


class JoinedThread(threading.Thread):
    """A thread whose ``join`` Ctrl-C may break off. Otherwise a ``threading.Thread``.

    Before Python 3.13, a ``threading.Thread`` whose ``join`` an exception of a signal handler breaks off counts as ended
    while it runs: the next ``join`` returns at once, ``is_alive`` is false, and the interpreter does not wait for it when
    it exits. What the thread was writing would be lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._left, self._process = threading.Event(), os.getpid()
        super().__init__(*args, **kwargs)

    def run(self) -> None:
        """Call the target."""
        try:
            super().run()
        finally:
            self._left.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for ``timeout`` seconds."""
        # Of itself, before its start, or in a forked child, where it does not run: that is for the thread to say.
        elsewhere = self.ident is None or self is threading.current_thread() or self._process != os.getpid()
        if elsewhere or self._left.wait(timeout):
            super().join(timeout)
