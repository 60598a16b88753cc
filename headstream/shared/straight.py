"""Crops of heads that lean, as the network is shown them, and their mattes as they lean again."""

from __future__ import annotations

from typing import Any

import cv2

from headstream.shared.colour import PAD
from headstream.shared.turned import quarters_of, turned
from headstream.types import Float32Array, UInt8Array


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


def _rotated(square: Any, counter_clockwise_deg: float, border: int) -> Any:
    side = square.shape[0]
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), counter_clockwise_deg, 1.0)
    return cv2.warpAffine(
        square, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(PAD, PAD, PAD)
    )
