"""The square a head clip is cut from, frame by frame: a track, stabilised as asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from headstream.dub.trackfile import TrackedFrame, TrackedHead, TrackReader
from headstream.errors import UsageError
from headstream.types import Float64Array

Stabilise = Literal["full", "position", "none"]
STABILISE: tuple[Stabilise, ...] = ("full", "position", "none")
_BRIDGE_S = 1.0  # gaps in a head's track up to this long, within a shot, are bridged


@dataclass(frozen=True)
class Square:
    """A square in a frame. centre: of it, frame pixels.  side: pixels.  roll_deg: how far it leans, clockwise as seen."""

    centre: tuple[float, float]
    side: float
    roll_deg: float = 0.0

    @property
    def frame_from_unit(self) -> Float64Array:
        """(3, 3): the unit square of the clip to frame pixels, corners of pixels at whole numbers."""
        angle = np.radians(self.roll_deg)
        turn = self.side * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.eye(3)
        matrix[:2, :2] = turn
        matrix[:2, 2] = np.array(self.centre) - turn @ (0.5, 0.5)
        return matrix

    def around(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the upright box around it."""
        corners = self.frame_from_unit @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], float)
        (x0, y0), (x1, y1) = corners[:2].min(axis=1), corners[:2].max(axis=1)
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True)
class Placed:
    """One frame of a path. square, head: None where the head is not in it."""

    index: int
    time_s: Fraction
    shot: int
    square: Square | None
    head: TrackedHead | None


def chosen_head(track: TrackReader, wanted: int | None) -> int:
    """The number of the head to follow: the one asked for, or the only one there is. Raises UsageError listing them."""
    counts: Counter[int] = Counter(head.id for frame in track for head in frame.heads)
    there = ", ".join(f"{id_} (in {count} frames)" for id_, count in sorted(counts.items()))
    if not counts:
        raise UsageError(f"{track.path}: there is no head in this track")
    if wanted is None and len(counts) > 1:
        raise UsageError(f"{track.path} has several heads: {there}; choose one with --head")
    if wanted is not None and wanted not in counts:
        raise UsageError(f"--head {wanted}: {track.path} has no such head; it has {there}")
    return next(iter(counts)) if wanted is None else wanted


def head_path(frames: Iterable[TrackedFrame], id_: int, stabilise: Stabilise) -> list[Placed]:
    """Where the clip of head ``id_`` is cut, for every frame.

    "full": the square follows the head's place, size and lean.  "position": its place; the size stays that of the largest
    moment of each stay in the picture, upright.  "none": it stands still for each stay, around the whole of its path.
    A stay ends at a cut and where the head is away for more than a second; shorter gaps are bridged in a straight line.
    """
    placed: list[Placed] = []
    shot = 0
    for frame in frames:
        shot += frame.cut
        head = next((head for head in frame.heads if head.id == id_), None)
        square = None if head is None else Square(head.centre, head.side, head.roll_deg)
        placed.append(Placed(frame.index, frame.time_s, shot, square, head))
    for start, end in _stays(placed):
        stay = _bridged(placed[start:end])
        squares = [frame.square for frame in stay if frame.square is not None]
        placed[start:end] = [
            replace(frame, square=square) for frame, square in zip(stay, _held(squares, stabilise), strict=True)
        ]
    return placed


def _stays(placed: list[Placed]) -> list[tuple[int, int]]:
    """(first, after the last) of each run of frames with the head, short gaps within a shot included."""
    runs: list[tuple[int, int]] = []
    for at, frame in enumerate(placed):
        if frame.square is None:
            continue
        if runs:
            before = placed[runs[-1][1] - 1]
            if before.shot == frame.shot and frame.time_s - before.time_s <= _BRIDGE_S:
                runs[-1] = (runs[-1][0], at + 1)
                continue
        runs.append((at, at + 1))
    return runs


def _bridged(stay: list[Placed]) -> list[Placed]:
    """A stay with its gaps filled in a straight line."""
    known = [k for k, frame in enumerate(stay) if frame.head is not None]
    if len(known) == len(stay):
        return stay
    times = np.array([float(frame.time_s) for frame in stay])
    heads = [frame.head for frame in stay if frame.head is not None]
    values = np.array([[*h.box, *h.landmarks.ravel(), *h.centre, h.side, h.roll_deg] for h in heads])
    filled = np.stack([np.interp(times, times[known], column) for column in values.T], axis=1).tolist()
    return [
        frame if frame.head is not None else _between(frame, row, heads[0])
        for frame, row in zip(stay, filled, strict=True)
    ]


def _between(frame: Placed, row: list[float], like: TrackedHead) -> Placed:
    box, points, centre = row[:4], np.array(row[4:16]).reshape(6, 2), (row[16], row[17])
    head = TrackedHead(like.id, (box[0], box[1], box[2], box[3]), points, centre, row[18], row[19], 0.0, False)
    return replace(frame, square=Square(centre, row[18], row[19]), head=head)


def _held(stay: list[Square], stabilise: Stabilise) -> list[Square]:
    """The squares of one stay, as stabilised."""
    if stabilise == "full":
        return stay
    if stabilise == "position":
        side = max(square.side for square in stay)
        return [Square(square.centre, side) for square in stay]
    boxes = np.array([(s.centre[0] - s.side / 2, s.centre[1] - s.side / 2, s.side) for s in stay])
    low = boxes[:, :2].min(axis=0)
    high = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    middle = (low + high) / 2
    return [Square((float(middle[0]), float(middle[1])), float((high - low).max()))] * len(stay)
