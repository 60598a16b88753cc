"""From a cut-out to the frame an encoder takes. Pixels outside the head cost nothing but being black.

Alpha is straight. Fully transparent pixels are black: what cannot be seen must not cost bits.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.shared.colour import at_bits, planes_from_rgb, resample_chroma, rgb_from_planes, to_limited
from headstream.shared.regions import chroma_index
from headstream.types import Colour, Cutout, Frame, Planes, UInt8Array

# What an RGB source becomes where a codec wants Y'CbCr: BT.709, limited range, sRGB's own primaries and transfer.
RGB_AS_YUV = Colour("bt709", False, matrix_code=1, primaries_code=1, transfer_code=13)
_FFV1_DEPTHS = {8: "", 10: "10le", 12: "12le", 16: "16le"}


def planes_format(frame: Frame, codec: str) -> str:
    """The alpha pixel format that holds a source's planes as they are, as far as ``codec`` has it."""
    if codec.startswith("prores"):
        return "yuva444p10le"
    planes = frame.planes
    if codec == "libvpx-vp9":
        return "yuva420p"
    if planes is None:
        return "bgra"
    sampling = {(2, 2): "420", (2, 1): "422"}.get((planes.sub_w, planes.sub_h), "444")
    bits = next(depth for depth in _FFV1_DEPTHS if depth >= planes.bits)
    if bits == 12:
        bits = 16  # FFmpeg has no yuva420p12, and programs built with FFmpeg 5 or older read no FFV1 of the other two
    return f"yuva{sampling}p{_FFV1_DEPTHS[bits]}"


def film_pixels(frame: Frame, codec: str) -> str:
    """The opaque pixel format that holds a source's planes as they are, as far as ``codec`` has it."""
    planes = frame.planes
    if codec == "png":
        return "rgb24"
    if codec.startswith("prores"):
        return "yuv422p10le"  # of 422 HQ; players look at the profile, not at the planes
    if codec != "ffv1":
        return "yuv420p"
    if planes is None:
        return "bgr0"
    sampling = {(2, 2): "420", (2, 1): "422", (1, 2): "440"}.get((planes.sub_w, planes.sub_h), "444")
    bits = next(depth for depth in _FFV1_DEPTHS if depth >= planes.bits)
    if sampling == "440" and bits == 16:
        sampling = "444"  # FFmpeg has no yuv440p16
    return f"yuv{sampling}p{_FFV1_DEPTHS[bits]}"


def region_planes(cutout: Cutout) -> Planes:
    """The visible region as Y, U, V."""
    if isinstance(cutout.foreground, Planes):
        return cutout.foreground
    if cutout.foreground is None and cutout.frame.planes is not None:
        return cutout.frame.planes.region(cutout.region_px)
    return planes_from_rgb(np.ascontiguousarray(cutout.region_rgb()), RGB_AS_YUV)


def fill_alpha_frame(frame: Any, cutout: Cutout, *, hidden: bool = False, limited: bool = False) -> None:
    """Write a cut-out into a PyAV frame of a yuva format (any sampling and depth) or of bgra.

    hidden: keep the colours of what is transparent, instead of black.  limited: turn full range into limited, for codecs
    that know no other.
    """
    if frame.format.name == "bgra":
        rgba = np.dstack([cutout.frame.rgb, cutout.alpha]) if hidden else cutout.rgba()
        view(frame.planes[0], 8, 4)[:] = rgba[..., (2, 1, 0, 3)]
        return
    bits = frame.format.components[0].bits
    sub = chroma_steps(frame)
    own = cutout.frame.planes
    full_range = own is not None and own.colour.full_range and not limited
    targets = [view(plane, bits) for plane in frame.planes]
    black = (0 if full_range else 16) << (bits - 8)
    for target, value in zip(targets, (black, 128 << (bits - 8), 128 << (bits - 8), 0), strict=True):
        target[:] = value
    x0, y0, x1, y1 = cutout.region_px
    if x1 == x0:
        return
    colours = region_planes(cutout)
    colours = at_bits(colours, bits) if full_range else to_limited(colours, bits)
    have, size = (colours.sub_w, colours.sub_h), (x1 - x0, y1 - y0)
    seen = np.ones_like(cutout.region_alpha, bool) if hidden else cutout.region_alpha > 0
    _put(targets[0][y0:y1, x0:x1], colours.y, seen)
    chroma_seen = pooled(seen, *sub)
    for target, plane in zip(targets[1:3], (colours.u, colours.v), strict=True):
        _put(target[chroma_index(cutout.region_px, sub)], resample_chroma(plane, size, have, sub), chroma_seen)
    targets[3][y0:y1, x0:x1] = deep_alpha(cutout.region_alpha, bits)


def deep_alpha(alpha: UInt8Array, bits: int) -> Any:
    """8-bit alpha at ``bits`` bits: 255 becomes the peak, and the upper eight bits are the alpha again."""
    if bits == 8:
        return alpha
    wide = alpha.astype(np.uint16)
    return (wide << (bits - 8)) | (wide >> (16 - bits))


def pooled(mask: Any, sub_w: int, sub_h: int) -> Any:
    """A mask at chroma resolution: set where any pixel of a sample is."""
    height, width = mask.shape
    if (height % sub_h) or (width % sub_w):
        mask = np.pad(mask, ((0, height % sub_h), (0, width % sub_w)))
    if sub_h == 2:
        mask = mask[::2] | mask[1::2]
    return mask[:, ::2] | mask[:, 1::2] if sub_w == 2 else mask


def view(plane: Any, bits: int, channels: int = 1) -> Any:
    """A writable array over a PyAV plane: (H, W) or (H, W, channels), uint8 or uint16."""
    kind: Any = np.uint8 if bits == 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(plane.height, plane.width, channels)


def _put(target: Any, values: Any, where: Any) -> None:
    np.copyto(target, values, where=where)


def fill_opaque_frame(frame: Any, picture: Planes | UInt8Array, *, limited: bool = False) -> None:
    """Write a picture into a PyAV frame of a yuv format, or of bgr0 or rgb24, whose size may be one larger: the last row or
    column is repeated. limited: turn full range into limited, for codecs that know no other."""
    if frame.format.name in {"bgr0", "rgb24"}:
        rgb = rgb_from_planes(picture) if isinstance(picture, Planes) else picture
        swapped = frame.format.name == "bgr0"
        view(frame.planes[0], 8, 4 if swapped else 3)[..., :3] = rgb[..., ::-1] if swapped else rgb
        return
    planes = picture if isinstance(picture, Planes) else planes_from_rgb(np.ascontiguousarray(picture), RGB_AS_YUV)
    bits = frame.format.components[0].bits
    planes = to_limited(planes, bits) if limited else at_bits(planes, bits)
    have, want = (planes.sub_w, planes.sub_h), chroma_steps(frame)
    chroma = (
        resample_chroma(planes.u, planes.size_px, have, want),
        resample_chroma(planes.v, planes.size_px, have, want),
    )
    for target, source in zip((view(p, bits) for p in frame.planes), (planes.y, *chroma), strict=True):
        height, width = source.shape
        target[:height, :width] = source
        if target.shape != source.shape:
            target[:, width:] = target[:, width - 1 : width]
            target[height:] = target[height - 1 : height]


def chroma_steps(frame: Any) -> tuple[int, int]:
    """Chroma subsampling (w, h) of a PyAV frame's format."""
    name = frame.format.name
    return (2 if "420" in name or "422" in name else 1), (2 if "420" in name or "440" in name else 1)


def matte_planes(cutout: Cutout) -> Planes:
    """The matte as a grey picture in limited range: 16 is transparent, 235 is head."""
    alpha = cutout.alpha
    height, width = alpha.shape
    grey = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    luma = cv2.convertScaleAbs(alpha, alpha=219 / 255, beta=16)
    return Planes(luma, grey, grey, RGB_AS_YUV)
