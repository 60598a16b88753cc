"""Guided upsampling: the matte follows the picture's own edges at full resolution.

He and Sun, "Fast Guided Filter", arXiv:1505.00996: in every window alpha is taken as a linear function of the picture,
alpha = a Y + b; a and b are found on a small grid, smoothed, and applied to the full-size picture. The two coefficients
are brought up instead of alpha, so a hair thinner than a grid cell is still as sharp as it was filmed.
"""

from __future__ import annotations

import cv2
import numpy as np

from headstream.types import Float32Array


def guide_coefficients(
    alpha: Float32Array, luma: Float32Array, *, radius: int = 2, epsilon: float = 2e-3
) -> tuple[Float32Array, Float32Array]:
    """The (S, S) coefficients a and b with alpha ~ a luma + b in each window of 2 ``radius`` + 1.

    luma: (S, S) float32, 0..1.  epsilon: variance of luma under which a window counts as flat (0..1 squared).
    """
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(x: Float32Array) -> Float32Array:
        return cv2.blur(x, window, borderType=cv2.BORDER_REPLICATE)

    mean_y, mean_alpha = mean(luma), mean(alpha)
    covariance = mean(luma * alpha) - mean_y * mean_alpha
    variance = mean(luma * luma) - mean_y * mean_y
    a = covariance / (variance + np.float32(epsilon))
    b = mean_alpha - a * mean_y
    return mean(a), mean(b)


def levels(alpha: Float32Array, low: float, high: float) -> Float32Array:
    """``alpha`` stretched in place so that ``low`` becomes 0 and ``high`` 1, clipped."""
    np.subtract(alpha, low, out=alpha)
    np.multiply(alpha, 1 / (high - low), out=alpha)
    return np.clip(alpha, 0, 1, out=alpha)
