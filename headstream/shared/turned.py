"""Quarter turns: of pictures that lie on their side or stand on their head, and of what was found in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstream.types import Box


def turned(picture: Any, turns: int) -> Any:
    """A picture (H, W) or (H, W, 3) turned clockwise by so many quarters, in an array of its own; itself for none."""
    return picture if turns % 4 == 0 else np.ascontiguousarray(np.rot90(picture, -turns))


def turned_points(points: Any, turns: int, size_px: tuple[int, int]) -> Any:
    """(N, 2) x, y in a picture of ``size_px`` -> where they are in the picture turned."""
    points, (width, height) = np.asarray(points), size_px
    for _ in range(turns % 4):
        points = np.stack([height - points[:, 1], points[:, 0]], axis=1)
        width, height = height, width
    return points


def turned_box(box: Box, turns: int, size_px: tuple[int, int]) -> Box:
    """x0, y0, x1, y1 in a picture of ``size_px`` -> where that is in the picture turned."""
    corners = turned_points([box[:2], box[2:]], turns, size_px)
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x0, y0, x1, y1


def quarters_of(roll_deg: int) -> tuple[int, int]:
    """The nearest quarter turns, and the degrees from there."""
    quarters = round(roll_deg / 90)
    return quarters, roll_deg - 90 * quarters
