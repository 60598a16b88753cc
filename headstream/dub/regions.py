"""Which part of a head a clip goes back to."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from headstream.dub.trackfile import TrackedHead
from headstream.shared.regions import even_region
from headstream.types import Float32Array, Region, UInt8Array

HeadRegion = Literal["head", "face", "mouth"]
HEAD_REGIONS: tuple[HeadRegion, ...] = ("head", "face", "mouth")


def region_mask(
    head: TrackedHead, part: HeadRegion, region: Region, matte: UInt8Array, feather_px: float
) -> Float32Array:
    """(h, w) float32 over ``region``, 0..1. matte: (h, w) uint8, the head's own there; nothing reaches past it.

    "head": all of the matte.  "face": an ellipse around the face box.  "mouth": from under the nose to the chin, jaw
    included. feather_px: over how many pixels the border fades, inwards.
    """
    mask: Float32Array = matte.astype(np.float32) * np.float32(1 / 255)
    if feather_px > 0:
        inside = cv2.copyMakeBorder((matte > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
        mask *= np.minimum(depth, feather_px) / np.float32(feather_px)
    if part != "head":
        mask *= _ellipse(head, part, region, feather_px)
    return mask


def _ellipse(head: TrackedHead, part: HeadRegion, region: Region, feather_px: float) -> Float32Array:
    x0, y0, x1, y1 = head.box
    face = max(x1 - x0, y1 - y0)
    if part == "face":
        centre, half = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), (0.56 * (x1 - x0), 0.66 * (y1 - y0))
    else:
        angle = np.radians(head.roll_deg)
        down = np.array([-np.sin(angle), np.cos(angle)])
        eyes = max(float(np.linalg.norm(head.landmarks[1] - head.landmarks[0])), 0.36 * face)
        centre, half = head.landmarks[3] + 0.18 * eyes * down, (0.95 * eyes, 0.78 * eyes)
    drawn = np.zeros((region[3] - region[1], region[2] - region[0]), np.uint8)
    place = (centre - (region[0], region[1]), (2 * half[0], 2 * half[1]), head.roll_deg)
    cv2.ellipse(drawn, ((float(place[0][0]), float(place[0][1])), place[1], place[2]), 255, -1)
    soft = cv2.GaussianBlur(drawn, (0, 0), max(0.6, feather_px / 2))
    return soft.astype(np.float32) / 255


def tightened(region: Region, mask: Float32Array) -> tuple[Region, Float32Array]:
    """The part of a region, corners still even, outside of which its mask is 0."""
    x, y, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    if width == 0:
        return (0, 0, 0, 0), mask[:0, :0]
    x0, y0, x1, y1 = even_region((x, y, x + width, y + height), (mask.shape[1], mask.shape[0]))
    return (region[0] + x0, region[1] + y0, region[0] + x1, region[1] + y1), mask[y0:y1, x0:x1]
