"""A plain green or blue background, a studio's screen or a clear sky: there, colour tells where hair is see-through.

Vlahos' colour difference (Smith and Blinn, "Blue Screen Matting", SIGGRAPH 1996): a pixel's chroma, measured along the
screen's, is the share of the screen in it. A network gives one smooth edge around curls; with that share taken out of alpha
and colour, the screen no longer shines through them. This is done in a narrow band within the matte's own edge only, and
never where what lies further in (a green hat) has the screen's colour itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from headstream.matte.grid import ramp
from headstream.shared.colour import upsample_chroma, yuv_from_rgb
from headstream.shared.turned import quarters_of, turned
from headstream.types import Float32Array, Frame, Matrix, Plane, Planes, Region, UInt8Array

_GRID = 64
_ENOUGH = 80  # grid cells of background beside and above the head
# Chroma (of 128) from which a colour begins to count as a screen's, and from which it wholly does.
_VIVID = (22.0, 30.0)
_LIT = (35.0, 50.0)  # luma, likewise: dark blue is in shadows and dark hair too
_AWAY_FROM_SKIN = -10.0  # red difference under which no skin, lips or hair lie
_PLAIN = (0.7, 0.85)  # share of the background that has the colour
_UNEVEN = (0.4, 0.25)  # along and across the screen's chroma: what its shadows and folds may differ
_BAND = 0.06  # of the head's size: how far in from the edge it is all done; at twice that, nothing
_COARSE = 160  # cells along the longer side of the grid of what is smooth
_NOISE = 0.06  # share of the screen that is none yet


@dataclass(frozen=True)
class Screen:
    """rgb: the background's R'G'B', 0..255.  strength: 0..1, how surely it is a screen."""

    rgb: tuple[float, float, float]
    strength: float


def find_screen(
    rgb: UInt8Array, alpha: Float32Array, crop_px: Region, size_px: tuple[int, int], roll_deg: int = 0
) -> Screen | None:
    """The screen behind a head, or None where there is none. rgb: (S, S, 3) uint8, alpha: (S, S) float32, 0..1, both over
    ``crop_px`` of a frame of ``size_px``, in which the head leans clockwise by ``roll_deg``."""
    step = max(1, alpha.shape[0] // _GRID)
    few, quarters = alpha[::step, ::step], quarters_of(roll_deg)[0]
    upright = turned(few, -quarters)
    free, rows = upright < 0.02, np.flatnonzero((upright > 0.5).any(axis=1))
    if len(rows) == 0:
        return None
    free[(rows[0] + rows[-1]) // 2 :] = False  # shoulders and clothes are no background
    free = turned(free, quarters)
    cell = (crop_px[2] - crop_px[0]) / len(few)
    for axis, (start, length) in enumerate(zip(crop_px[1::-1], size_px[::-1], strict=True)):
        centres = start + (np.arange(len(few)) + 0.5) * cell
        free &= np.expand_dims((centres > 0) & (centres < length), 1 - axis)
    if free.sum() < _ENOUGH:
        return None
    colours = rgb[::step, ::step][free]
    ycc = cv2.cvtColor(colours[None], cv2.COLOR_RGB2YCrCb)[0].astype(np.float32) - np.array((0, 128, 128), np.float32)
    luma, cr, cb = (float(value) for value in np.median(ycc, axis=0))
    vivid = ramp(float(np.hypot(cr, cb)), _VIVID) * ramp(luma, _LIT)
    if cr > _AWAY_FROM_SKIN or vivid == 0:
        return None
    like = _screen_like(*_share(ycc[:, 1], ycc[:, 2], cr, cb))
    strength = vivid * ramp(float(like.mean()), _PLAIN)
    if strength == 0:
        return None
    red, green, blue = (float(value) for value in np.median(colours[like], axis=0))
    return Screen((red, green, blue), strength)


def keyed(
    alpha: UInt8Array, colours: Planes | UInt8Array | None, frame: Frame, region: Region, screen: Screen
) -> tuple[UInt8Array, Planes | UInt8Array]:
    """A matte and its colours with the screen's share taken out of the edge.

    alpha: (h, w) uint8 over ``region`` of ``frame``.  colours: the region's, as far as they are corrected already, or None.
    """
    x0, y0, x1, y1 = region
    if frame.planes is None:
        rgb = frame.rgb[y0:y1, x0:x1]
        _, cr, cb = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
        _, u, v = _code(screen, "bt601", full_range=True)  # as OpenCV has them
        share, light = _screen_share(alpha, cb, cr, 128, (u - 128, v - 128), screen.strength)
        done = rgb if colours is None else np.asarray(colours)
        parts = zip(cv2.split(rgb), cv2.split(done), screen.rgb, strict=True)
        fixed = [_without(own, so_far, back, share, light, (0, 0, 255)) for own, so_far, back in parts]
        return _less(alpha, share), cv2.merge(fixed)
    part = frame.planes.region(region)
    so_far = part if colours is None else colours
    assert isinstance(so_far, Planes)
    black, grey = part.black
    top = (1 << part.bits) - 1
    code = _code(screen, part.colour.matrix, full_range=part.colour.full_range)
    y, u, v = (value * (1 << (part.bits - 8)) for value in code)
    share, light = _screen_share(alpha, part.u, part.v, grey, (u - grey, v - grey), screen.strength)
    u_plane = _without(part.u, so_far.u, u, share, light, (grey, 0, top))
    v_plane = _without(part.v, so_far.v, v, share, light, (grey, 0, top))
    share, light = (upsample_chroma(field, part.size_px, part.sub_w, part.sub_h) for field in (share, light))
    y_plane = _without(part.y, so_far.y, y, share, light, (black, black, top))
    return _less(alpha, share), replace(part, y=y_plane, u=u_plane, v=v_plane)


def _screen_share(
    alpha: UInt8Array, u: Plane, v: Plane, grey: float, screen: tuple[float, float], strength: float
) -> tuple[Float32Array, Float32Array]:
    """(h, w) of the chroma planes, float32: how much of the screen shows in a pixel of the matte's edge, 0..1; and that times
    the screen's brightness there, of its usual one."""
    height, width = u.shape
    square = screen[0] ** 2 + screen[1] ** 2
    to_u, to_v = (value / square for value in screen)
    along = cv2.addWeighted(u, to_u, v, to_v, -grey * (to_u + to_v), dtype=cv2.CV_32F)
    # All but the pixels' own colours is smooth: a coarse grid is enough for it.
    zoom = min(1.0, _COARSE / max(height, width))
    grid = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    a, cu, cv = (cv2.resize(plane, grid, interpolation=cv2.INTER_AREA) for plane in (alpha, u, v))
    level, floor, band = (cv2.resize(field, (width, height)) for field in _fields(a, cu, cv, grey, screen))
    share = np.clip((along / level - floor) / (1 - floor), 0, 1) * (band * np.float32(strength))
    return share, share * level


def _fields(
    alpha: UInt8Array, u: Plane, v: Plane, grey: float, screen: tuple[float, float]
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """(h, w) float32 each: how bright the screen is there, of its usual brightness; its share in what the head's own colours
    are, which is none; and the band, 1 at the edge, 0 further in."""
    along, across = _share(u.astype(np.float32) - grey, v.astype(np.float32) - grey, *screen)
    reach = max(1.0, _BAND * max(alpha.shape))
    window = (2 * int(2 * reach) + 1,) * 2
    # Lit unevenly: what the screen is just beside the head counts as all of it.
    free = ((alpha < 6) & _screen_like(along, across)).astype(np.float32)
    level = (cv2.blur(along * free, window) + 0.02) / (cv2.blur(free, window) + 0.02)
    depth = cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 3)
    inner = (depth > reach).astype(np.float32)
    own = cv2.blur(np.clip(along, 0, 1) * inner, window) / (cv2.blur(inner, window) + 0.02)
    floor = np.clip(own, 0, 0.9 - _NOISE) + _NOISE
    return level, floor, np.clip(2 - depth / reach, 0, 1)


def _share(u: Float32Array, v: Float32Array, screen_u: float, screen_v: float) -> tuple[Float32Array, Float32Array]:
    """Chroma along the screen's, which is 1, and across it."""
    to_u, to_v = (np.float32(value / (screen_u**2 + screen_v**2)) for value in (screen_u, screen_v))
    return u * to_u + v * to_v, u * to_v - v * to_u


def _screen_like(along: Float32Array, across: Float32Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return (np.abs(along - 1) < _UNEVEN[0]) & (np.abs(across) < _UNEVEN[1])


def _without(
    own: Plane, so_far: Plane, screen: float, share: Float32Array, light: Float32Array, ends: tuple[int, int, int]
) -> Plane:
    """``own`` without the ``screen``, where it has a share; elsewhere what it is ``so_far``. ends: the value of no light or
    colour, the lowest and the highest there are."""
    none, low, high = ends
    fixed = so_far.copy()
    where = share > 0
    some, before = np.minimum(share[where], np.float32(0.9)), so_far[where].astype(np.float32)
    bare = (own[where].astype(np.float32) - none - light[where] * np.float32(screen - none)) / (1 - some) + none
    fixed[where] = before + np.minimum(some * 8, 1) * (np.clip(bare, low, high) - before) + np.float32(0.5)
    return fixed


def _less(alpha: UInt8Array, share: Float32Array) -> UInt8Array:
    return cv2.min(alpha, cv2.convertScaleAbs(share, alpha=-255, beta=255))


def _code(screen: Screen, matrix: Matrix, *, full_range: bool) -> list[float]:
    """Y, U and V of a screen, at 8 bits."""
    return [float(value) for value in yuv_from_rgb(matrix, full_range) @ np.array([*screen.rgb, 1.0])]
