"""Between a crop's own small grid and frame pixels: which part of the frame a matte covers, and planes brought up to it."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from headstream.shared.regions import even_region
from headstream.types import Float32Array, Region

_MARGIN = 2  # grid cells around everything visible, so that interpolation fades out inside


def visible_region(alpha: Float32Array, crop_px: Region, size_px: tuple[int, int], threshold: float) -> Region:
    """Frame pixels that ``alpha`` (S, S) over ``crop_px`` can reach above ``threshold``: x0, y0, x1, y1, even corners
    where the frame allows; (0, 0, 0, 0) if nothing is visible or all of it lies outside the frame."""
    seen = alpha > threshold
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return (0, 0, 0, 0)
    cell = (crop_px[2] - crop_px[0]) / alpha.shape[0]
    (x0, x1), (y0, y1) = (
        (int(start + (cells[0] - _MARGIN) * cell), int(start + (cells[-1] + 1 + _MARGIN) * cell + 1))
        for start, cells in ((crop_px[0], columns), (crop_px[1], rows))
    )
    return even_region((x0, y0, x1, y1), size_px)


def grid_from_region(region: Region, crop_px: Region, side: int, sub: tuple[int, int] = (1, 1)) -> Any:
    """(2, 3) float64 affine from the index of a pixel (or chroma sample) of ``region`` to an index of the small grid.

    Pixel centres lie at .5; chroma samples are taken as centred on the pixels they cover, which is near enough for
    anything as smooth as what is brought up from this grid.
    """
    scale = side / (crop_px[2] - crop_px[0])
    (sx, sy), (x0, y0, _, _) = sub, region
    return np.array(
        [
            [scale * sx, 0.0, (x0 + 0.5 * sx - crop_px[0]) * scale - 0.5],
            [0.0, scale * sy, (y0 + 0.5 * sy - crop_px[1]) * scale - 0.5],
        ]
    )


def brought_up(
    plane: Float32Array, grid_from_pixel: Any, size_px: tuple[int, int], *, border: int = cv2.BORDER_CONSTANT
) -> Float32Array:
    """A plane of the small grid sampled, bilinear, for every pixel of a region of ``size_px`` (w, h). border: OpenCV's word for
    what is beyond the grid; 0 if none is given."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, grid_from_pixel, size_px, flags=flags, borderMode=border, borderValue=(0.0,))


def over_region(plane: Float32Array, crop_px: Region, region: Region, sub: tuple[int, int] = (1, 1)) -> Float32Array:
    """A plane (S, S) or (S, S, 3) of the small grid over ``crop_px`` sampled, bilinear, for every pixel of ``region``, or every
    chroma sample. Corners must be even where chroma is subsampled, as far as the frame allows."""
    side, length = plane.shape[0], crop_px[2] - crop_px[0]
    x0, y0, x1, y1 = (region[k] - crop_px[k % 2] for k in range(4))
    (across, down), (left, top) = (length // sub[0], length // sub[1]), (x0 // sub[0], y0 // sub[1])
    width, height = -(-(x1 - x0) // sub[0]), -(-(y1 - y0) // sub[1])
    edge = length / side / 2 + 1  # pixels along the crop's border where the plane fades out
    if min(x0, y0) < edge or max(x1, y1) > length - edge:
        return brought_up(plane, grid_from_region(region, crop_px, side, sub), (width, height))
    # Within the crop, the region is a part of the whole grid resized: in a third of the time. First along rows, so that
    # little of what is not wanted is made.
    rows = cv2.resize(plane, (across, side), interpolation=cv2.INTER_LINEAR)[:, left : left + width]
    return cv2.resize(rows, (width, down), interpolation=cv2.INTER_LINEAR)[top : top + height]


def ramp(value: Any, ends: tuple[float, float]) -> Any:
    """How far numbers are on the way between two ends, 0 before the first and 1 past the second."""
    return np.clip((value - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)


def continued(grid: Any, crop_px: Region, size_px: tuple[int, int]) -> Any:
    """``grid`` (S, S) or (S, S, 3) over ``crop_px`` with its cells beyond the picture's border made those at the border: a head
    does not end there, and what crops are filled up with is no background."""
    side = grid.shape[0]
    cell = (crop_px[2] - crop_px[0]) / side
    (x0, x1), (y0, y1) = (
        _within(start, length, cell, side) for start, length in zip(crop_px[:2], size_px, strict=True)
    )
    if (x0, y0, x1, y1) == (0, 0, side, side) or x0 >= x1 or y0 >= y1:
        return grid
    return cv2.copyMakeBorder(grid[y0:y1, x0:x1], y0, side - y1, x0, side - x1, cv2.BORDER_REPLICATE)


def _within(start: int, length: int, cell: float, side: int) -> tuple[int, int]:
    """Along one axis: the first cell that lies wholly in the picture, and the one after the last."""
    return max(0, math.ceil(-start / cell)), min(side, int((length - start) / cell))
