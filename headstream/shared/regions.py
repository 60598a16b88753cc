"""Regions of a frame, (x0, y0, x1, y1) in pixels, x1 and y1 outside: how they lie to one another."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from headstream.types import Box, Region

AnyBox = TypeVar("AnyBox", Region, Box)


def overlap_of(one: Region, other: Region) -> Region | None:
    """What two regions share, or None."""
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def around(first: AnyBox, *others: AnyBox) -> AnyBox:
    """The least that holds all of them."""
    x0, y0, x1, y1 = zip(first, *others, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def even_region(region: Region, size_px: tuple[int, int]) -> Region:
    """The region with even corners, inside the frame; empty ones become (0, 0, 0, 0)."""
    width, height = size_px
    x0, y0 = max(0, region[0]) // 2 * 2, max(0, region[1]) // 2 * 2
    x1, y1 = min(width, -(-region[2] // 2) * 2), min(height, -(-region[3] // 2) * 2)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)


def seen_from(part: Region, whole: Region) -> Region:
    """A region in the pixels of another that begins at (0, 0) there."""
    x, y = whole[:2]
    return part[0] - x, part[1] - y, part[2] - x, part[3] - y


def index_in(part: Region, whole: Region) -> tuple[slice, slice]:
    """Index of a part of a region in an array over the region."""
    return slice(part[1] - whole[1], part[3] - whole[1]), slice(part[0] - whole[0], part[2] - whole[0])


def chroma_index(region: Region, sub: tuple[int, int]) -> tuple[slice, slice]:
    """Index of a region's samples in a plane of the frame that is subsampled by ``sub``, (across, down)."""
    x0, y0, x1, y1 = region
    return slice(y0 // sub[1], -(-y1 // sub[1])), slice(x0 // sub[0], -(-x1 // sub[0]))


def laid_over(values: Any, region: Region, area: Region) -> Any:
    """What is known of a region, (h, w), as known of an area around it or beside it: 0 where it is not."""
    out = np.zeros((area[3] - area[1], area[2] - area[0]), values.dtype)
    both = overlap_of(region, area)
    if both is not None:
        out[index_in(both, area)] = values[index_in(both, region)]
    return out
