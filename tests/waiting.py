"""Waiting for what another thread does, as long as it takes: no test may depend on how fast a machine is."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], limit_s: float = 60) -> None:
    """Come back when ``true`` is; fail when it still is not after ``limit_s``."""
    until = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until, f"not so after {limit_s:g} s"
        time.sleep(0.01)
