"""What a person looks like in a few numbers, to tell two people apart after they crossed or were away."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.types import Float32Array, UInt8Array

SIDE_PX = 64  # of the crop a description is made from


def describe(crop: UInt8Array) -> Float32Array:
    """Colour histograms of a head crop, (64, 64, 3) uint8: of the hair and face in its middle, and of what is below."""
    hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV)
    s = crop.shape[0]
    hair, face = hsv[s // 8 : s // 3, s // 4 : -s // 4], hsv[s // 3 : 2 * s // 3, s // 3 : -s // 3]
    body = hsv[3 * s // 4 :, s // 5 : -s // 5]
    return np.concatenate([_histogram(zone) for zone in (hair, face, body)])


def _histogram(hsv: UInt8Array) -> Float32Array:
    zone = np.ascontiguousarray(hsv)
    colours = cv2.calcHist([zone], [0, 1], None, [12, 4], [0, 180, 0, 256]).ravel()
    lights = cv2.calcHist([zone], [2], None, [8], [0, 256]).ravel()
    both: Any = np.concatenate([colours, lights])
    return (both / (both.sum() + 1e-6)).astype(np.float32)


def likeness(a: Float32Array, b: Float32Array) -> float:
    """Bhattacharyya coefficient of two descriptions: 0 (nothing in common) to 1 (the same)."""
    return float(np.sqrt(a * b).sum() / 3)
