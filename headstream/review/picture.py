"""Small pictures of a cut-out for people to judge by: the whole frame and the head from near, the matte's outline drawn."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.shared.colour import crop_resized, whole_resized
from headstream.shared.imagefile import image_bytes
from headstream.shared.tone import as_shown
from headstream.types import Cutout, Frame, Region, UInt8Array

_WHOLE_PX = (480, 320)  # the whole frame fits into this
_NEAR_PX = 320
_QUALITY = 80
_LINE, _HALO = (255, 221, 0), (20, 20, 20)  # R'G'B': seen on skin, hair, white and black alike


def pictures_of(cutout: Cutout, near_px: Region | None) -> tuple[bytes, bytes | None]:
    """JPEGs of the whole frame and, where ``near_px`` says where, of that square."""
    outlines = _outlines(cutout)
    whole, scale = _shrunk(cutout.frame)
    _draw(whole, outlines, scale, (0, 0))
    shown = image_bytes(whole, ".jpg", quality=_QUALITY)
    if near_px is None:
        return shown, None
    x0, y0, x1, _ = near_px
    frame = cutout.frame
    near = as_shown(crop_resized(frame.picture, near_px, _NEAR_PX), frame.picture)
    near = np.ascontiguousarray(near)
    _draw(near, outlines, _NEAR_PX / (x1 - x0), (x0, y0))
    return shown, image_bytes(near, ".jpg", quality=_QUALITY)


def _shrunk(frame: Frame) -> tuple[UInt8Array, float]:
    """(h, w, 3) uint8 that fits, and its scale."""
    width, height = frame.size_px
    scale = min(_WHOLE_PX[0] / width, _WHOLE_PX[1] / height, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return as_shown(whole_resized(frame.picture, size), frame.picture), scale


def _outlines(cutout: Cutout) -> list[Any]:
    """Where alpha passes one half: points in frame pixels."""
    if not cutout.region_alpha.size:
        return []
    x0, y0, _, _ = cutout.region_px
    solid = (cutout.region_alpha >= 128).astype(np.uint8)
    found, _ = cv2.findContours(solid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0))
    return list(found)


def _draw(picture: UInt8Array, outlines: list[Any], scale: float, corner: tuple[int, int]) -> None:
    points = [np.round((line + 0.5 - np.array(corner)) * scale * 16 - 8).astype(np.int32) for line in outlines]
    for colour, thick in ((_HALO, 3), (_LINE, 1)):
        cv2.polylines(picture, points, True, colour, thick, cv2.LINE_AA, shift=4)
