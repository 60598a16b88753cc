"""Pictures in frames of another shape."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


def letterboxed(picture: Any, size_px: tuple[int, int], fill: int = 0, *, aspect: float = 1) -> Any:
    """A picture (H, W, 3) or (H, W) scaled to fit into ``size_px``, (width, height), never stretched; ``fill`` is around it where
    its shape is another. Itself where it has that size. aspect: width to height of its pixels, where those around are square."""
    width, height = size_px
    if picture.shape[:2] == (height, width) and aspect == 1:
        return picture
    scale = min(width / (picture.shape[1] * aspect), height / picture.shape[0])
    across, down = picture.shape[1] * aspect * scale, picture.shape[0] * scale
    shown = (min(width, max(1, round(across))), min(height, max(1, round(down))))
    x, y = (width - shown[0]) // 2, (height - shown[1]) // 2
    whole = np.full((height, width, *picture.shape[2:]), fill, picture.dtype)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    whole[y : y + shown[1], x : x + shown[0]] = cv2.resize(picture, shown, interpolation=interpolation)
    return whole
