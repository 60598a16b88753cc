"""Small line and point charts as SVG that take their colours from the page, so that they suit light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from headstream.types import Box

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 14, 44
_DOT, _LETTER = 5, 6.5  # radius of a dot; width of a label's letter, on average, where letters are wide
COLOURS = 8  # the style sheet has as many classes s0, s1, ...


@dataclass(frozen=True)
class Series:
    """Points (x, y) under one name; ``number`` chooses the colour. line: joined, or dots with the name beside them."""

    name: str
    points: tuple[tuple[float, float], ...]
    number: int = 0
    line: bool = True


def chart(series: Sequence[Series], *, x: str, y: str, log_x: bool = False, diagonal: bool = False) -> str:
    """An <svg> element. ``x``, ``y``: what the axes say. Points that are not finite are left out."""
    series = [_finite(s) for s in series]
    xs = [p[0] for s in series for p in s.points] + ([0.0, 1.0] if diagonal else [])
    ys = [p[1] for s in series for p in s.points] + ([0.0, 1.0] if diagonal else [])
    if not xs:
        return ""
    across, up = _Axis(xs, _LEFT, WIDTH - _RIGHT, log=log_x), _Axis(ys, HEIGHT - _BOTTOM, _TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y)} by {escape(x)}">']
    for value in across.ticks:
        at = across(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{_number(value)}</text>')
    for value in up.ticks:
        at = up(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    if diagonal:
        parts.append(
            f'<line class="ideal" x1="{across(0):.1f}" y1="{up(0):.1f}" x2="{across(1):.1f}" y2="{up(1):.1f}"/>'
        )
    parts += [_drawn(s, across, up) for s in series]
    dots = [(s.name, across(px), up(py)) for s in series if not s.line for px, py in s.points]
    parts += _labels(dots)
    return "".join([*parts, "</svg>"])


def _finite(series: Series) -> Series:
    points = tuple(p for p in series.points if math.isfinite(p[0]) and math.isfinite(p[1]))
    return Series(series.name, points, series.number, series.line)


def _drawn(series: Series, across: _Axis, up: _Axis) -> str:
    kind = f"s{series.number % COLOURS}"
    places = [(across(px), up(py)) for px, py in series.points]
    title = f"<title>{escape(series.name)}</title>"
    if series.line:
        return f'<polyline class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}">{title}</polyline>'
    return "".join(f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="{_DOT}">{title}</circle>' for a, b in places)


def _labels(dots: Sequence[tuple[str, float, float]]) -> list[str]:
    """Names (name, x, y) beside, above or below their dots. One that finds no room is left out: its dot tells it when pointed
    at, and so does its colour in the table."""
    labels = []
    taken = [(a - _DOT, b - _DOT, a + _DOT, b + _DOT) for _, a, b in dots]
    for name, a, b in dots:
        width = _LETTER * len(name)
        middle = min(max(a - width / 2, _LEFT), WIDTH - width)
        places = ((a + 8, b + 4), (a - 8 - width, b + 4), (middle, b - 9), (middle, b + 16))
        for left, base in places:
            box = (left, base - 9, left + width, base + 3)
            if left >= _LEFT and box[2] <= WIDTH and box[1] >= 0 and not any(_meet(box, other) for other in taken):
                taken.append(box)
                at, anchor = (left + width, "end") if left + width / 2 < a else (left, "start")
                labels.append(f'<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
                break
    return labels


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


class _Axis:
    """Values to pixels, with about five round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool = False) -> None:
        self._log = log
        low, high = min(values), max(values)
        if log:
            low, high = math.log10(max(low, 1e-3)), math.log10(max(high, 1e-3))
            low, high = low - 0.15, high + 0.15
            self.ticks = [v * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for v in (1, 2, 5)]
            self.ticks = [t for t in self.ticks if low <= math.log10(t) <= high]
        else:
            pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
            low, high = low - pad, high + pad
            step = _round_step((high - low) / 5)
            self.ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        self._low, self._scale, self._start = low, (end - start) / (high - low), start

    def __call__(self, value: float) -> float:
        position = math.log10(max(value, 1e-3)) if self._log else value
        return self._start + (position - self._low) * self._scale


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m for m in (1, 2, 5, 10) if step <= m * power * 1.0001) * power


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
