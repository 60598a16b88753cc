"""All packets of a film, also where another stream begins on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def packets_of(container: Any, *chosen: Any, begins: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """The packets of a container's streams, or of those ``chosen``, and at the end an empty one of each.

    begins: called at the end where a stream was met that was not there yet when the file was opened, as in a broadcast whose
    sound sets in later. PyAV gives no packet of such, and fails over it, once it has given all others. It does not meet all.
    """
    try:
        yield from container.demux(*chosen)
    except IndexError:
        begins()
