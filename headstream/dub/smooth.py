"""Smoothing with the future in view: a film's track without lag and without jitter.

Each value is the middle of a parabola fitted to its neighbours in time, near ones counting more (local regression with a
Gaussian kernel: Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots", JASA 1979). Even in time, it has no
lag; a parabola follows turns that a mean would cut short. Shots are smoothed on their own.
"""

from __future__ import annotations

import numpy as np

from headstream.types import Float64Array


def smoothed(
    times_s: Float64Array, values: Float64Array, weights: Float64Array, at: int, width_s: float
) -> Float64Array:
    """The smoothed value at index ``at``: (D,). times_s: (N,), rising.  values: (N, D).  weights: (N,), how much each is
    believed.  width_s: standard deviation of the kernel, seconds."""
    distance = (times_s - times_s[at]) / width_s
    kernel = np.exp(-0.5 * distance**2) * weights
    used = kernel > 1e-4
    if used.sum() < 4:
        mean: Float64Array = np.average(values[used], axis=0, weights=kernel[used]) if used.any() else values[at]
        return mean
    x, w, y = distance[used], kernel[used], values[used]
    # Weighted least squares for y = a + b x + c x^2; a is the value at x = 0. A touch of ridge on b and c keeps one-sided
    # neighbourhoods (the ends of a shot) from swinging.
    basis = np.stack([np.ones_like(x), x, x * x], axis=1)
    normal = basis.T @ (w[:, None] * basis) + np.diag([0.0, 1e-3, 1e-2]) * w.sum()
    solved: Float64Array = np.linalg.solve(normal, basis.T @ (w[:, None] * y))
    return solved[0]
