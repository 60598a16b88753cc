"""Cuts: the whole picture is another one. Luma on a coarse grid tells, at no cost."""

from __future__ import annotations

import numpy as np

from headstream.types import Float32Array, Frame

_CHANGED = 35  # mean steps of luma, of 255


def thumbnail(frame: Frame) -> Float32Array:
    """Luma of every few pixels, 0..255: what ``another_shot`` compares."""
    plane = frame.rgb[..., 1] if frame.planes is None else frame.planes.y
    bits = 8 if frame.planes is None else frame.planes.bits
    step = max(1, min(frame.size_px) // 24)
    return plane[step // 2 :: step, step // 2 :: step].astype(np.float32) / np.float32(1 << (bits - 8))


def another_shot(before: Float32Array | None, now: Float32Array) -> bool:
    """Whether the picture changed as a whole between two thumbnails."""
    return before is not None and before.shape == now.shape and bool(np.abs(before - now).mean() > _CHANGED)
