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
from headstream.matte.grid import over_region
from headstream.matte.guided import guide_coefficients
from headstream.matte.refine import Layer, own_colours, put_colours, within_own_alpha
from headstream.regions import index_in, seen_from
from headstream.types import Float32Array, Frame, Region, UInt8Array

_REACH = 0.03  # of the face: how far in and out from the edge alpha is solved for
_PRIOR = 0.01  # weight of the matte so far in a pixel, of a face of ``_PRIOR_FACE_PX``
_PRIOR_FACE_PX = 320
_WINDOWS = (0.3, 0.02)  # of the face: how far around colours are taken from, first and then
_LARGEST_FACE_PX = 640  # larger ones are solved smaller and brought up: time and memory grow with the square
_LOW, _HIGH = 0.1, 0.88  # what is solved for alpha that becomes 0 and 1: of what hardly shows, a haze is left
_SURE, _GONE = 242, 13  # alpha of what is wholly head, and none


def with_strands(layer: Layer, hair: Float32Array, crop_px: Region, frame: Frame, face_px: float) -> Layer:
    """A head's layer with its hair's edge solved anew. hair: (S, S) float32, 0..1, over ``crop_px`` of ``frame``, which is RGB.
    face_px: the longer side of the face box."""
    reach = _REACH * face_px
    region = _grown(layer.region_px, int(2 * reach) + 8, frame.size_px)
    x0, y0, x1, y1 = region
    rgb = frame.rgb[y0:y1, x0:x1]
    before = np.zeros(rgb.shape[:2], np.uint8)
    before[index_in(layer.region_px, region)] = layer.alpha
    zoom = min(1.0, _LARGEST_FACE_PX / face_px)
    small_rgb, small, small_hair = (_zoomed(plane, zoom) for plane in (rgb, before, over_region(hair, crop_px, region)))
    open_px = _unknown(small, small_hair, max(2, round(reach * zoom)))
    if not open_px.any():
        return layer
    solved = _solved(small_rgb, small, open_px, _PRIOR * (_PRIOR_FACE_PX / (face_px * zoom)) ** 2)
    alpha = before.copy()
    if zoom < 1:
        solved = _brought_up(solved, small_rgb, rgb)
        open_px = cv2.resize(open_px.astype(np.uint8), alpha.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    np.copyto(alpha, np.rint(255 * solved).astype(np.uint8), where=open_px)
    colours = own_colours(frame, region)
    if layer.foreground is not None:
        whole = np.ones(layer.alpha.shape, bool)
        put_colours(colours, layer.foreground, seen_from(layer.region_px, region), whole)
    put_colours(colours, _own(rgb, alpha, face_px), (0, 0, x1 - x0, y1 - y0), open_px & (alpha < 255))
    return Layer(region, within_own_alpha(alpha, frame, region), colours)


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


def _brought_up(solved: Float32Array, small_rgb: UInt8Array, rgb: UInt8Array) -> Float32Array:
    """What was solved on a smaller picture at the size of ``rgb``, by the same linear functions."""
    small_luma, luma = (
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 for picture in (small_rgb, rgb)
    )
    a, b = (
        cv2.resize(plane, luma.shape[::-1]) for plane in guide_coefficients(solved, small_luma, radius=1, epsilon=1e-4)
    )
    return np.clip(a * luma + b, 0, 1)


def _own(rgb: UInt8Array, alpha: UInt8Array, face_px: float) -> UInt8Array:
    """(h, w, 3) uint8: the colours without those of the background."""
    seen = alpha[..., None].astype(np.float32) / 255
    picture = rgb.astype(np.float32)
    own = behind = picture
    for window in _WINDOWS:
        size = (2 * int(window * face_px) + 1,) * 2
        share = cv2.blur(seen, size)[..., None]
        own = cv2.blur(own * seen, size) / (share + 1e-5)
        behind = cv2.blur(behind * (1 - seen), size) / (1 - share + 1e-5)
        own = np.clip(own + seen * (picture - seen * own - (1 - seen) * behind), 0, 255)
    return np.rint(own).astype(np.uint8)
