"""Pictures of another shape than the first, which outputs cannot change to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from headstream.colour import planes_from_rgb
from headstream.types import Frame


def within(picture: Any, size_px: tuple[int, int]) -> Any:
    """A picture (H, W, 3) or (H, W) scaled to fit into ``size_px``, never stretched; black, or 0, is around it where its shape is
    another."""
    import cv2  # outputs and tests of theirs need it, sources hardly ever

    width, height = size_px
    scale = min(width / picture.shape[1], height / picture.shape[0])
    shown = (min(width, max(1, round(picture.shape[1] * scale))), min(height, max(1, round(picture.shape[0] * scale))))
    x, y = (width - shown[0]) // 2, (height - shown[1]) // 2
    whole = np.zeros((height, width, *picture.shape[2:]), picture.dtype)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    whole[y : y + shown[1], x : x + shown[0]] = cv2.resize(picture, shown, interpolation=interpolation)
    return whole


def fitted(frame: Frame, size_px: tuple[int, int]) -> Frame:
    """The same frame at the size of others, in its own colours."""
    if frame.size_px == size_px:
        return frame
    rgb, planes, alpha = within(frame.rgb, size_px), frame.planes, frame.alpha
    if planes is not None:
        own = None if planes.alpha is None else within(planes.alpha, size_px)
        turned = planes_from_rgb(rgb, planes.colour, bits=planes.bits, sub=(planes.sub_w, planes.sub_h))
        planes, rgb = replace(turned, alpha=own), None
    alpha = None if alpha is None else within(alpha, size_px)
    return Frame(rgb, planes=planes, alpha=alpha, index=frame.index, pts=frame.pts, duration_s=frame.duration_s)
