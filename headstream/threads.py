"""Threads that can be waited for again after an interrupt."""

from __future__ import annotations

import threading
from typing import Any


class Worker(threading.Thread):
    """A thread whose ``join`` Ctrl-C may break off.

    Before Python 3.13, a ``threading.Thread`` whose ``join`` an exception of a signal handler breaks off counts as ended
    while it runs: the next ``join`` returns at once, ``is_alive`` is false, and the interpreter does not wait for it when
    it exits. What the thread was writing would be lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._left = threading.Event()
        super().__init__(*args, **kwargs)

    def run(self) -> None:
        """Call the target."""
        try:
            super().run()
        finally:
            self._left.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for ``timeout`` seconds."""
        if self.ident is None or self._left.wait(timeout):
            super().join(timeout)
