"""A cut-out with another matte in a part of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstream.matte.refine import own_colours, put_colours
from headstream.types import Cutout, Region, UInt8Array


def alpha_in(cutout: Cutout, region: Region) -> UInt8Array:
    """(y1 - y0, x1 - x0) uint8: a copy of the matte inside a region of the frame."""
    x0, y0, x1, y1 = region
    out = np.zeros((y1 - y0, x1 - x0), np.uint8)
    both = overlap_of(region, cutout.region_px)
    if both is not None:
        out[_within(both, region)] = cutout.region_alpha[_within(both, cutout.region_px)]
    return out


def repainted(cutout: Cutout, region: Region, alpha: UInt8Array) -> Cutout:
    """The cut-out with ``alpha`` (uint8) for its matte inside ``region``, and as it was outside.

    Pixels that became more opaque have the frame's own colours: they were no soft edge. Corners of ``region`` must be even
    or on the frame's border.
    """
    before = alpha_in(cutout, region)
    if np.array_equal(before, alpha):
        return cutout
    union = _union(cutout.region_px, region)
    whole = alpha_in(cutout, union)
    whole[_within(region, union)] = alpha
    colours = None
    if cutout.foreground is not None:
        colours = own_colours(cutout.frame, union)
        keep = np.ones(cutout.region_alpha.shape, bool)
        both = overlap_of(region, cutout.region_px)
        if both is not None:
            keep[_within(both, cutout.region_px)] = ~(alpha > before)[_within(both, region)]
        x0, y0 = union[:2]
        rx0, ry0, rx1, ry1 = cutout.region_px
        put_colours(colours, cutout.foreground, (rx0 - x0, ry0 - y0, rx1 - x0, ry1 - y0), keep)
    return replace(cutout, region_px=union, region_alpha=whole, foreground=colours)


def overlap_of(one: Region, other: Region) -> Region | None:
    """What two regions share, or None."""
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def even_region(region: Region, size_px: tuple[int, int]) -> Region:
    """The region with even corners, inside the frame; empty ones become (0, 0, 0, 0)."""
    width, height = size_px
    x0, y0 = max(0, region[0]) // 2 * 2, max(0, region[1]) // 2 * 2
    x1, y1 = min(width, -(-region[2] // 2) * 2), min(height, -(-region[3] // 2) * 2)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)


def _union(one: Region, other: Region) -> Region:
    if one[2] <= one[0]:
        return other
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _within(part: Region, whole: Region) -> tuple[slice, slice]:
    """Index of a part of a region in an array over the region."""
    return slice(part[1] - whole[1], part[3] - whole[1]), slice(part[0] - whole[0], part[2] - whole[0])
