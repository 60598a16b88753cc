"""Foreground colour: the background's light taken out of the soft edge, nothing else touched.

Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion): with F and B blurred from either side
of the matte, the pixel's own colour C is corrected to F + alpha (C - alpha F - (1 - alpha) B). What is computed here,
on the small grid, is only the difference to C: smooth, so it can be brought up and added to the full-size planes.
"""

from __future__ import annotations

import cv2
import numpy as np

from headstream.types import Float32Array, UInt8Array

_RADIUS = 4  # of the halved grid
_TINY = 1e-4
# Alpha from which less is corrected, and nothing: before pixels count as solid, so that no step shows.
_MIXED, _OWN = 0.75, 0.87


def spill_correction(rgb: UInt8Array, alpha: Float32Array) -> Float32Array:
    """(S/2, S/2, 3) float32 to add to a picture's R'G'B' (0..255) so that its soft edge shows no background.

    rgb: (S, S, 3) uint8.  alpha: (S, S) float32, 0..1. Zero where alpha is nearly 1. Half the grid is enough for anything as
    smooth as this, and a quarter of the work.
    """
    half = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    window = (2 * _RADIUS + 1, 2 * _RADIUS + 1)
    colour = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA)
    # Alpha thrice, as NumPy is many times slower at spreading one value over three.
    a, share = cv2.merge([alpha] * 3), cv2.merge([cv2.blur(alpha, window)] * 3)
    lit_mean = cv2.blur(colour * a, window)
    front = lit_mean / (share + _TINY)
    back = (cv2.blur(colour, window) - lit_mean) / (1 - share + _TINY)
    corrected = front + a * (colour - a * front - (1 - a) * back)
    correction: Float32Array = np.clip(corrected, 0, 255) - colour
    correction *= np.clip((_OWN - a) / (_OWN - _MIXED), 0, 1) * (a > 0.02)
    return correction
