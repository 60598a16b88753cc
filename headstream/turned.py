"""Turns: of pictures that lie on their side or stand on their head, of heads that lean, and of what was found in them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.colour import PAD
from headstream.types import Box, Float32Array, UInt8Array


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


def straightened(crop: UInt8Array, roll_deg: int) -> UInt8Array:
    """A square picture (S, S, 3) of a head that leans clockwise by so many degrees, turned so that it stands upright; grey in
    the corners where there was nothing. Quarters cost nothing of it."""
    quarters, lean = quarters_of(roll_deg)
    crop = turned(crop, -quarters)
    return crop if lean == 0 else _rotated(crop, lean, cv2.BORDER_CONSTANT)


def leaning(alpha: Float32Array, roll_deg: int) -> Float32Array:
    """The other way round: a matte (S, S) of a head that was turned upright, as the head leans. What reached the border goes
    on in the corners that the network did not see."""
    quarters, lean = quarters_of(roll_deg)
    if lean:
        alpha = _rotated(alpha, -lean, cv2.BORDER_REPLICATE)
    return turned(alpha, quarters)


def quarters_of(roll_deg: int) -> tuple[int, int]:
    """The nearest quarter turns, and the degrees from there."""
    quarters = round(roll_deg / 90)
    return quarters, roll_deg - 90 * quarters


def _rotated(square: Any, counter_clockwise_deg: float, border: int) -> Any:
    side = square.shape[0]
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), counter_clockwise_deg, 1.0)
    return cv2.warpAffine(
        square, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(PAD, PAD, PAD)
    )
