"""Sinks without a file: for measuring, for tests, for those who want the cut-outs themselves."""

from __future__ import annotations

from collections import deque

from headstream.types import Cutout


class CountingSink:
    """Counts cut-outs and how many had a head; keeps none."""

    def __init__(self) -> None:
        self.frames = 0
        self.frames_with_head = 0

    def write(self, cutout: Cutout) -> None:
        """Count one."""
        self.frames += 1
        self.frames_with_head += bool(cutout.heads)

    def close(self) -> None:
        """Nothing to free."""


class MemorySink(CountingSink):
    """Keeps the last ``limit`` cut-outs, or all of them when that is None."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.cutouts: deque[Cutout] = deque(maxlen=limit)

    def write(self, cutout: Cutout) -> None:
        """Keep one."""
        super().write(cutout)
        self.cutouts.append(cutout)
