"""Dark hair before a lighter, plain background, in photos: what of a wall shows between curls.

A network's outline is smooth, and takes what shows between curls for hair. Where the hair along the edge is much darker than
the background beside it, and that is plain, a pixel's way from the background's colour to the hair's tells how much hair is in
it: local colours of both sides, and mixtures between them, as in Ruzon and Tomasi, "Alpha Estimation in Natural Images", CVPR
2000. Differences of hue count threefold, so that skin and fair hair are no mixture of dark hair and wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from headstream.matte.grid import brought_up, grid_from_region, ramp
from headstream.shared.colour import LUMA
from headstream.types import Float32Array, Region, UInt8Array

_BAND = 0.04  # of the head's size: how far in from the outline it is all done; at twice that, nothing
_WINDOW = 0.10  # of the head's size: how far around colours are taken from
_DARKER = (45.0, 90.0)  # luma, of 255, that hair is darker by, where it begins to count and where it wholly does
_UNEVEN_HAIR, _UNEVEN_WALL = (0.4, 0.25), (0.25, 0.10)  # of the way between both: too uneven, and even enough
_SEEN = (0.02, 0.08)  # share of the window that shows the side
_NOISE, _MIXED = 0.06, 0.4  # of the way: still wall, and how much further it is all hair
# R'G'B' to luma and thrice the colour differences (ITU-R BT.601).
_HUE = np.array([[0.299, 0.587, 0.114], [1.5, -1.256, -0.244], [-0.507, -0.993, 1.5]], np.float32)
_STRIP = 256  # rows at a time: photos are large
_COARSE = 1024  # pixels of the longer side in which it is told what hangs together
_SURE, _GONE = 230, 26  # alpha of what stays, and of what was no head before


@dataclass(frozen=True)
class Wall:
    """What is on both sides of a head's edge, (s, s) over its crop. wall: (s, s, 3) R'G'B' 0..255.  to_hair: (s, s, 3), what
    is to be added for the hair's.  rest: (s, s, 3): the luma between both; how uneven the wall is, of that; how much of all
    this is to be believed, 0..1, 0 further in."""

    wall: Float32Array
    to_hair: Float32Array
    rest: Float32Array


def find_wall(rgb: UInt8Array, alpha: Float32Array) -> Wall | None:
    """What is to be known of a plain background lighter than the hair before it; None where nothing is. rgb: (S, S, 3) uint8, a
    crop; alpha: (S, S) float32, 0..1."""
    half = (alpha.shape[1] // 2, alpha.shape[0] // 2)
    colours = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA)
    head = (alpha > 0.5).astype(np.uint8)
    size = float(np.count_nonzero(head)) ** 0.5
    if size == 0:
        return None
    depth = cv2.distanceTransform(head, cv2.DIST_L2, 3)
    reach = max(1.0, _BAND * size)
    window = (2 * int(_WINDOW * size) + 1,) * 2
    within = ((depth > reach) & (alpha > 0.95)).astype(np.float32)
    beside = ((cv2.distanceTransform(1 - head, cv2.DIST_L2, 3) > 3) & (alpha < 0.02)).astype(np.float32)
    hair, hair_spread, hair_share = _side(colours, within, window)
    wall, wall_spread, wall_share = _side(colours, beside, window)
    to_hair = hair - wall
    darker = -(to_hair @ LUMA)
    apart = np.sqrt((to_hair * to_hair).sum(axis=2)) + 1
    uneven = wall_spread / apart
    believed = ramp(darker, _DARKER) * ramp(hair_spread / apart, _UNEVEN_HAIR) * ramp(uneven, _UNEVEN_WALL)
    believed *= ramp(hair_share, _SEEN) * ramp(wall_share, _SEEN) * np.clip(2 - depth / reach, 0, 1)
    if not (believed > 0).any():
        return None
    return Wall(wall, to_hair, np.dstack([np.maximum(darker, 1), uneven, believed]).astype(np.float32))


def without_wall(
    alpha: UInt8Array, colours: UInt8Array, rgb: UInt8Array, place: tuple[Region, Region], found: Wall
) -> tuple[UInt8Array, UInt8Array]:
    """A matte and its colours without what shows of the wall. alpha: (h, w) uint8.  colours: (h, w, 3), as far as they are
    corrected already; rgb: as they were.  place: their region of the frame, and the crop's."""
    lower, bare = alpha.copy(), colours.copy()
    (x0, y0, x1, y1), crop_px = place
    touched: list[slice] = []
    for top in range(0, y1 - y0, _STRIP):
        rows = slice(top, min(top + _STRIP, y1 - y0))
        lift = grid_from_region((x0, y0 + rows.start, x1, y0 + rows.stop), crop_px, found.wall.shape[0])
        size = (x1 - x0, rows.stop - rows.start)
        rest = brought_up(found.rest, lift, size)
        where = rest[..., 2] > 0
        if where.any():
            touched.append(rows)
            wall, to_hair = (brought_up(field, lift, size)[where] for field in (found.wall, found.to_hair))
            lower[rows][where], bare[rows][where] = _bared(
                alpha[rows][where], colours[rows][where], rgb[rows][where], (wall, to_hair, rest[where])
            )
    open_to = _open_to_the_outside(alpha, lower)
    for rows in touched:
        closed = ~open_to[rows]
        np.copyto(lower[rows], alpha[rows], where=closed)
        np.copyto(bare[rows], colours[rows], where=closed[..., None])
    return lower, bare


def _bared(
    alpha: UInt8Array, colours: UInt8Array, rgb: UInt8Array, sides: tuple[Float32Array, Float32Array, Float32Array]
) -> tuple[UInt8Array, UInt8Array]:
    """Of pixels in a row: (N,) alpha and (N, 3) colours without the wall."""
    wall, to_hair, rest = sides
    between, uneven, believed = rest.T
    own = rgb.astype(np.float32)
    way = np.linalg.norm((own - wall) @ _HUE.T, axis=1) / between
    share = np.clip((way - _NOISE - uneven) / _MIXED, 0, 1)
    before = alpha.astype(np.float32)
    lower = before + believed * (np.minimum(before, 255 * share) - before)
    hair = own + (1 - np.clip(way, 0, 1))[:, None] * to_hair
    mixed = (np.minimum(2 * (1 - share), 1) * believed)[:, None]
    done = colours.astype(np.float32)
    return np.rint(lower).astype(np.uint8), np.clip(np.rint(done + mixed * (hair - done)), 0, 255).astype(np.uint8)


def _side(
    colours: Float32Array, shown: Float32Array, window: tuple[int, int]
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Around each cell, of those that are ``shown``: mean colour, spread, and their share."""
    share = cv2.blur(shown, window)
    weight = shown[..., None]
    mean = cv2.blur(colours * weight, window) / (share[..., None] + 1e-4)
    square = cv2.blur(colours * colours * weight, window) / (share[..., None] + 1e-4)
    return mean, np.sqrt(np.maximum((square - mean * mean).sum(axis=2), 0)), share


def _open_to_the_outside(before: UInt8Array, lower: UInt8Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(h, w): where what is lower now hangs together with what was no head before. A light strand further in is no hole."""
    height, width = lower.shape
    zoom = min(1.0, _COARSE / max(height, width))
    grid = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small, was = (cv2.resize(plane, grid, interpolation=cv2.INTER_AREA) for plane in (lower, before))
    low = cv2.compare(small, _SURE, cv2.CMP_LT)
    _, labels = cv2.connectedComponents(low, connectivity=8)
    outside = np.unique(labels[(was < _GONE) & (low > 0)])
    linked = np.isin(labels, outside).astype(np.uint8)
    linked = cv2.dilate(linked, np.ones((3, 3), np.uint8))
    return cv2.resize(linked, (width, height), interpolation=cv2.INTER_NEAREST) > 0
