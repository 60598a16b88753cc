"""The piece of a picture that is meant by a click: from the point to the strongest edges around it.

Watershed from two seeds, the click and all that is certainly not meant: Meyer, "Color image segmentation", 1992, as
OpenCV has it. On a small grid; the picture's own edges then guide it to full size, as they do the matte.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.fixes.read import Click
from headstream.matte.grid import brought_up, grid_from_region
from headstream.matte.guided import guide_coefficients, levels
from headstream.matte.patch import alpha_in
from headstream.matte.refine import region_luma, times_own_alpha
from headstream.shared.colour import crop_resized
from headstream.shared.regions import even_region
from headstream.types import Cutout, Float32Array, Head, Region, UInt8Array

_SIDE = 256
_ROOM = 1.3  # the square looked at, in crops of the head: what is missing may lie outside of the crop
_SEED = 3  # cells around the click
_FAR = 0.3  # of the square: further from the click nothing is meant
_CORE = 0.25  # of the face box, around its middle: never meant by "not"


def clicked_piece(cutout: Cutout, click: Click, head: Head | None) -> tuple[Region, UInt8Array] | None:
    """A region of the frame and its matte after the click, (h, w) uint8; None if the point is already what it should be, or
    is ``spared``."""
    square = _square(cutout, click, head)
    picture = cutout.frame.picture
    rgb = crop_resized(picture, square, _SIDE)
    cell = (square[2] - square[0]) / _SIDE
    alpha = cv2.resize(alpha_in(cutout, square), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    column, row = (min(_SIDE - 1, int((v - o) / cell)) for v, o in ((click.x, square[0]), (click.y, square[1])))
    adds = click.kind == "head"
    free = alpha < 128 if adds else alpha >= 128
    core = np.zeros_like(free) if adds or head is None else _core(head, square, cell)
    free &= ~core
    if spared(click, head) or not free[row, column]:
        return None
    piece = _flooded(rgb, free, (column, row))
    piece[core] = 0
    after = alpha.astype(np.float32) / np.float32(255)
    if adds:  # what lay between the old edge and the piece belongs to it
        after = cv2.morphologyEx(np.maximum(after, piece), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    else:
        after = cv2.morphologyEx(np.minimum(after, 1 - piece), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    region = even_region(square, cutout.frame.size_px)
    now = alpha_in(cutout, region)
    up, near = _full_size(after, cv2.dilate(piece, np.ones((9, 9), np.uint8)), rgb, region, square, cutout)
    changed = np.maximum(now, times_own_alpha(up, cutout.frame, region)) if adds else np.minimum(now, up)
    return region, np.where(near, changed, now)


def _square(cutout: Cutout, click: Click, head: Head | None) -> Region:
    if head is not None:
        x0, y0, x1, y1 = head.crop_px
        more = 2 * round((_ROOM - 1) * (x1 - x0) / 4)
        if x0 - more <= click.x < x1 + more and y0 - more <= click.y < y1 + more:
            return x0 - more, y0 - more, x1 + more, y1 + more
    half = 2 * round(0.1 * min(cutout.frame.size_px))
    x, y = 2 * round(click.x / 2), 2 * round(click.y / 2)
    return x - half, y - half, x + half, y + half


def spared(click: Click, head: Head | None) -> bool:
    """Whether a click would take away what none does: the middle of the face."""
    if click.kind == "head" or head is None:
        return False
    (x, y), radius = _middle(head)
    return (click.x - x) ** 2 + (click.y - y) ** 2 <= radius**2


def _middle(head: Head) -> tuple[tuple[float, float], float]:
    x0, y0, x1, y1 = head.box_px
    return ((x0 + x1) / 2, (y0 + y1) / 2), _CORE * (x1 - x0)


def _core(head: Head, square: Region, cell: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(S, S): the cells in the middle of the face."""
    (x, y), radius = _middle(head)
    rows, columns = np.ogrid[:_SIDE, :_SIDE]
    return (square[0] + (columns + 0.5) * cell - x) ** 2 + (square[1] + (rows + 0.5) * cell - y) ** 2 <= radius**2


def _flooded(rgb: UInt8Array, free: np.ndarray, seed: tuple[int, int]) -> Float32Array:
    """(S, S) 0 or 1: the connected part of ``free`` that belongs to the seed rather than to what is far from it."""
    _, labels = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
    connected = labels == labels[seed[1], seed[0]]
    markers = np.full(free.shape, 2, np.int32)  # what is not connected is certainly not meant
    near = cv2.circle(np.zeros(free.shape, np.uint8), seed, round(_FAR * _SIDE), 1, -1) > 0
    markers[connected & near] = 0
    inner = cv2.circle(np.zeros(free.shape, np.uint8), seed, _SEED, 1, -1) > 0
    markers[inner & connected] = 1
    found = cv2.watershed(cv2.cvtColor(cv2.bilateralFilter(rgb, 5, 30, 3), cv2.COLOR_RGB2LAB), markers)
    piece = ((found == 1) & connected).astype(np.uint8)
    piece = cv2.dilate(piece, np.ones((3, 3), np.uint8))  # watersheds are a cell wide, and the old edge was soft
    return piece.astype(np.float32)


def _full_size(
    after: Float32Array, near: Float32Array, rgb: UInt8Array, region: Region, square: Region, cutout: Cutout
) -> tuple[UInt8Array, Any]:
    """The matte, guided by the picture's own edges, and where ``near`` is."""
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    a, b = guide_coefficients(after, luma)
    lift, size = grid_from_region(region, square, _SIDE), (region[2] - region[0], region[3] - region[1])
    full = brought_up(a, lift, size) * region_luma(cutout.frame, region) + brought_up(b, lift, size)
    return cv2.convertScaleAbs(levels(full, 0.15, 0.85), alpha=255), brought_up(near, lift, size) > 0.5
