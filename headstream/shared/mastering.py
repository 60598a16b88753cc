"""What an HDR film tells of the screen it was made on, which screens that show it go by (SMPTE ST 2086, CTA-861.3)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Point = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Mastering:
    """primaries: x and y of red, green, blue and white (CIE 1931).  luminance: the least and the most, in candelas per square
    metre.  light: of the brightest pixel and of the brightest frame's mean, in the same. None for what is not told."""

    primaries: tuple[Point, Point, Point, Point] | None = None
    luminance: tuple[Fraction, Fraction] | None = None
    light: tuple[int, int] | None = None
