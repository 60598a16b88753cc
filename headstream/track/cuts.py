"""Cuts: the whole picture is another one. Luma and chroma on a coarse grid tell, at next to no cost."""

from __future__ import annotations

import numpy as np

from headstream.shared.colour import planes_from_rgb
from headstream.types import Colour, Float32Array, Frame

# Mean steps, of 255, of luma and of both chromas together. Two heads in the middle of two rooms may be as light as one
# another: by luma alone one cut in twelve between our clips goes unseen, and with chroma none. Within them it is 27 at most.
_CHANGED = 35


def thumbnail(frame: Frame) -> Float32Array:
    """(3, h, w): Y, U and V of every few pixels, 0..255: what ``another_shot`` compares."""
    step = max(1, min(frame.size_px) // 24)
    if frame.planes is None:
        few = np.ascontiguousarray(frame.rgb[step // 2 :: step, step // 2 :: step])
        planes = planes_from_rgb(few, Colour(full_range=True), sub=(1, 1))
        return np.stack([planes.y, planes.u, planes.v]).astype(np.float32)
    planes = frame.planes
    luma = planes.y[step // 2 :: step, step // 2 :: step]
    rows, columns = (np.arange(step // 2, side, step) for side in planes.y.shape)
    chroma = np.ix_(rows // planes.sub_h, columns // planes.sub_w)
    few = np.stack([luma, planes.u[chroma], planes.v[chroma]])
    return few.astype(np.float32) / np.float32(1 << (planes.bits - 8))


def another_shot(before: Float32Array | None, now: Float32Array) -> bool:
    """Whether the picture changed as a whole between two thumbnails."""
    if before is None or before.shape != now.shape:
        return False
    return bool(np.abs(before - now).mean(axis=(1, 2)).sum() > _CHANGED)
