"""Closed-form matting: alpha that is, in every 3x3 window, a linear function of the colours.

Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting", PAMI 2008, with a matte so far as a prior, by
conjugate gradients. Only windows that hold a pixel to be solved for are looked at.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.types import Float32Array, UInt8Array

# Variance of colours, 0..1 squared, under which a window counts as flat: steps of one. With less, the squares of JPEG,
# which are in most photos, count as edges, and show where dark hair lies before something dark.
_EPSILON = 1e-5
_MOST_STEPS = 300
_ENOUGH = 1e-3  # of what was wrong at first
_AT_ONCE = 1 << 15  # windows: in larger parts the processor's cache is no help


def closed_form(rgb: UInt8Array, alpha: Float32Array, open_px: Any, prior: float) -> Float32Array:
    """(h, w) float32, about 0..1: ``alpha`` where ``open_px`` is not set, and what is solved for where it is.

    rgb: (h, w, 3) uint8.  alpha: (h, w) float32, 0..1.  open_px: (h, w) bool.  prior: the weight of ``alpha`` in a pixel that
    is solved for, against that of its 9 windows.
    """
    solved = alpha.copy()
    pixels, windows = _windows(open_px)
    misfits = _misfits(rgb.reshape(-1, 3)[pixels], windows)
    free = open_px.ravel()[pixels].astype(np.float32)

    def laplacian(values: Float32Array) -> Float32Array:
        seen = values[windows]
        off = np.empty_like(seen)
        for first in range(0, len(windows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            np.einsum("wij,wj->wi", misfits[part], seen[part], out=off[part])
        return np.bincount(windows.ravel(), off.ravel(), len(pixels)).astype(np.float32)

    start = solved.ravel()[pixels]
    diagonal = np.bincount(windows.ravel(), np.einsum("wii->wi", misfits).ravel(), len(pixels)).astype(np.float32)
    # With alpha = start + x: (L + prior) x = -L start where open, and x = 0 elsewhere.
    found = np.zeros_like(start)
    rest = -free * laplacian(start)
    scale = 1 / (diagonal + np.float32(prior))
    step = scale * rest
    size = float(rest @ step)
    enough = size * _ENOUGH**2
    for _ in range(_MOST_STEPS):
        if size <= enough:
            break
        moved = free * laplacian(step) + np.float32(prior) * step
        length = np.float32(size / float(step @ moved))
        found += length * step
        rest -= length * moved
        way = scale * rest
        before, size = size, float(rest @ way)
        step = way + np.float32(size / before) * step
    solved.ravel()[pixels] += found
    return solved


def _windows(open_px: Any) -> tuple[Any, Any]:
    """The pixels of all windows that hold an open one, as (N,) places in the picture; the windows, (W, 9) places in those."""
    centres = cv2.dilate(open_px.astype(np.uint8), np.ones((3, 3), np.uint8))
    centres[[0, -1]] = 0
    centres[:, [0, -1]] = 0
    width = open_px.shape[1]
    around = (np.arange(-1, 2)[:, None] * width + np.arange(-1, 2)).ravel()
    places = np.flatnonzero(centres)[:, None] + around
    seen = np.zeros(open_px.size, bool)
    seen[places] = True
    number = np.cumsum(seen) - 1
    return np.flatnonzero(seen), number[places]


def _misfits(colours: UInt8Array, windows: Any) -> Float32Array:
    """(W, 9, 9): what of a window's alphas is no linear function of its colours. colours: (N, 3)."""
    misfits = np.empty((len(windows), 9, 9), np.float32)
    for first in range(0, len(windows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        own = colours[windows[part]] / 255.0
        own -= own.mean(axis=1, keepdims=True)
        turned = own.transpose(0, 2, 1)
        spread = np.linalg.inv((turned @ own + _EPSILON * np.eye(3)) / 9)
        misfits[part] = np.eye(9) - (1 + own @ spread @ turned) / 9
    return misfits
