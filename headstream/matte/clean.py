"""One head is one piece: what a network sees elsewhere in the crop is not part of it."""

from __future__ import annotations

import cv2
import numpy as np

from headstream.types import Float32Array

_SOLID = 0.3  # alpha from which pixels hold together
_NEAR = 17  # cells around the head in which loose strands may lie


def largest_piece(alpha: Float32Array) -> Float32Array:
    """``alpha`` (S, S) with everything faded out that is not near its largest connected piece."""
    solid = (alpha > _SOLID).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    if count < 2:
        return alpha
    main = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    near = cv2.dilate((labels == main).astype(np.float32), np.ones((_NEAR, _NEAR), np.uint8))
    return alpha * cv2.blur(near, (5, 5))
