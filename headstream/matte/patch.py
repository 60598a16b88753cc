"""A cut-out with another matte in a part of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstream.matte.refine import own_colours, put_colours
from headstream.shared.regions import around, index_in, laid_over, overlap_of, seen_from
from headstream.types import Cutout, Region, UInt8Array


def alpha_in(cutout: Cutout, region: Region) -> UInt8Array:
    """(y1 - y0, x1 - x0) uint8: a copy of the matte inside a region of the frame."""
    out: UInt8Array = laid_over(cutout.region_alpha, cutout.region_px, region)
    return out


def repainted(cutout: Cutout, region: Region, alpha: UInt8Array) -> Cutout:
    """The cut-out with ``alpha`` (uint8) for its matte inside ``region``, and as it was outside.

    Pixels that became more opaque have the frame's own colours: they were no soft edge. Corners of ``region`` must be even
    or on the frame's border.
    """
    before = alpha_in(cutout, region)
    if np.array_equal(before, alpha):
        return cutout
    empty = cutout.region_px[2] <= cutout.region_px[0]
    union = region if empty else around(cutout.region_px, region)
    whole = alpha_in(cutout, union)
    whole[index_in(region, union)] = alpha
    colours = None
    if cutout.foreground is not None:
        colours = own_colours(cutout.frame, union)
        keep = np.ones(cutout.region_alpha.shape, bool)
        both = overlap_of(region, cutout.region_px)
        if both is not None:
            keep[index_in(both, cutout.region_px)] = ~(alpha > before)[index_in(both, region)]
        put_colours(colours, cutout.foreground, seen_from(cutout.region_px, union), keep)
    return replace(cutout, region_px=union, region_alpha=whole, foreground=colours)
