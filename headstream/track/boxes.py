"""Boxes of faces, and the squares that are cut around them: arithmetic, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstream.types import Box, Region

# A head is about half as high again as its face box.
_HEAD_FROM_FACE_HEIGHT = 1.5
_FULL_BODY_SHARE = 0.25
_TOP_SHARE = 0.65


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (both - w * h)


def centre(box: Box) -> Any:
    """Middle of a box: (2,) float64."""
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def height_of(box: Box) -> float:
    """Rows it covers."""
    return box[3] - box[1]


def is_far(face_height: float, height: int) -> bool:
    """Whether a face this high belongs to a head under a quarter of the picture's height: a full body, most often."""
    return face_height * _HEAD_FROM_FACE_HEIGHT < _FULL_BODY_SHARE * height


def top_part(height: int) -> int:
    """Rows of the upper part in which a standing person's head is searched again."""
    return round(_TOP_SHARE * height)


def even(value: float) -> int:
    """``value`` rounded to a multiple of 2, where chroma samples lie."""
    return 2 * round(value / 2)


def crop_square(box: Box, padding: float = 2.4) -> Region:
    """The square cut around a face box: its side is ``padding`` times the longer side of the box, its corners even.

    2.4 is 120 % of the face beyond it, on all sides together: room for hair, a hat and a turn of the head.
    """
    x0, y0, x1, y1 = box
    side = max(2, even(padding * max(x1 - x0, y1 - y0)))
    left, top = even((x0 + x1 - side) / 2), even((y0 + y1 - side) / 2)
    return left, top, left + side, top + side
