"""Cut-outs made by hand: a disc for a head before a picture full of detail, at 25 frames a second."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from headstream.types import Cutout, Frame, Head, Region, UInt8Array

SIZE = (320, 240)


def scene(seed: int = 3, shift: float = 0.0) -> UInt8Array:
    """(240, 320, 3) uint8 full of detail, moved to the right by ``shift`` pixels. Another seed is another place."""
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.normal(0, 1, (SIZE[1], 2 * SIZE[0])).astype(np.float32), (0, 0), 4)
    wide = (wide - wide.min()) / np.ptp(wide) * 255
    matrix = np.array([[1, 0, shift - SIZE[0] / 2], [0, 1, 0]], np.float64)
    grey = cv2.warpAffine(wide, matrix, SIZE, flags=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    if seed != 3:
        grey = 255 - grey // 3
    return np.dstack([grey] * 3)


def head_at(x: float, y: float, radius: float, track_id: int = 1, unseen: int = 0, room: float = 1.4) -> Head:
    """A head whose matte is a disc; its crop is ``room`` times the disc."""
    half = 2 * round(radius * room / 2)
    cx, cy = 2 * round(x / 2), 2 * round(y / 2)
    crop = (cx - half, cy - half, cx + half, cy + half)
    box = (x - 0.6 * radius, y - 0.6 * radius, x + 0.6 * radius, y + 0.6 * radius)
    return Head(track_id, box, crop, np.zeros((6, 2), np.float32), 0.9, unseen)


def disc(x: float, y: float, radius: float) -> UInt8Array:
    """(240, 320) uint8 matte with an edge of one pixel."""
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    return (np.clip(radius - np.hypot(xs - x, ys - y) + 0.5, 0, 1) * 255).astype(np.uint8)


def frame_at(index: int, picture: UInt8Array | None = None) -> Frame:
    return Frame(scene() if picture is None else picture, index=index, pts=Fraction(index, 25))


def cutout_of(frame: Frame, alpha: UInt8Array | None, *heads: Head) -> Cutout:
    """A cut-out with the whole frame for its region; without a matte there is no head."""
    if alpha is None:
        return Cutout(frame)
    region: Region = (0, 0, *SIZE)
    return Cutout(frame, heads, region, alpha)


def plain(index: int, x: float = 160.0, radius: float = 50.0, picture: UInt8Array | None = None) -> Cutout:
    """One head in the middle, nothing to doubt."""
    return cutout_of(frame_at(index, picture), disc(x, 120, radius), head_at(x, 120, radius))
