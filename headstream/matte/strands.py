"""Hair strand by strand, in photos: alpha along the hair's edge, solved on the photo's own pixels.

Closed-form matting (matte/closedform.py) with the matte so far as a prior: alpha follows strands that no grid of a network
shows, and where colours tell nothing, what the network said stays. Colours of what is half seen: Forte, "Approximate Fast
Foreground Colour Estimation", ICIP 2021.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.matte.closedform import closed_form
from headstream.matte.grid import brought_up, over_region
from headstream.matte.guided import guide_coefficients
from headstream.matte.refine import Layer
from headstream.shared.colour import LUMA
from headstream.shared.regions import index_in
from headstream.types import Float32Array, Frame, Region, UInt8Array

_REACH = 0.03  # of the face: how far in and out from the edge alpha is solved for
_PRIOR = 0.01  # weight of the matte so far in a pixel, of a face of ``_PRIOR_FACE_PX``
_PRIOR_FACE_PX = 320
_WINDOWS = (0.3, 0.02)  # of the face: how far around colours are taken from, first and then
_LARGEST_FACE_PX = 640  # larger ones are solved smaller and brought up: time and memory grow with the square
_LOW, _HIGH = 0.1, 0.88  # what is solved for alpha that becomes 0 and 1: of what hardly shows, a haze is left
_STRIP = 256  # rows at a time: photos are large
_SURE, _GONE = 242, 13  # alpha of what is wholly head, and none


def with_strands(layer: Layer, hair: Float32Array, crop_px: Region, frame: Frame, face_px: float) -> Layer:
    """A head's layer with its hair's edge solved anew. hair: (S, S) float32, 0..1, over ``crop_px`` of ``frame``, which is RGB
    and opaque. face_px: the longer side of the face box."""
    reach = _REACH * face_px
    region = _grown(layer.region_px, int(2 * reach) + 8, frame.size_px)
    x0, y0, x1, y1 = region
    rgb = frame.rgb[y0:y1, x0:x1]
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[index_in(layer.region_px, region)] = layer.alpha
    zoom = min(1.0, _LARGEST_FACE_PX / face_px)
    small_rgb, small, small_hair = (_zoomed(plane, zoom) for plane in (rgb, alpha, over_region(hair, crop_px, region)))
    open_px = _unknown(small, small_hair, max(2, round(reach * zoom)))
    if not open_px.any():
        return layer
    solved = _solved(small_rgb, small, open_px, _PRIOR * (_PRIOR_FACE_PX / (face_px * zoom)) ** 2)
    # Brought up are, instead of alpha, linear functions of the picture: they follow what only the larger one shows.
    slope, level = _linear(solved, small_rgb) if zoom < 1 else (np.zeros_like(solved), solved)
    fields = (open_px.astype(np.float32), slope, level, *_sides(small_rgb, solved, face_px * zoom))
    colours = rgb.copy()
    if isinstance(layer.foreground, np.ndarray):
        colours[index_in(layer.region_px, region)] = layer.foreground
    for top in range(0, y1 - y0, _STRIP):
        rows = slice(top, min(top + _STRIP, y1 - y0))
        opened, *there = (_raised(field, rows, alpha.shape) for field in fields)
        where = opened > 0.5
        alpha[rows][where], colours[rows][where] = _mixed(rgb[rows][where], *(field[where] for field in there))
    return Layer(region, alpha, colours)


def _mixed(
    rgb: UInt8Array, slope: Float32Array, level: Float32Array, hair: Float32Array, behind: Float32Array
) -> tuple[UInt8Array, UInt8Array]:
    """Of pixels in a row: (N,) alpha, and (N, 3) the colours that make, with what is behind, those of the picture."""
    own = rgb.astype(np.float32)
    seen = np.clip(slope * _luma(own) + level, 0, 1)
    share = seen[:, None]
    own = hair + share * (own - share * hair - (1 - share) * behind)
    return np.rint(255 * seen).astype(np.uint8), np.rint(np.clip(own, 0, 255)).astype(np.uint8)


def _grown(region: Region, by: int, size_px: tuple[int, int]) -> Region:
    x0, y0, x1, y1 = region
    return (max(0, x0 - by), max(0, y0 - by), min(size_px[0], x1 + by), min(size_px[1], y1 + by))


def _zoomed(plane: Any, zoom: float) -> Any:
    return plane if zoom == 1 else cv2.resize(plane, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)


def _unknown(alpha: UInt8Array, hair: Float32Array, reach: int) -> Any:
    """(h, w) bool: what lies within ``reach`` of the matte's edge, where that is the edge of hair."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    within = cv2.erode((alpha >= _SURE).astype(np.uint8), disc)
    beyond = cv2.erode((alpha < _GONE).astype(np.uint8), disc)
    inner = cv2.erode((alpha > 127).astype(np.uint8), np.ones((5, 5), np.uint8))
    if not inner.any():
        return np.zeros(alpha.shape, bool)
    _, nearest = cv2.distanceTransformWithLabels(1 - inner, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    is_hair = np.zeros(int(nearest.max()) + 1, bool)
    is_hair[nearest[inner > 0]] = hair[inner > 0] > 0.5
    return (within == 0) & (beyond == 0) & is_hair[nearest]


def _solved(rgb: UInt8Array, alpha: UInt8Array, open_px: Any, prior: float) -> Float32Array:
    """(h, w) float32, 0..1: the matte, solved anew where ``open_px``."""
    rows, columns = np.flatnonzero(open_px.any(axis=1)), np.flatnonzero(open_px.any(axis=0))
    box = slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)
    solved: Float32Array = alpha.astype(np.float32) / np.float32(255)
    found = (closed_form(rgb[box], solved[box], open_px[box], prior) - _LOW) / (_HIGH - _LOW)
    np.copyto(solved[box], np.clip(found, 0, 1), where=open_px[box])
    return solved


def _linear(solved: Float32Array, rgb: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Alpha as a linear function of luma, 0..1, in each pixel."""
    return guide_coefficients(solved, _luma(rgb.astype(np.float32)), radius=1, epsilon=1e-4)


def _luma(rgb: Float32Array) -> Float32Array:
    luma: Float32Array = rgb @ LUMA
    return luma / np.float32(255)


def _sides(rgb: UInt8Array, alpha: Float32Array, face_px: float) -> tuple[Float32Array, Float32Array]:
    """(h, w, 3) float32 each: the colours around each pixel of what is cut, and of what is behind it."""
    picture = rgb.astype(np.float32)
    seen = alpha[..., None]
    own = behind = hair = picture
    for window in _WINDOWS:
        size = (2 * int(window * face_px) + 1,) * 2
        share = cv2.blur(alpha, size)[..., None]
        hair = cv2.blur(own * seen, size) / (share + 1e-5)
        behind = cv2.blur(behind * (1 - seen), size) / (1 - share + 1e-5)
        own = np.clip(hair + seen * (picture - seen * hair - (1 - seen) * behind), 0, 255)
    return hair, behind


def _raised(field: Float32Array, rows: slice, shape: tuple[int, ...]) -> Float32Array:
    """Rows of a field at the size of a picture of ``shape``, bilinear."""
    down, across = field.shape[0] / shape[0], field.shape[1] / shape[1]
    from_pixel = np.array([[across, 0, across / 2 - 0.5], [0, down, (rows.start + 0.5) * down - 0.5]])
    return brought_up(field, from_pixel, (shape[1], rows.stop - rows.start), border=cv2.BORDER_REPLICATE)
