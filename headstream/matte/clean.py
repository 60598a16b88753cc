"""One head is one piece: what a network sees elsewhere in the crop is not part of it."""

from __future__ import annotations

import cv2
import numpy as np

from headstream.types import Float32Array

_SOLID = 0.3  # alpha from which pixels hold together
_WHOLE = 0.95  # alpha under which a cell within the head is part of a hole
_DEEP = 0.07  # of the head's size: how far in from its outline nothing can be seen through
_NEAR = 17  # cells around the head in which loose strands may lie


def largest_piece(alpha: Float32Array) -> Float32Array:
    """``alpha`` (S, S) with everything faded out that is not near its largest connected piece."""
    solid = (alpha > _SOLID).astype(np.uint8)
    count, labels = cv2.connectedComponents(solid, connectivity=8)  # with their sizes, it takes four times as long
    if count < 2:
        return alpha
    if count > 2:
        main = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        solid = (labels == main).astype(np.uint8)
    near = cv2.dilate(solid, np.ones((_NEAR, _NEAR), np.uint8)).astype(np.float32)
    return alpha * cv2.blur(near, (5, 5))


def without_holes(alpha: Float32Array) -> Float32Array:
    """``alpha`` (S, S) of a whole head with holes deep in it filled: a network that wavers over a cheek must not show what is
    behind it. Gaps near the outline, behind an earring or between strands, stay."""
    height, width = alpha.shape
    # Half the grid is enough for holes that one can see, and a quarter of the work.
    low = cv2.compare(cv2.resize(alpha, (width // 2, height // 2), interpolation=cv2.INTER_AREA), _WHOLE, cv2.CMP_LT)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(low, connectivity=4)
    if count <= 2:  # the head, and what is around it
        return alpha
    outside = np.zeros(count, bool)  # what is around the head may be in several pieces
    outside[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    outside[0] = False
    inside = (~outside[labels]).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    deep = _DEEP * float(np.count_nonzero(inside)) ** 0.5
    holes = np.zeros_like(low)
    for label in range(1, count):
        x, y, w, h = stats[label, :4]
        here = labels[y : y + h, x : x + w] == label
        if not outside[label] and depth[y : y + h, x : x + w][here].min() > deep:
            holes[y : y + h, x : x + w][here] = 255
    if not holes.any():
        return alpha
    holes = cv2.resize(cv2.dilate(holes, np.ones((3, 3), np.uint8)), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(holes > 0, np.float32(1), alpha)
