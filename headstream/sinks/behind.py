"""The pictures that a head can be put on: a colour, a picture, a checkerboard, the scene out of focus, a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from headstream.shared.colour import planes_from_rgb
from headstream.shared.tone import as_filmed, as_shown
from headstream.sinks.pack import RGB_AS_YUV
from headstream.types import Colour, Cutout, Planes, UInt8Array

_CATCH_UP_S = 5


class Background(Protocol):
    """Gives the picture behind a cut-out, in the colours and planes of that cut-out's frame."""

    def behind(self, cutout: Cutout) -> Planes: ...
    def close(self) -> None: ...


def colour_like(cutout: Cutout) -> Colour:
    """The colour tags an opaque output of this frame gets."""
    return RGB_AS_YUV if cutout.frame.planes is None else cutout.frame.planes.colour


def covering(picture: UInt8Array, size_px: tuple[int, int]) -> UInt8Array:
    """A picture scaled and cropped about its middle to fill ``size_px``, never stretched."""
    width, height = size_px
    scale = max(width / picture.shape[1], height / picture.shape[0])
    grown = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    resized = cv2.resize(picture, grown, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = (grown[0] - width) // 2, (grown[1] - height) // 2
    return np.ascontiguousarray(resized[y : y + height, x : x + width])


class FixedPicture:
    """One picture behind every frame; (1, 1, 3) is a plain colour. own: what its R'G'B' was taken from, where it may be HDR."""

    def __init__(self, rgb: UInt8Array, own: Planes | UInt8Array | None = None) -> None:
        self._rgb, self._own = rgb, rgb if own is None else own
        self._planes: Planes | None = None
        self._key: Any = None

    def behind(self, cutout: Cutout) -> Planes:
        """The picture at the frame's size, converted once."""
        key = (cutout.frame.size_px, colour_like(cutout))
        if self._planes is None or key != self._key:
            self._planes = planes_from_rgb(self._in_codes_of(key[1], key[0]), key[1], sub=(2, 2))
            self._key = key
        return self._planes

    def _in_codes_of(self, colour: Colour, size_px: tuple[int, int]) -> UInt8Array:
        rgb = covering(self._rgb, size_px)
        if isinstance(self._own, Planes) and self._own.colour.transfer_code == colour.transfer_code:
            return rgb
        return as_filmed(as_shown(rgb, self._own), colour)

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class ShownBackground:
    """Which of several backgrounds is shown; may be changed from any thread."""

    index: int = 0


class SwitchedBackground:
    """One of several backgrounds, whichever ``choice`` says at the moment; every output has its own of these."""

    def __init__(self, backgrounds: Sequence[Background], choice: ShownBackground) -> None:
        self._backgrounds, self._choice = tuple(backgrounds), choice

    def behind(self, cutout: Cutout) -> Planes:
        """The chosen one's picture."""
        return self._backgrounds[self._choice.index % len(self._backgrounds)].behind(cutout)

    def close(self) -> None:
        """Close them all."""
        for background in self._backgrounds:
            background.close()


def checkerboard(size_px: tuple[int, int], cell: int | None = None) -> UInt8Array:
    """(H, W) uint8: grey squares of ``cell`` pixels, or of what suits the size."""
    width, height = size_px
    cell = cell or max(8, max(size_px) // 48)
    ys, xs = np.ogrid[:height, :width]
    return np.where((ys // cell + xs // cell) % 2, 200, 235).astype(np.uint8)


class Checkerboard:
    """Grey squares, as editors show what is transparent."""

    def __init__(self) -> None:
        self._picture: FixedPicture | None = None
        self._size_px = (0, 0)

    def behind(self, cutout: Cutout) -> Planes:
        """The squares at the frame's size, made once."""
        if self._picture is None or self._size_px != cutout.frame.size_px:
            self._size_px = cutout.frame.size_px
            self._picture = FixedPicture(cv2.cvtColor(checkerboard(self._size_px), cv2.COLOR_GRAY2RGB))
        return self._picture.behind(cutout)

    def close(self) -> None:
        """Nothing to free."""


class OutOfFocus:
    """Blurs what belongs to one picture, at an eighth of its size: that is all a blur holds. hidden: (H, W) uint8, 255 for what
    is left out so that no halo of it remains."""

    def __init__(self, hidden: UInt8Array) -> None:
        height, width = hidden.shape
        self._small = (max(2, width // 8), max(2, height // 8))
        self._sigma = max(self._small) / 40
        self._keep = 1 - cv2.resize(hidden, self._small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        self._weight = self._soft(self._keep) + 1e-3
        shown = self._keep + 1e-6  # of a picture that is hidden altogether, all counts alike
        self._share = shown / float(shown.sum())

    def blurred(self, plane: Any, size_px: tuple[int, int], bits: int = 8) -> Any:
        """A plane of the picture, (h, w) of any size, as soft as the others and as large as asked."""
        lean = cv2.resize(plane, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean = np.sum(lean * self._share)  # far from all that is shown
        soft = (self._soft(lean * self._keep) + 1e-3 * mean) / self._weight
        full = cv2.resize(soft, size_px, interpolation=cv2.INTER_LINEAR)
        full += 0.5
        return np.clip(full, 0, (1 << bits) - 1, out=full).astype(plane.dtype)

    def _soft(self, lean: Any) -> Any:
        return cv2.GaussianBlur(lean, (0, 0), self._sigma)


class BlurredScene:
    """The frame itself out of focus, without the head."""

    def behind(self, cutout: Cutout) -> Planes:
        """The blurred scene."""
        width, height = cutout.frame.size_px
        planes = cutout.frame.planes
        if planes is None:
            planes = planes_from_rgb(cutout.frame.rgb, RGB_AS_YUV, sub=(2, 2))
        lens, chroma_size = OutOfFocus(cutout.alpha), (-(-width // 2), -(-height // 2))
        y = lens.blurred(planes.y, (width, height), planes.bits)
        u, v = (lens.blurred(plane, chroma_size, planes.bits) for plane in (planes.u, planes.v))
        return Planes(y, u, v, planes.colour, bits=planes.bits)

    def close(self) -> None:
        """Nothing to free."""


class VideoBackground:
    """A video behind the head, at its own pace, from the start again when it ends."""

    def __init__(self, path: Path, open_frames: Any) -> None:
        self._path, self._open = path, open_frames
        self._source: Any = None
        self._frames: Iterator[Any] = iter(())
        self._from = Fraction(0)  # the clip's time at which this pass of the background began
        self._lasts = Fraction(1)  # how long the frame before ``_next`` is to be seen, and the last one, too
        self._shown: Any = None
        self._next: Any = None
        self._picture: tuple[Any, FixedPicture] | None = None  # of a frame: outputs may have several to each
        self._restart(Fraction(0))

    def _restart(self, at: Fraction) -> None:
        if self._source is not None:
            self._source.close()
        self._source = self._open(self._path)
        self._frames = iter(self._source)
        self._next = next(self._frames)
        self._from = at - self._next.pts

    def behind(self, cutout: Cutout) -> Planes:
        """The background's frame for the cut-out's time."""
        now = cutout.frame.pts
        if self._next is not None and now - self._from - self._next.pts > _CATCH_UP_S:
            self._from = now - self._next.pts  # not shown for a while: it goes on where it was
        while (due := self._due()) <= now:
            if self._next is None:
                self._restart(due if now - due <= _CATCH_UP_S else now)
            else:
                self._advance()
        shown = self._shown if self._shown is not None else self._next
        if self._picture is None or self._picture[0] is not shown:
            self._picture = (shown, FixedPicture(shown.rgb, shown.picture))
        return self._picture[1].behind(cutout)

    def _due(self) -> Fraction:
        """The clip's time at which the next frame is to be shown, or, after the last one, the next pass to begin."""
        if self._next is None:
            return self._from + self._shown.pts + self._lasts
        return self._from + self._next.pts

    def _advance(self) -> None:
        self._shown, self._next = self._next, next(self._frames, None)
        if self._next is not None:
            self._lasts = self._next.pts - self._shown.pts

    def snapshot(self) -> tuple[Fraction, int]:
        """Where it has got to: when this pass began, and which frame comes next."""
        return self._from, self._shown.index + 1 if self._next is None else self._next.index

    def restore(self, snapshot: tuple[Fraction, int]) -> None:
        """Go on where a ``snapshot`` was taken."""
        begun, following = snapshot
        self._restart(begun)
        self._from = begun
        while self._next is not None and self._next.index < following:
            self._advance()

    def close(self) -> None:
        """Free the decoder."""
        self._source.close()
