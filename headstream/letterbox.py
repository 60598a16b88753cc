"""Pictures in frames of another shape."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


def letterboxed(picture: Any, size_px: tuple[int, int], fill: int = 0) -> Any:
    """A picture (H, W, 3) or (H, W) scaled to fit into ``size_px``, (width, height), never stretched; ``fill`` is around it where
    its shape is another. Itself where it has that size."""
    width, height = size_px
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    shown = (min(width, max(1, round(picture.shape[1] * scale))), min(height, max(1, round(picture.shape[0] * scale))))
    x, y = (width - shown[0]) // 2, (height - shown[1]) // 2
    whole = np.full((height, width, *picture.shape[2:]), fill, picture.dtype)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    whole[y : y + shown[1], x : x + shown[0]] = cv2.resize(picture, shown, interpolation=interpolation)
    return whole
