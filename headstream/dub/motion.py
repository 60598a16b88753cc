"""How a face moved from one frame to the next, to a tenth of a pixel.

A face detector's points wander by pixels as the head leans and nears; the skin's own texture does not. Corners on the face
(Shi and Tomasi, "Good Features to Track", CVPR 1994) are followed by pyramidal Lucas-Kanade flow there and back
(Kalal et al., "Forward-Backward Error", ICPR 2010), and a similarity is fitted to them with RANSAC.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.shared.colour import to_8_bits
from headstream.track.boxes import centre
from headstream.types import Box, Float64Array, Frame, Region, UInt8Array

Motion = Float64Array  # (3, 3), frame pixels to frame pixels
_SIDE_PX = 480  # longest side of the pictures compared: a face at its own size, as smaller ones bias the flow
_REACH = 0.9  # half their side, in sides of the face box: a fast head must still be in it
_POINTS, _MIN_POINTS = 100, 8
_MAX_BACK_PX = 0.5
_MAX_ZOOM, _MAX_STRAY = 1.25, 0.25  # of what the detector saw, above which the fit is not believed


def face_motion(before: Frame, after: Frame, box: Box, box_after: Box) -> Motion:
    """(3, 3) similarity from ``before`` to ``after`` of the face in ``box``. Where its skin cannot be followed (blur, dark, a
    hand before it), what the detector's boxes say."""
    seen = _boxes_motion(box, box_after)
    region = _around(box, before.size_px)
    if region[2] - region[0] < 16 or region[3] - region[1] < 16:
        return seen
    followed = _followed(_luma(before, region), _luma(after, region), box, region)
    if followed is None:
        return seen
    middle = np.array([*centre(box), 1.0])
    stray = float(np.linalg.norm((followed @ middle - seen @ middle)[:2]))
    zoom = float(np.sqrt(abs(np.linalg.det(followed[:2, :2]))))
    if stray > _MAX_STRAY * (box[2] - box[0]) or not 1 / _MAX_ZOOM < zoom < _MAX_ZOOM:
        return seen
    return followed


def _boxes_motion(box: Box, after: Box) -> Motion:
    scale = (after[2] - after[0]) / max(1e-6, box[2] - box[0])
    motion = np.diag([scale, scale, 1.0])
    motion[:2, 2] = centre(after) - scale * centre(box)
    return motion


def _around(box: Box, size_px: tuple[int, int]) -> Region:
    half = _REACH * max(box[2] - box[0], box[3] - box[1])
    cx, cy = centre(box)
    return (
        max(0, int(cx - half)), max(0, int(cy - half)),
        min(size_px[0], int(cx + half) + 1), min(size_px[1], int(cy + half) + 1),
    )  # fmt: skip


def _luma(frame: Frame, region: Region) -> UInt8Array:
    x0, y0, x1, y1 = region
    if frame.planes is None:
        part: UInt8Array = cv2.cvtColor(np.ascontiguousarray(frame.rgb[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
    else:
        part = to_8_bits(frame.planes.y[y0:y1, x0:x1], frame.planes.bits)
    scale = min(1.0, _SIDE_PX / max(part.shape))
    size = (max(8, round(part.shape[1] * scale)), max(8, round(part.shape[0] * scale)))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)


def _followed(before: UInt8Array, after: UInt8Array, box: Box, region: Region) -> Motion | None:
    scale = np.array([before.shape[1] / (region[2] - region[0]), before.shape[0] / (region[3] - region[1])])
    corner = np.array(region[:2], float)
    mask = np.zeros_like(before)
    middle = (centre(box) - corner) * scale
    half = np.array([0.5 * (box[2] - box[0]), 0.6 * (box[3] - box[1])]) * scale
    cv2.ellipse(mask, (round(middle[0]), round(middle[1])), (round(half[0]), round(half[1])), 0, 0, 360, 255, -1)
    corners = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, 4, mask=mask)
    if corners is None or len(corners) < _MIN_POINTS:
        return None
    there, found = _flow(before, after, corners)
    back, again = _flow(after, before, there)
    good = (found.ravel() > 0) & (again.ravel() > 0) & (np.linalg.norm((back - corners)[:, 0], axis=1) < _MAX_BACK_PX)
    if int(good.sum()) < _MIN_POINTS:
        return None
    old, new = ((points[good, 0] + 0.5) / scale + corner for points in (corners, there))
    reach = float(1 / scale.max())  # one pixel of the pictures compared
    fitted, inliers = cv2.estimateAffinePartial2D(old, new, method=cv2.RANSAC, ransacReprojThreshold=reach)
    if fitted is None or int(inliers.sum()) < _MIN_POINTS:
        return None
    return np.vstack([fitted, [0.0, 0.0, 1.0]])


def _flow(before: UInt8Array, after: UInt8Array, points: Any) -> tuple[Any, Any]:
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, None, winSize=(15, 15), maxLevel=3, criteria=(3, 20, 0.01)
    )
    return there, found
