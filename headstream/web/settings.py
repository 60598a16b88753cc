"""What the page's controls mean. Their values come from outside, so each is checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any

from headstream.choice import Heads
from headstream.errors import UsageError
from headstream.matte.refine import MatteOptions
from headstream.pipeline import CutOptions
from headstream.shared.colour import parse_colour
from headstream.track.terms import TrackOptions
from headstream.types import Part


@dataclass(frozen=True)
class Settings:
    """The sliders. Ranges in ``_RANGES``.

    padding: side of the crop in head sides.  smoothing: share of the moved last matte in the new one.  feather: width of
    the soft edge in alpha.  threshold: alpha at its middle.  spill: whether the background's light is taken out of the
    edge.  hair_color: "" or '#rrggbb'.  hq: of photos, hair strand by strand, in its own colour.
    """

    padding: float = 1.25
    smoothing: float = 0.7
    feather: float = 0.7
    threshold: float = 0.5
    spill: bool = True
    part: Part = "head"
    heads: Heads = "largest"
    mirror: bool = False
    hair_color: str = ""
    hq: bool = False

    def options(self, *, photo: bool = False) -> CutOptions:
        """As the pipeline takes them, which knows of ``hq`` for photos alone. Raises UsageError."""
        strands = self.hq and photo
        if strands and self.hair_color:
            raise UsageError("hair strand by strand keeps its own colour: take one of the two ticks away")
        half = self.feather / 2
        low, high = max(0.0, self.threshold - half), min(1.0, self.threshold + half)
        hair = parse_colour(self.hair_color, "hair_color") if self.hair_color else None
        matte = MatteOptions(
            stability=self.smoothing, low=low, high=high, spill=self.spill, hair_color=hair, strands=strands
        )
        return CutOptions(heads=self.heads, part=self.part, matte=matte, track=TrackOptions(room=self.padding))


_RANGES = {"padding": (1.05, 2.0), "smoothing": (0.0, 0.95), "feather": (0.05, 1.0), "threshold": (0.2, 0.8)}


def read_settings(text: str | None) -> Settings:
    """Settings from the page's JSON, as text; None for a message that is none. Raises UsageError."""
    try:
        if text is not None and len(text) < 10_000:
            return parse_settings(json.loads(text))
    except (ValueError, RecursionError):  # of brackets in brackets
        pass
    raise UsageError("a message that is no JSON")


def parse_settings(told: Any) -> Settings:
    """Settings from the page's JSON; what it leaves out keeps its default. Raises UsageError."""
    if not isinstance(told, dict):
        raise UsageError("settings must be an object")
    known = {field.name for field in fields(Settings)}
    if strange := sorted(set(map(str, told)) - known):
        raise UsageError(f"unknown setting {strange[0][:40]!r}; known: {', '.join(sorted(known))}")
    return Settings(**{name: _checked(name, value) for name, value in told.items()})


def _checked(name: str, value: Any) -> Any:
    if name in _RANGES:
        low, high = _RANGES[name]
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if good and low <= value <= high:  # never true of what is not finite
            return float(value)
        raise UsageError(f"{name} must be a number from {low} to {high}")
    if name in {"spill", "mirror", "hq"}:
        good = isinstance(value, bool)
    elif name == "hair_color":
        good = isinstance(value, str) and re.fullmatch(r"(#[0-9a-fA-F]{6})?", value) is not None
    elif name == "part":
        good = value in ("head", "hair")
    else:
        good = value in ("largest", "all") or (
            isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6
        )
    if not good:
        raise UsageError(f"{name} cannot be {str(value)[:40]!r}")
    return value
