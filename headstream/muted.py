"""Warnings of other packages that say nothing to whoever uses this one."""

from __future__ import annotations

import contextlib
import re
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
