"""The picture of a photo's head: on nothing, or before a colour, the blurred photo or a picture; no larger than the head, if so
asked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.named import PHOTOS
from headstream.capture.photo import Photo, in_profile, read_photo
from headstream.errors import SourceError
from headstream.shared.tone import as_shown
from headstream.sinks.background import blend, parse_background
from headstream.sinks.behind import OutOfFocus, covering
from headstream.types import Cutout, Region, UInt8Array

_STRIP = 256  # rows that are mixed at a time: large photos would take gigabytes


@dataclass(frozen=True)
class HeadPicture:
    """pixels: (h, w, 4) uint8 straight RGBA, or (h, w, 3) where something is behind the head.  box_px: where in the photo."""

    pixels: UInt8Array
    box_px: Region


class HeadPictures:
    """Makes them. background: "transparent", a colour '#rrggbb', "blur", or a file: a picture, or a film, of which the first
    frame is taken; scaled to fill the photo, and cropped about its middle.  trim: no larger than what there is of the heads.

    Raises UsageError, SourceError for what cannot be a background.
    """

    def __init__(self, background: str = "transparent", *, trim: bool = False) -> None:
        wanted = parse_background(background)
        self._trim, self._blur, self._behind = trim, wanted == "blur", None
        if isinstance(wanted, Path):
            self._behind = _picture(wanted)
        elif isinstance(wanted, tuple):
            self._behind = Photo(np.array([[wanted]], np.uint8), None, None)

    def of(self, photo: Photo, cutout: Cutout) -> HeadPicture:
        """That of a photo which was cut, in the photo's own colour profile."""
        box = _box(cutout) if self._trim else (0, 0, *cutout.frame.size_px)
        x0, y0, x1, y1 = box
        if self._blur:
            pixels = _before(cutout, _blurred(photo, cutout))
        elif self._behind is not None:
            behind = in_profile(self._behind.rgb, self._behind.icc, photo.icc)
            pixels = _before(cutout, covering(behind, cutout.frame.size_px))
        else:
            pixels = cutout.rgba()
        return HeadPicture(np.ascontiguousarray(pixels[y0:y1, x0:x1]), box)


def _picture(path: Path) -> Photo:
    if path.suffix.lower() in PHOTOS:
        return read_photo(path, least_px=1)
    with closing(FileSource(path)) as film:
        first = next(iter(film), None)
    if first is None:
        raise SourceError(f"{path}: has no pictures")
    return Photo(as_shown(first.rgb, first.picture), None, None)


def _box(cutout: Cutout) -> Region:
    """All that is not fully transparent; where all of it is, the whole photo."""
    x0, y0, _, _ = cutout.region_px
    rows, columns = (np.flatnonzero(cutout.region_alpha.any(axis=axis)) for axis in (1, 0))
    if not len(rows):  # a face is in it, but the photo's own transparency shows nothing of that
        return (0, 0, *cutout.frame.size_px)
    return (x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1)


def _blurred(photo: Photo, cutout: Cutout) -> UInt8Array:
    """The photo out of focus, without the heads and without what it shows nothing of itself."""
    hidden = cutout.alpha if photo.alpha is None else np.maximum(cutout.alpha, 255 - photo.alpha)
    lens, blurred = OutOfFocus(hidden), np.empty_like(photo.rgb)
    for channel in range(3):
        blurred[..., channel] = lens.blurred(photo.rgb[..., channel], cutout.frame.size_px)
    return blurred


def _before(cutout: Cutout, behind: UInt8Array) -> UInt8Array:
    x0, y0, x1, y1 = cutout.region_px
    region, front, alpha = behind[y0:y1, x0:x1], cutout.region_rgb(), cutout.region_alpha[..., None]
    for row in range(0, y1 - y0, _STRIP):
        rows = slice(row, row + _STRIP)
        blend(region[rows], front[rows], alpha[rows])
    return behind
