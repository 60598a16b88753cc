"""A training picture: its pixels, and for each plane (head, hair, body and others) what is true and where that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from headstream.types import Box, UInt8Array

BASE_PLANES = ("head", "hair", "body")
HEAD, HAIR, BODY = range(3)
# The 18 parts of CelebAMask-HQ, in the order of its flat label maps, from 1 on.
CELEBA_PARTS = (
    "skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear", "right_ear",
    "mouth", "upper_lip", "lower_lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
# What each plane is made of, as numbers of the flat label maps.
PLANE_CLASSES: dict[str, tuple[int, ...]] = {part: (k,) for k, part in enumerate(CELEBA_PARTS, 1)} | {
    "head": tuple(range(1, 16)),
    "body": (16, 17, 18),
    "face": (1, 2, 3, 4, 5, 6, 7, 10, 11, 12),
}
TARGETS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "hair": ("hair",),
    "face": ("face",),
    "parts": CELEBA_PARTS,
}
LARGEST_SIDE_PX = 640  # of a picture to learn from: over twice the side of a network input


@dataclass(frozen=True)
class Picture:
    """A training picture.

    rgb: (H, W, 3) uint8.  target: (H, W, P) uint8, alpha 0..255 of each plane; the first three are head, hair and body.
    known: (H, W, P) uint8, 255 where that truth is known, else 0.
    person: (H, W) uint8 alpha of head and body together if it can be cut out, else None.
    face_px: face box x0, y0, x1, y1, or None where no face was found.
    """

    rgb: UInt8Array
    target: UInt8Array
    known: UInt8Array
    person: UInt8Array | None
    face_px: Box | None


def finished(rgb: UInt8Array, target: UInt8Array, known: UInt8Array, face: Box | None) -> Picture:
    """A ``Picture``, with the person's cut-out where head and body are known everywhere."""
    person = None
    if known[..., HEAD].min() > 0 and known[..., BODY].min() > 0:
        # Sharpened: where a teacher was unsure, half a background would come along.
        person = cv2.max(np.ascontiguousarray(target[..., HEAD]), np.ascontiguousarray(target[..., BODY]))
        person = cv2.convertScaleAbs(cv2.subtract(person, 64), alpha=2.0)
    return Picture(rgb, target, known, person, face)


def by_planes(image: UInt8Array, change: Callable[[UInt8Array], UInt8Array]) -> UInt8Array:
    """``change`` applied to an (H, W, P) picture four planes at a time, which is as many as OpenCV moves at once."""
    if image.ndim == 2 or image.shape[2] <= 4:
        return change(image)
    parts = [change(np.ascontiguousarray(image[..., k : k + 4])) for k in range(0, image.shape[2], 4)]
    return np.dstack(parts)


def bounded(picture: Picture, side: int | None) -> Picture:
    """The picture with a longer side of at most ``side``; None is no limit."""
    scale = 1.0 if side is None else side / max(picture.rgb.shape[:2])
    if scale >= 1:
        return picture

    def small(x: UInt8Array) -> UInt8Array:
        return by_planes(x, lambda part: cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))

    known = np.where(small(picture.known) == 255, 255, 0).astype(np.uint8)
    person = None if picture.person is None else small(picture.person)
    face = None
    if picture.face_px is not None:
        x0, y0, x1, y1 = (v * scale for v in picture.face_px)
        face = (x0, y0, x1, y1)
    return Picture(small(picture.rgb), small(picture.target), known, person, face)
