"""Pictures of results: what was taken for head, where it is wrong, many of them on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from headstream.shared.colour import PAD
from headstream.shared.letterbox import letterboxed
from headstream.types import UInt8Array

_TINT = (40, 200, 120)
_WRONGLY_IN, _WRONGLY_OUT = (230, 60, 40), (40, 110, 240)
_CAPTION_PX = 18


def overlaid(rgb: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """The picture, (H, W, 3) uint8, tinted green where alpha, (H, W) uint8, is; the rest dimmed."""
    a = alpha.astype(np.float32)[..., None] / 255
    tinted = 0.65 * rgb + 0.35 * np.array(_TINT, np.float32)
    return (tinted * a + rgb * 0.35 * (1 - a) + 0.5).astype(np.uint8)


def error_map(rgb: UInt8Array, alpha: UInt8Array, truth: UInt8Array, known: UInt8Array) -> UInt8Array:
    """Grey picture; red where too much was taken, blue where too little, as strongly as alpha is off."""
    grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * np.float32(0.45)
    difference = (alpha.astype(np.float32) - truth) / 255 * (known > 0)
    for sign, colour in ((1, _WRONGLY_IN), (-1, _WRONGLY_OUT)):
        weight = np.clip(sign * difference, 0, 1)[..., None]
        grey = grey * (1 - weight) + np.array(colour, np.float32) * weight
    return (grey + 0.5).astype(np.uint8)


def contact_sheet(rows: Sequence[Sequence[tuple[str, UInt8Array]]], side: int = 192) -> UInt8Array:
    """All pictures on one, a row each, with their captions below them. (H, W, 3) uint8."""
    widest = max(len(row) for row in rows)
    sheet: UInt8Array = np.full((len(rows) * (side + _CAPTION_PX), widest * side, 3), 24, np.uint8)
    for r, row in enumerate(rows):
        top = r * (side + _CAPTION_PX)
        for c, (caption, rgb) in enumerate(row):
            sheet[top : top + side, c * side : (c + 1) * side] = letterboxed(rgb, (side, side), PAD)
            place = (c * side + 4, top + side + 13)
            cv2.putText(sheet, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return sheet
