"""The track file: every head in every frame of a film, one JSON object a line. docs/track.md describes it for others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from headstream.errors import SourceError
from headstream.types import Float64Array

VERSION = 1
_NO_LINE = (ValueError, KeyError, TypeError, ArithmeticError, RecursionError)  # what reading anything else comes to
_FAR = 8  # longer sides of the film that a head's square may be away, or large
_PLAIN = re.compile(r"-?[0-9]{1,40}([/.][0-9]{1,40})?")
LANDMARKS = ("right eye", "left eye", "nose tip", "mouth", "right ear", "left ear")


@dataclass(frozen=True)
class TrackedHead:
    """One head in one frame, smoothed. Frame pixels, corners at whole numbers, centres of pixels at .5.

    box: x0, y0, x1, y1 of the face.  landmarks: (6, 2), in the order of ``LANDMARKS``.  centre, side: of the upright square
    crop around the head.  roll_deg: how far the head leans, clockwise as seen.  score: 0..1.  seen: whether a detector saw
    the face in this very frame.
    """

    id: int
    box: tuple[float, float, float, float]
    landmarks: Float64Array
    centre: tuple[float, float]
    side: float
    roll_deg: float
    score: float
    seen: bool

    @property
    def crop_from_frame(self) -> Float64Array:
        """(2, 3): frame pixels to the unit square of the crop."""
        scale = 1 / self.side
        return np.array([[scale, 0, 0.5 - self.centre[0] * scale], [0, scale, 0.5 - self.centre[1] * scale]])

    @property
    def frame_from_crop(self) -> Float64Array:
        """(2, 3): the inverse."""
        half = self.side / 2
        return np.array([[self.side, 0, self.centre[0] - half], [0, self.side, self.centre[1] - half]])


@dataclass(frozen=True)
class TrackedFrame:
    """One frame. time_s: from the first frame.  cut: whether a new shot begins with it."""

    index: int
    time_s: Fraction
    cut: bool = False
    heads: tuple[TrackedHead, ...] = ()


@dataclass(frozen=True)
class TrackHeader:
    """What the first line says. source: the film's name.  rate: nominal frames a second."""

    source: str
    size_px: tuple[int, int]
    rate: Fraction


class TrackWriter:
    """Writes a track line by line into a file that is open for text. Raises OSError as the file does."""

    def __init__(self, file: TextIO, header: TrackHeader) -> None:
        self._file = file
        self.frames = 0
        first = {
            "headstream_track": VERSION,
            "source": header.source,
            "size_px": list(header.size_px),
            "rate": str(header.rate),
            "landmarks": list(LANDMARKS),
        }
        self._line(first)

    def write(self, frame: TrackedFrame) -> None:
        """Add one frame."""
        told: dict[str, Any] = {"frame": frame.index, "time_s": str(frame.time_s)}
        if frame.cut:
            told["cut"] = True
        told["heads"] = [_told(head) for head in frame.heads]
        self._line(told)
        self.frames += 1

    def _line(self, told: dict[str, Any]) -> None:
        self._file.write(json.dumps(told, separators=(",", ":")) + "\n")


def _told(head: TrackedHead) -> dict[str, Any]:
    def rounded(values: Any, digits: int) -> Any:
        return np.round(np.asarray(values, np.float64), digits).tolist()

    return {
        "id": head.id,
        "box": rounded(head.box, 3),
        "landmarks": rounded(head.landmarks, 3),
        "centre": rounded(head.centre, 4),
        "side": round(head.side, 4),
        "roll_deg": round(head.roll_deg, 4),
        "crop_from_frame": rounded(head.crop_from_frame, 9),
        "frame_from_crop": rounded(head.frame_from_crop, 6),
        "score": round(head.score, 4),
        "seen": head.seen,
    }


class TrackReader:
    """Reads a track file line by line, in constant memory. Raises SourceError naming the line that is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open(encoding="utf-8-sig") as file:
                first = json.loads(file.readline())
            if first["headstream_track"] != VERSION:
                raise SourceError(f"{path}: track version {first['headstream_track']}; this headstream reads {VERSION}")
            width, height = first["size_px"]
            self.header = TrackHeader(str(first["source"]), (int(width), int(height)), _fraction(first["rate"]))
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
        except _NO_LINE as error:
            raise SourceError(f"{path}: is no track file (its first line must say headstream_track)") from error

    def __iter__(self) -> Iterator[TrackedFrame]:
        farthest = _FAR * max(self.header.size_px)
        with self.path.open(encoding="utf-8-sig") as file:
            next(file)
            number, index = 1, 0
            while True:
                number += 1
                try:
                    line = file.readline()
                    frame = _frame(json.loads(line), index, farthest) if line.strip() else None
                except (*_NO_LINE, OSError) as error:
                    raise SourceError(f"{self.path}, line {number}: is no frame of a track ({error})") from error
                if frame is not None:
                    yield frame
                    index += 1
                elif not line:
                    return


def _frame(told: dict[str, Any], index: int, farthest: float) -> TrackedFrame:
    if told["frame"] != index:
        raise ValueError(f"frame {told['frame']} where {index} follows")
    heads = tuple(_head(head, farthest) for head in told["heads"])
    if len({head.id for head in heads}) < len(heads):
        raise ValueError("a head is in it twice")
    return TrackedFrame(int(told["frame"]), _fraction(told["time_s"]), bool(told.get("cut", False)), heads)


def _fraction(told: Any) -> Fraction:
    """Of text only what a track is written with: of "1e99999999" the number itself would be made."""
    if isinstance(told, str) and not _PLAIN.fullmatch(told):
        raise ValueError(f"{told[:40]!r} is no fraction")
    return Fraction(told)


def _head(told: dict[str, Any], farthest: float) -> TrackedHead:
    x0, y0, x1, y1 = map(float, told["box"])
    cx, cy = map(float, told["centre"])
    landmarks = np.array(told["landmarks"], np.float64).reshape(len(LANDMARKS), 2)
    side, roll_deg = float(told["side"]), float(told["roll_deg"])
    if side < 1 or not np.isfinite([x0, y0, x1, y1, cx, cy, side, roll_deg, *landmarks.ravel()]).all():
        raise ValueError("sides must be 1 px or more, and all numbers finite")
    if x1 < x0 or y1 < y0:
        raise ValueError("a face's box has its corners the wrong way round")
    if max(side, abs(cx), abs(cy)) > farthest:
        raise ValueError(f"a square {side:g} px wide around {cx:g}, {cy:g} is far beyond the film's picture")
    return TrackedHead(
        int(told["id"]),
        (x0, y0, x1, y1),
        landmarks,
        (cx, cy),
        side,
        roll_deg,
        float(told["score"]),
        bool(told["seen"]),
    )
