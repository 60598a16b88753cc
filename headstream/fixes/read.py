"""The file of corrections (docs/fixes.md): read, and refused before any work where something in it cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from headstream.errors import SourceError, UsageError
from headstream.shared.imagefile import decoded
from headstream.types import UInt8Array

_KEYS = {"time", "frame", "mask", "click", "head", "spread_s"}
_CLOCK = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,2}):)?(\d{1,2}(?:\.\d+)?)")
_LONGEST_S = 3.0  # frames are held back as long as a correction spreads
_SPREAD_S = 0.5
_LARGEST = 10**12  # of numbers: JSON has longer ones than floats can be, and some that are none
_SLACK_S = 1.0  # a container's own length may be off by this much


@dataclass(frozen=True)
class Click:
    """A point of the picture, in pixels, and whether what is there belongs to the head."""

    x: float
    y: float
    kind: Literal["head", "not"]


@dataclass(frozen=True)
class Fix:
    """One correction. number: its place in the file, from 1.  frame: or None where ``time_s`` says when it is.

    mask, click: one of them.  head: whose, or None.  spread_s: how far it reaches before and after.
    """

    number: int
    time_s: float
    frame: int | None = None
    mask: Path | None = None
    click: Click | None = None
    head: int | None = None
    spread_s: float = _SPREAD_S


@dataclass(frozen=True)
class Film:
    """What a correction has to fit. frames: how many there are, 0 if the file does not say.  times_s: when each is shown, from
    the first, where that is known: rates are nominal, and some are guessed."""

    size_px: tuple[int, int]
    rate: Fraction
    frames: int = 0
    times_s: Sequence[float] = ()

    @property
    def length_s(self) -> float:
        """Until the end of the last frame."""
        return float(self.times_s[-1] + 1 / self.rate if self.times_s else self.frames / self.rate)


def read_fixes(path: Path, film: Film) -> list[Fix]:
    """The corrections of a file, in order of time. Raises UsageError for the first that cannot be."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    if not isinstance(listed, list):
        raise UsageError(f"{path}: expected a list of corrections, [...]")
    fixes = []
    for number, entry in enumerate(listed, 1):
        try:
            fixes.append(_fix(number, entry, path.parent, film))
        except _Wrong as wrong:
            raise UsageError(f"{path}: correction {number}: {wrong}") from wrong
    return sorted(fixes, key=lambda fix: (fix.time_s, fix.number))


class _Wrong(Exception):
    """What is wrong with a correction."""


def _fix(number: int, entry: Any, folder: Path, film: Film) -> Fix:
    if not isinstance(entry, dict):
        raise _Wrong('expected an object, like {"frame": 120, "mask": "120.png"}')
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise _Wrong(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    for one, other in (("time", "frame"), ("mask", "click")):
        if (one in entry) == (other in entry):
            raise _Wrong(f"needs either {one!r} or {other!r}")
    head = entry.get("head")
    if head is not None and not (_whole(head) and head > 0):
        raise _Wrong(f"head {head!r}: expected a person's number (1, 2, ...)")
    spread = entry.get("spread_s", _SPREAD_S)
    if not (_number(spread) and 0 <= spread <= _LONGEST_S):
        raise _Wrong(f"spread_s {spread!r}: expected seconds from 0 to {_LONGEST_S:g}")
    time_s, frame = _place(entry, film)
    mask = _mask(folder, entry["mask"], film) if "mask" in entry else None
    click = _click(entry["click"], film) if "click" in entry else None
    return Fix(number, time_s, frame, mask, click, head, float(spread))


def _place(entry: dict[str, Any], film: Film) -> tuple[float, int | None]:
    if "frame" in entry:
        frame = entry["frame"]
        if not (_whole(frame) and frame >= 0):
            raise _Wrong(f"frame {frame!r}: expected a number from 0")
        if film.frames and frame >= film.frames + _SLACK_S * film.rate:
            raise _Wrong(f"frame {frame} is not in the film, which has {film.frames}")
        return film.times_s[frame] if frame < len(film.times_s) else float(frame / film.rate), frame
    time_s = _seconds(entry["time"])
    if film.frames and time_s > film.length_s + _SLACK_S:
        raise _Wrong(f"time {entry['time']} is not in the film, which is {film.length_s:.3f} s long")
    return time_s, None


def _seconds(given: Any) -> float:
    if _number(given) and given >= 0:
        return float(given)
    match = _CLOCK.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise _Wrong(f"time {given!r}: expected seconds, or h:mm:ss.mmm in quotes")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + float(match[3])


def _mask(folder: Path, name: Any, film: Film) -> Path:
    if not isinstance(name, str) or not name:
        raise _Wrong(f"mask {name!r}: expected the name of a PNG")
    path = folder / name
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise _Wrong(f"mask {name}: no such file beside the corrections")
    height, width = read_mask(path).shape
    if (width, height) != film.size_px:
        raise _Wrong(f"mask {name}: is {width}x{height}, but the film is shown at {film.size_px[0]}x{film.size_px[1]}")
    return path


def read_mask(path: Path) -> UInt8Array:
    """(H, W) uint8 of a picture whose white is head; what is transparent in it is not. Raises UsageError."""
    try:
        pixels = decoded(path, cv2.IMREAD_UNCHANGED)
    except SourceError as error:
        raise UsageError(str(error)) from error
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    elif pixels.dtype != np.uint8:
        raise UsageError(f"{path}: holds {pixels.dtype} numbers; a mask is a picture of 8 or 16 bits, such as a PNG")
    if pixels.ndim == 2:
        return pixels
    grey = cv2.cvtColor(pixels[..., :3].copy(), cv2.COLOR_BGR2GRAY)
    return cv2.multiply(grey, pixels[..., 3].copy(), scale=1 / 255) if pixels.shape[2] == 4 else grey


def _click(given: Any, film: Film) -> Click:
    right = isinstance(given, list) and len(given) == 3 and _number(given[0]) and _number(given[1])
    if not right or given[2] not in ("head", "not"):
        raise _Wrong(f'click {json.dumps(given)}: expected [x, y, "head"] or [x, y, "not"]')
    width, height = film.size_px
    if not (0 <= given[0] < width and 0 <= given[1] < height):
        raise _Wrong(f"click {given[0]:g}, {given[1]:g} lies outside of the picture, {width}x{height}")
    return Click(float(given[0]), float(given[1]), given[2])


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST
