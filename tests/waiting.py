"""Waiting for what another thread does, as long as it takes: no test may depend on how fast a machine is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace


def wait_until(true: Callable[[], object], limit_s: float = 60) -> None:
    """Come back when ``true`` is; fail when it still is not after ``limit_s``."""
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, f"not so after {limit_s:g} s"
        time.sleep(0.01)


class Gate:
    """Holds calls up for as long as a test likes, or for so long that it fails. opened: for each, whether the test let it go."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self.opened: list[bool] = []

    def hold(self) -> None:
        """Wait, in the call."""
        self.reached.set()
        self.opened.append(self._open.wait(25))

    def open(self) -> None:
        """Let go of all."""
        self._open.set()


def hasty_asyncio(most_s: float = 0.005) -> SimpleNamespace:
    """asyncio for a library that looks now and then, or waits before it tries again: it sleeps no longer than this."""
    return SimpleNamespace(**vars(asyncio) | {"sleep": lambda wait_s: asyncio.sleep(min(wait_s, most_s))})
