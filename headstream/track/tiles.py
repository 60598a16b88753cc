"""Overlapping squares of a photo in which faces are looked for."""

from __future__ import annotations

import numpy as np

from headstream.types import Box, Region


def steps(length: int, side: int) -> list[int]:
    """Starts of tiles of ``side`` that cover ``length`` with at least half overlapping."""
    count = max(1, int(np.ceil((length - side) / (side / 2))) + 1)
    return [int(x) for x in np.linspace(0, max(0, length - side), count)]


def cut_by(box: Box, tile: Region, size: tuple[int, int]) -> bool:
    """Whether a box leaves its tile on a side where the picture goes on: another tile sees that face whole."""
    x0, y0, x1, y1 = tile
    return (
        (box[0] < x0 and x0 > 0)
        or (box[1] < y0 and y0 > 0)
        or (box[2] > x1 and x1 < size[0])
        or (box[3] > y1 and y1 < size[1])
    )
