"""Pictures of another shape, or of another kind of pixels, than the first: outputs cannot change to them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial

from headstream.shared.colour import planes_from_rgb
from headstream.shared.letterbox import letterboxed
from headstream.types import Colour, Frame

Pixels = tuple[Colour, int, tuple[int, int]]  # how Y, U and V are read, their bits, chroma subsampling (w, h)


def pixels_of(frame: Frame) -> Pixels | None:
    """The kind of pixels a frame has; None of R'G'B'."""
    planes = frame.planes
    return None if planes is None else (planes.colour, planes.bits, (planes.sub_w, planes.sub_h))


def read_alike(pixels: Pixels | None, others: Pixels | None) -> bool:
    """Whether numbers mean the same colours in both. What a source tells of primaries it may tell a frame later."""
    if pixels is None or others is None:
        return pixels is others
    (colour, *kind), (other, *others_kind) = pixels, others
    return (colour.matrix, colour.full_range, kind) == (other.matrix, other.full_range, others_kind)


def shaped_alike(size_px: tuple[int, int], other_px: tuple[int, int], aspect: Fraction) -> bool:
    """Whether a picture fills the other's place, within a hundredth, where it is scaled and not stretched. aspect: width to
    height of its pixels, seen from those of the other."""
    (width, height), (other_width, other_height) = size_px, other_px
    return abs(width * aspect * other_height / (height * other_width) - 1) < Fraction(1, 100)


def fitted(frame: Frame, size_px: tuple[int, int], pixels: Pixels | None, aspect: Fraction = Fraction(1)) -> Frame:
    """The same frame at the size, and with the kind of pixels, of others. aspect: as of ``shaped_alike``."""
    around = partial(letterboxed, size_px=size_px, aspect=float(aspect))
    rgb, planes, alpha = around(frame.rgb), None, frame.alpha
    own = None if frame.planes is None else frame.planes.alpha
    if pixels is not None:
        colour, bits, sub = pixels
        planes = planes_from_rgb(rgb, colour, bits=bits, sub=sub)
        if own is not None and own.dtype == planes.y.dtype:
            planes = replace(planes, alpha=around(own))
        rgb = None
    return frame.showing(rgb, planes=planes, alpha=None if alpha is None else around(alpha))
