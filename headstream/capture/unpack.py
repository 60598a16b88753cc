"""From a decoded PyAV frame to a ``Frame``: planes without a copy where the format allows, upright."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from headstream.shared.colour import planes_from_rgb
from headstream.shared.tone import HDR_TRANSFERS
from headstream.types import Colour, Frame, Matrix, Plane, Planes, UInt8Array

# ITU-T H.273 matrix code points. 2 (not told) is read as most players read it: BT.709 from 720 lines or 1280 columns on.
_MATRICES: dict[int, Matrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt601", 9: "bt2020", 10: "bt2020"}
_RGB = 0  # of these code points: no luma, as a PNG says that is grey
_BT2020, _HDR_BITS = 9, 10
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG

# Formats whose planes are taken as they are: name -> (bits, sub_w, sub_h, has alpha). "j" formats are full range.
_SAMPLINGS = (("420", 2, 2), ("422", 2, 1), ("444", 1, 1), ("440", 1, 2))
_DEPTHS = (("", 8), ("9le", 9), ("10le", 10), ("12le", 12), ("14le", 14), ("16le", 16))
_PLANAR = {
    f"yuv{a}{sampling}p{depth}": (bits, sub_w, sub_h, bool(a))
    for a in ("", "a")
    for sampling, sub_w, sub_h in _SAMPLINGS
    for depth, bits in _DEPTHS
} | {f"yuvj{sampling}p": (8, sub_w, sub_h, False) for sampling, sub_w, sub_h in _SAMPLINGS}


@dataclass(frozen=True)
class Orientation:
    """How to show a picture: transpose first, then flip left-right, then flip top-bottom."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, plane: Any) -> Any:
        """``plane`` (H, W, ...) upright; the same object when nothing is to be done."""
        if self.transpose:
            plane = plane.swapaxes(0, 1)
        if self.flip_x:
            plane = plane[:, ::-1]
        if self.flip_y:
            plane = plane[::-1]
        return plane if self == Orientation() else np.ascontiguousarray(plane)


# By degrees counter-clockwise.
_TURNED = {
    90: Orientation(transpose=True, flip_y=True),
    180: Orientation(flip_x=True, flip_y=True),
    270: Orientation(transpose=True, flip_x=True),
}


def orientation(decoded: Any) -> Orientation:
    """The display matrix of a frame, to the nearest quarter turn with or without a mirror.

    The matrix holds 16.16 fixed-point a, b, u, c, d, v, x, y, w with x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12).
    """
    try:
        sides = list(decoded.side_data)
    except ValueError:
        # A kind PyAV has no name for, as a picture's EXIF, of which FFmpeg has made a matrix; mirrors are lost.
        return _TURNED.get(decoded.rotation % 360, Orientation())
    data = next((bytes(side) for side in sides if side.type.name == "DISPLAYMATRIX"), None)
    if data is None or len(data) < 36:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", data[:20])
    if abs(b) > abs(a):  # x' follows y and y' follows x
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)


def colour_of(decoded: Any) -> Colour:
    """How a decoded frame's ``Frame`` is to be read: its colour tags, and of HDR R'G'B' what it becomes."""
    primaries, transfer = int(decoded.color_primaries), int(decoded.color_trc)
    if _is_hdr_rgb(decoded):
        return Colour("bt2020", False, _BT2020, primaries, transfer)
    code = int(decoded.colorspace)
    large = decoded.height >= 720 or decoded.width >= 1280
    matrix = _MATRICES.get(code, "bt709" if large else "bt601")
    full = int(decoded.color_range) == _FULL_RANGE or decoded.format.name.startswith("yuvj")
    return Colour(matrix, full, code, primaries, transfer)


def frame_from_video(
    decoded: Any,
    upright: Orientation,
    *,
    index: int = 0,
    pts: Fraction = Fraction(0),
    duration_s: Fraction | None = None,
) -> Frame:
    """A ``Frame``, with its place in time. Planar YUV shares the decoder's memory; everything else is converted once, what only
    lies otherwise (packed, big-endian) without a change."""
    rgb, planes, alpha = None, None, None
    if _is_hdr_rgb(decoded):
        planes = _planes_of_rgb(decoded, upright)
    elif _is_rgb(decoded):
        rgb, alpha = _rgb(decoded, upright)
    elif decoded.format.name in _PLANAR:
        planes = _planes(decoded, upright)
    else:
        # In several threads, the last samples of one part may be written over the first of the next (seen with FFmpeg 8).
        planes = _planes(decoded.reformat(format=_planar_like(decoded), threads=1), upright)
        planes = replace(planes, colour=colour_of(decoded))
    return Frame(rgb, planes=planes, index=index, pts=pts, duration_s=duration_s, alpha=alpha)


def _planar_like(decoded: Any) -> str:
    """The planar format that holds a frame's Y, U and V; at full size where colours are a fourth as wide (4:1:1, 4:1:0)."""
    own = decoded.format
    steps = 16 // own.chroma_width(16), 16 // own.chroma_height(16)
    sampling = next((name for name, *known in _SAMPLINGS if tuple(known) == steps), "444")
    see_through = "a" if any(c.is_alpha for c in own.components) else ""
    depth = next(name for name, bits in _DEPTHS if bits >= kept_bits(decoded)[1])
    return f"yuv{see_through}{sampling}p{depth}"


def _is_rgb(decoded: Any) -> bool:
    name = decoded.format.name
    grey_of_rgb = name.startswith(("gray", "ya")) and int(decoded.colorspace) == _RGB
    return decoded.format.is_rgb or grey_of_rgb or name in {"pal8", "monow", "monob"}


def _is_hdr_rgb(decoded: Any) -> bool:
    return int(decoded.color_trc) in HDR_TRANSFERS and _is_rgb(decoded)


def kept_bits(decoded: Any) -> tuple[int, int]:
    """How many bits the numbers of a decoded frame have, and how many of them its ``Frame`` has."""
    bits = max(component.bits for component in decoded.format.components)
    if _is_rgb(decoded):
        return bits, min(bits, _HDR_BITS) if _is_hdr_rgb(decoded) else 8
    return bits, min(bits, 16)


def _planes(decoded: Any, upright: Orientation) -> Planes:
    bits, sub_w, sub_h, has_alpha = _PLANAR[decoded.format.name]
    y, u, v, *rest = (upright.apply(_view(p, bits)) for p in decoded.planes)
    if upright.transpose:
        sub_w, sub_h = sub_h, sub_w
    alpha = rest[0] if has_alpha else None
    return Planes(y, u, v, colour_of(decoded), bits=bits, sub_w=sub_w, sub_h=sub_h, alpha=alpha)


def _view(plane: Any, bits: int) -> Plane:
    kind: Any = np.uint8 if bits == 8 else np.uint16
    pixels: Plane = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
    return pixels


def _planes_of_rgb(decoded: Any, upright: Orientation) -> Planes:
    """HDR R'G'B' as Y, U and V of as many bits as HDR needs, which tell that it is HDR wherever they go."""
    see_through, deep = _see_through(decoded), kept_bits(decoded)[1] > 8
    layout = ("rgba64le" if deep else "rgba") if see_through else ("rgb48le" if deep else "rgb24")
    pixels = upright.apply(decoded.to_ndarray(format=layout))
    peak = np.iinfo(pixels.dtype).max
    rgb = pixels[..., :3].astype(np.float32) / np.float32(peak / 255)
    planes = planes_from_rgb(rgb, colour_of(decoded), bits=_HDR_BITS)
    if not see_through or pixels[..., 3].min() == peak:
        return planes
    return replace(planes, alpha=np.rint(pixels[..., 3] * (((1 << _HDR_BITS) - 1) / peak)).astype(np.uint16))


def _see_through(decoded: Any) -> bool:
    return decoded.format.name == "pal8" or any(c.is_alpha for c in decoded.format.components)


def _rgb(decoded: Any, upright: Orientation) -> tuple[UInt8Array, UInt8Array | None]:
    see_through = _see_through(decoded)
    pixels: UInt8Array = upright.apply(decoded.to_ndarray(format="rgba" if see_through else "rgb24"))
    if not see_through:
        return pixels, None
    alpha = np.ascontiguousarray(pixels[..., 3])
    return np.ascontiguousarray(pixels[..., :3]), None if alpha.min() == 255 else alpha
