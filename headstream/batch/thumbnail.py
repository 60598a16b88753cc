"""Small pictures of results, for the report."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from headstream.shared.imagefile import image_bytes
from headstream.sinks.photo import on_checkerboard
from headstream.types import Cutout

_SIDE_PX = 96
_AFTER = 25  # frames: people settle


class Thumbnail:
    """A small picture of the first head in a video, or of who is there a second later. first: the number its frames begin
    with."""

    def __init__(self, first: int = 0) -> None:
        self.uri = ""
        self._settled = first + _AFTER

    def watch(self, cutout: Cutout) -> None:
        if cutout.heads and (not self.uri or cutout.frame.index == self._settled):
            self.uri = thumbnail(cutout)


def thumbnail(cutout: Cutout) -> str:
    """A small picture of the cut-out head as a data URI, or "" where nothing of it shows."""
    x0, y0, x1, y1 = cutout.region_px
    if x0 == x1 or y0 == y1:
        return ""
    rgba = cutout.rgba()[y0:y1, x0:x1]
    scale = _SIDE_PX / max(rgba.shape[:2])
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    rgb = on_checkerboard(np.ascontiguousarray(small), 8)
    return "data:image/jpeg;base64," + base64.b64encode(image_bytes(rgb, ".jpg", quality=75)).decode()
