"""What --background asks for, and a head put on what is behind it, where the output has no transparency."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.errors import UsageError
from headstream.shared.colour import at_bits, parse_colour, resample_chroma
from headstream.shared.regions import chroma_index
from headstream.sinks.behind import Background
from headstream.sinks.pack import region_planes
from headstream.types import Cutout, Planes, UInt8Array


def parse_background(text: str) -> str | tuple[int, int, int] | Path:
    """What --background asks for: "transparent", "blur", a colour (r, g, b), or a file. Raises UsageError."""
    if text in {"transparent", "blur"}:
        return text
    if text.startswith("#"):
        return parse_colour(text, "--background")
    path = Path(text)
    if not os.path.isfile(path):
        raise UsageError(f"--background {text}: expected transparent, blur, '#rrggbb' or a picture or video file")
    return path


@contextmanager
def handed_over(background: Background | None) -> Iterator[Background | None]:
    """A background on its way to the output that will close it; closed here where that output cannot be made."""
    try:
        yield background
    except BaseException:
        if background is not None:
            background.close()
        raise


def composite(cutout: Cutout, background: Background) -> Planes:
    """The head over its background: 4:2:0, at the depth of the background's planes, only the region blended."""
    back = background.behind(cutout)
    x0, y0, x1, y1 = cutout.region_px
    if x1 == x0:
        return back
    own = at_bits(region_planes(cutout), back.bits)
    size = (x1 - x0, y1 - y0)
    y, u, v = back.y.copy(), back.u.copy(), back.v.copy()
    blend(y[y0:y1, x0:x1], own.y, cutout.region_alpha)
    height, width = cutout.region_alpha.shape
    padded = np.pad(cutout.region_alpha, ((0, height % 2), (0, width % 2)), mode="edge")
    lean = cv2.resize(padded, (padded.shape[1] // 2, padded.shape[0] // 2), interpolation=cv2.INTER_AREA)
    for target, plane in ((u, own.u), (v, own.v)):
        chroma = resample_chroma(plane, size, (own.sub_w, own.sub_h), (2, 2))
        blend(target[chroma_index(cutout.region_px, (2, 2))], chroma, lean)
    return Planes(y, u, v, back.colour, bits=back.bits)


def blend(target: Any, front: Any, alpha: UInt8Array) -> None:
    """target += (front - target) alpha / 255, rounded; exact where alpha is 0 or 255."""
    weight = alpha.astype(np.int32)
    mixed = (target * (255 - weight) + front * weight + 127) // 255
    target[:] = mixed.astype(target.dtype)
