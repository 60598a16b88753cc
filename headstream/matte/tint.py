"""Hair in another colour: the shading of the hair stays, its colour becomes the one asked for.

What is computed, on the small grid, is only the difference to the picture: it is smooth wherever the colour is, so that it can
be brought up and added to the full-size planes, whose strands keep their own light and shade.
"""

from __future__ import annotations

import cv2
import numpy as np

from headstream.shared.colour import LUMA
from headstream.types import Float32Array, UInt8Array

Rgb = tuple[int, int, int]

_LIFT = 0.55  # of the way from the hair's own brightness to the colour's: black hair must become lighter to show any
_STRENGTH = 0.92  # the rest of its own colour is left, as dye leaves it


def hair_luma(rgb: UInt8Array, hair: Float32Array) -> float | None:
    """Mean luma, 0..255, of what is surely hair; None if there is next to none. rgb: (S, S, 3); hair: (S, S), 0..1."""
    sure = hair > 0.6
    if sure.sum() < 30:
        return None
    return float((rgb[sure].astype(np.float32) @ LUMA).mean())


def hair_share(hair: Float32Array, alpha: Float32Array) -> Float32Array:
    """(S, S) float32, 0..1: how much of what is seen of the head is hair. hair, alpha: (S, S), 0..1.

    In the soft edge both are small: there, it is what it is around.
    """
    window = (9, 9)
    around = cv2.blur(hair, window) / (cv2.blur(alpha, window) + np.float32(1e-3))
    share: Float32Array = hair + (1 - alpha) * np.maximum(np.clip(around * 1.15, 0, 1) - hair, 0)
    return share


def tint_correction(rgb: Float32Array, hair: Float32Array, colour: Rgb, luma: float) -> Float32Array:
    """(S, S, 3) float32 to add to R'G'B' (0..255) so that hair has another colour.

    rgb: (S, S, 3) float32.  hair: (S, S) float32, 0..1.  luma: the hair's own, as of ``hair_luma``.
    """
    target = np.array(colour, np.float32)
    bright = max(float(target @ LUMA), 1.0)
    shade = cv2.transform(rgb, LUMA[None]) + np.float32(_LIFT * (bright - luma))
    np.clip(shade, 0, 255, out=shade)
    dark = np.minimum(shade / bright, 1)[..., None] * target
    light = (np.maximum(shade - bright, 0) / max(255 - bright, 1.0))[..., None] * (255 - target)
    weight = np.clip(_STRENGTH * hair, 0, 1)[..., None]
    correction: Float32Array = weight * (dark + light - rgb)
    return correction
