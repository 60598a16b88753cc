"""Which frame of a clip belongs to which frame of the film."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from headstream.errors import SourceError, UsageError
from headstream.types import Frame


@dataclass(frozen=True)
class Length:
    """How long a video is. seconds: from its first frame to the end of its last."""

    frames: int
    seconds: Fraction


def pairing_rule(film: Length, clip: Length, clip_path: Path) -> str:
    """How frames are paired: "frame by frame" if there are as many, "by time" if the lengths agree within a frame's time
    (or a hundredth). Raises UsageError, telling both lengths, if they do not."""
    if clip.frames == film.frames:
        return "frame by frame"
    frame_s = film.seconds / max(1, film.frames)
    if abs(clip.seconds - film.seconds) <= max(2 * frame_s, film.seconds / 100):
        return "by time"
    apart = clip.frames - film.frames
    remedy = (
        f"repeat its last frame {-apart} times"
        if apart < 0
        else f"leave out the last {apart}, or the first where they are the same"
    )
    raise UsageError(
        f"{clip_path}: {clip.frames} frames in {float(clip.seconds):.2f} s, but the film has {film.frames} in "
        f"{float(film.seconds):.2f} s; a clip must be as long as the film it goes back to: make it anew with sound as long as "
        f"the film's, or, where it only ends {'early' if apart < 0 else 'late'}, {remedy}"
    )


class Paired:
    """The clip's frames, asked for by the film's. Raises SourceError when the clip ends early."""

    def __init__(self, clip: Iterator[Frame], rule: str, path: Path) -> None:
        self._frames, self._rule, self._path = clip, rule, path
        self._now: Frame | None = None
        self._next: Frame | None = next(clip, None)

    def frame(self, index: int, time_s: Fraction) -> Frame:
        """The clip's frame for the film's frame ``index`` at ``time_s``: to be asked for in order."""
        while self._next is not None and (self._now is None or self._due(self._next, index, time_s)):
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or (self._rule == "frame by frame" and self._now.index < index):
            raise SourceError(f"{self._path}: ends before the film does, at frame {index}")
        return self._now

    def _due(self, frame: Frame, index: int, time_s: Fraction) -> bool:
        if self._rule == "frame by frame":
            return frame.index <= index
        assert self._now is not None
        return abs(frame.pts - time_s) <= abs(self._now.pts - time_s)
