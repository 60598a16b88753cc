"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give it back where glibc would keep it; elsewhere, nothing.

    glibc has a heap for every few threads that ever ran at once, and each grows to the most that any of them needed: after
    two hundred sessions, which all have threads of their own, that was 100 MB, and more where there are more cores.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
