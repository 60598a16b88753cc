"""Y'UV and R'G'B', and moving chroma between samplings. Pure functions on arrays; used by every room."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from headstream.errors import UsageError
from headstream.types import LUMA_WEIGHTS, Colour, Float32Array, Matrix, Plane, Planes, Region, UInt8Array

PAD = 127  # grey beyond a picture's border: 0 to a network, like a convolution's own padding
# Luma of R'G'B', of pictures that do not tell their matrix. Source: ITU-R BT.601-7, 2.5.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def parse_colour(text: str, what: str) -> tuple[int, int, int]:
    """(r, g, b) of '#rrggbb' or '#rgb'. Raises UsageError naming ``what`` was given it."""
    digits = text[1:] if isinstance(text, str) and text.startswith("#") else ""
    if len(digits) == 3:
        digits = "".join(c * 2 for c in digits)
    try:
        value = bytes.fromhex(digits) if digits.isalnum() else b""
    except ValueError:
        value = b""
    if len(value) != 3:
        raise UsageError(f"{what} {text}: a colour is written '#rrggbb', like '#00b140'")
    return value[0], value[1], value[2]


@lru_cache(maxsize=32)
def rgb_from_yuv(matrix: Matrix, full_range: bool) -> Float32Array:
    """(3, 4) float32: R'G'B' (0..255) = M [Y, U, V, 1] at 8 bits. Source: ITU-R BT.601-7, 2.5; BT.709-6, 3; BT.2020-2."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    luma, chroma, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    linear = np.array(
        [
            [luma, 0, 2 * (1 - kr) * chroma],
            [luma, -2 * kb * (1 - kb) / kg * chroma, -2 * kr * (1 - kr) / kg * chroma],
            [luma, 2 * (1 - kb) * chroma, 0],
        ]
    )
    offset = -linear @ np.array([black, 128.0, 128.0])
    return np.hstack([linear, offset[:, None]]).astype(np.float32)


@lru_cache(maxsize=32)
def yuv_from_rgb(matrix: Matrix, full_range: bool) -> Float32Array:
    """(3, 4) float32: the inverse of ``rgb_from_yuv``."""
    forward = np.vstack([rgb_from_yuv(matrix, full_range).astype(np.float64), [0, 0, 0, 1]])
    return np.linalg.inv(forward)[:3].astype(np.float32)


def to_8_bits(plane: Plane, bits: int) -> UInt8Array:
    """A plane of ``bits`` bits rounded to 8."""
    if bits == 8:
        return plane
    return cv2.convertScaleAbs(plane, alpha=1 / (1 << (bits - 8)))  # rounds to nearest and saturates


def upsample_chroma(plane: Plane, size_px: tuple[int, int], sub_w: int, sub_h: int) -> Plane:
    """Chroma at luma size, bilinear. Sited as in MPEG-2, H.264 and HEVC: left in a row, half-way between rows."""
    if (sub_w, sub_h) == (1, 1):
        return plane
    chroma_from_luma = np.array([[1 / sub_w, 0, 0], [0, 1 / sub_h, -0.25 if sub_h == 2 else 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, chroma_from_luma, size_px, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def subsample_chroma(plane: Plane, sub_w: int, sub_h: int) -> Plane:
    """Chroma of luma size brought down, sited as ``upsample_chroma`` expects. Odd sizes round up."""
    if (sub_w, sub_h) == (1, 1):
        return plane
    if sub_w == 2:  # [1 2 1] / 4 around every other column keeps the left siting
        plane = cv2.sepFilter2D(
            plane, -1, np.array([0.25, 0.5, 0.25]), np.array([1.0]), borderType=cv2.BORDER_REPLICATE
        )
        plane = plane[:, ::2]
    if sub_h == 2:
        if plane.shape[0] % 2:
            plane = cv2.copyMakeBorder(plane, 0, 1, 0, 0, cv2.BORDER_REPLICATE)
        plane = cv2.resize(plane, (plane.shape[1], plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(plane)


def resample_chroma(plane: Plane, size_px: tuple[int, int], have: tuple[int, int], want: tuple[int, int]) -> Plane:
    """A chroma plane of subsampling ``have`` (w, h) at subsampling ``want``; untouched where they agree."""
    if have == want:
        return plane
    return subsample_chroma(upsample_chroma(plane, size_px, *have), *want)


def rgb_from_planes(planes: Planes) -> UInt8Array:
    """(H, W, 3) uint8 R'G'B' of a picture."""
    size = planes.size_px
    y, u, v = (to_8_bits(p, planes.bits) for p in (planes.y, planes.u, planes.v))
    u, v = (upsample_chroma(c, size, planes.sub_w, planes.sub_h) for c in (u, v))
    matrix = rgb_from_yuv(planes.colour.matrix, planes.colour.full_range)
    return cv2.transform(cv2.merge([y, u, v]), matrix)


def planes_from_rgb(
    rgb: UInt8Array | Float32Array, colour: Colour, *, bits: int = 8, sub: tuple[int, int] = (1, 1)
) -> Planes:
    """R'G'B' (0..255; floats only for more than 8 bits) as Y, U, V of ``colour``, at ``bits`` bits and chroma subsampling ``sub``
    (w, h)."""
    matrix = yuv_from_rgb(colour.matrix, colour.full_range)
    if bits == 8:
        y, u, v = cv2.split(cv2.transform(rgb, matrix))
    else:
        scale = float(1 << (bits - 8))
        yuv = cv2.transform(rgb.astype(np.float32), matrix * scale)
        y, u, v = cv2.split(np.clip(np.rint(yuv), 0, (1 << bits) - 1).astype(np.uint16))
    u, v = (subsample_chroma(c, *sub) for c in (u, v))
    return Planes(y, u, v, colour, bits=bits, sub_w=sub[0], sub_h=sub[1])


def to_limited(planes: Planes, bits: int) -> Planes:
    """The same colours at ``bits`` bits in limited range, for codecs whose players know no other; without their own alpha."""
    colour = planes.colour
    if not colour.full_range:
        return at_bits(planes, bits)
    peak, scale = (1 << planes.bits) - 1, 1 << (bits - 8)
    y = planes.y.astype(np.float32) * (219 * scale / peak) + 16 * scale
    u, v = (
        (c.astype(np.float32) - (1 << (planes.bits - 1))) * (224 * scale / peak) + 128 * scale
        for c in (planes.u, planes.v)
    )
    kind = np.uint8 if bits == 8 else np.uint16
    y, u, v = (np.clip(np.rint(c), 0, (1 << bits) - 1).astype(kind) for c in (y, u, v))
    return replace(planes, y=y, u=u, v=v, bits=bits, colour=replace(colour, full_range=False), alpha=None)


def at_bits(planes: Planes, bits: int) -> Planes:
    """The same colours, same range, at ``bits`` bits; without their own alpha, which is the matte's by then."""
    y, u, v = (_shifted(p, bits - planes.bits, bits) for p in (planes.y, planes.u, planes.v))
    return replace(planes, y=y, u=u, v=v, bits=bits, alpha=None)


def _shifted(plane: Plane, shift: int, bits: int) -> Plane:
    if shift == 0:
        return plane
    if shift > 0:
        return plane.astype(np.uint16) << shift
    if bits == 8:
        return to_8_bits(plane, 8 - shift)
    return np.minimum((plane.astype(np.uint32) + (1 << (-shift - 1))) >> -shift, (1 << bits) - 1).astype(np.uint16)


def whole_resized(picture: Planes | UInt8Array, size_px: tuple[int, int]) -> UInt8Array:
    """(h, w, 3) uint8 R'G'B' of a whole picture brought down to ``size_px``, plane by plane before it is turned into RGB."""
    if not isinstance(picture, Planes):
        return cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA)
    parts = (cv2.resize(p, size_px, interpolation=cv2.INTER_AREA) for p in (picture.y, picture.u, picture.v))
    yuv = cv2.merge([to_8_bits(part, picture.bits) for part in parts])
    return cv2.transform(yuv, rgb_from_yuv(picture.colour.matrix, picture.colour.full_range))


def crop_resized(picture: Planes | UInt8Array, crop_px: Region, size: int) -> UInt8Array:
    """(size, size, 3) uint8 R'G'B' of a square of a picture; grey where the square leaves it.

    Only the crop is touched: it is scaled plane by plane and turned into RGB at ``size``. The corners of ``crop_px`` must
    be even for subsampled planes.
    """
    parts = [_resized(part, size) for part in crop_parts(picture, crop_px)]
    if not isinstance(picture, Planes):
        return parts[0]
    yuv = cv2.merge([to_8_bits(part, picture.bits) for part in parts])
    return cv2.transform(yuv, rgb_from_yuv(picture.colour.matrix, picture.colour.full_range))


def crop_parts(picture: Planes | UInt8Array, crop_px: Region) -> list[Plane]:
    """A square of a picture at its own size: its R'G'B', or its Y, U and V; grey where the square leaves the picture."""
    if not isinstance(picture, Planes):
        return [_cut(picture, crop_px, PAD)]
    sub_w, sub_h = picture.sub_w, picture.sub_h
    x0, y0, x1, y1 = crop_px
    chroma_px = (x0 // sub_w, y0 // sub_h, x1 // sub_w, y1 // sub_h)
    colour = picture.colour
    grey = yuv_from_rgb(colour.matrix, colour.full_range) @ np.array([PAD, PAD, PAD, 1], np.float32)
    scale = 1 << (picture.bits - 8)
    return [
        _cut(plane, where, round(float(value) * scale))
        for plane, where, value in (
            (picture.y, crop_px, grey[0]),
            (picture.u, chroma_px, grey[1]),
            (picture.v, chroma_px, grey[2]),
        )
    ]


def _cut(plane: Plane, region: Region, border: int) -> Plane:
    """The part of a plane inside ``region``, filled with ``border`` where the region leaves it."""
    height, width = plane.shape[:2]
    x0, y0, x1, y1 = region
    inside = plane[max(0, y0) : max(0, min(height, y1)), max(0, x0) : max(0, min(width, x1))]
    top, left = max(0, -y0), max(0, -x0)
    bottom, right = (y1 - y0) - top - inside.shape[0], (x1 - x0) - left - inside.shape[1]
    if inside.size == 0:
        return np.full((y1 - y0, x1 - x0, *plane.shape[2:]), border, plane.dtype)
    if max(top, left, bottom, right) == 0:
        return inside
    return cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(border,) * 4)


def _resized(plane: Plane, size: int) -> Plane:
    """Scaled to (size, size). Halving first and interpolating then averages as well as it needs, at a third of the cost
    of averaging over fractions of pixels."""
    side = plane.shape[0]
    while side >= 2 * size and side % 2 == 0:
        side //= 2
        plane = cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
    if plane.shape[:2] == (size, size):  # chroma of 4:2:2 is half as wide as high
        return plane
    far = side > 1.6 * size and plane.shape[1] >= size  # what grows on one side cannot be averaged by area
    return cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR)
