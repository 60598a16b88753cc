"""Frames held back for what later ones tell, on their way from cutting to writing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from headstream.errors import HeadstreamError
from headstream.types import Cutout


class Window(Protocol):
    """Holds cut-outs back. ``take`` gives those that nothing can change any more, ``rest`` what is left at the end."""

    def take(self, cutout: Cutout) -> Iterator[Cutout]: ...
    def rest(self) -> Iterator[Cutout]: ...


def through(window: Window, cutouts: Iterator[Cutout]) -> Iterator[Cutout]:
    """The cut-outs through a window. Where the source breaks off, what came before is good and still comes out."""
    try:
        for cutout in cutouts:
            yield from window.take(cutout)
    except HeadstreamError:
        yield from window.rest()
        raise
    yield from window.rest()
