"""Keeping up with a camera on a machine that is too slow for the network on every frame."""

from __future__ import annotations

_FILL = 0.85  # share of the time between two frames that may be spent on one; the rest is for decoding and showing
_EASE = 0.75  # and below which the network runs more often again
_LATEST = 0.15  # weight of the latest measurement
_OLDEST_S = 0.15  # a matte carried for longer drags background along
_WARMING = 3  # frames at the start that take longer than all others and say nothing


class Pace:
    """Decides for each frame whether the network runs, or the last matte is carried along, from what both have cost.

    interval_s: seconds between two frames.  most: the network runs at least on every ``most``-th frame.  least: and on no more
    than every ``least``-th, for a quiet machine.
    every: on every which frame it runs now.  No thread, no clock: ``carries`` and ``spent`` bring the times.
    """

    def __init__(self, interval_s: float, *, least: int = 1, most: int = 3) -> None:
        if interval_s <= 0 or not 1 <= least <= most:
            raise ValueError(
                f"interval and least must be positive, most at least {least}, got {interval_s}, {least}, {most}"
            )
        self._interval_s, self._least, self._most = interval_s, least, most
        self._whole_s: float | None = None
        self._carried_s: float | None = None
        self.every = least
        self._since = 0
        self._told = 0
        self._asked_s: float | None = None
        self._gap_s: float | None = None
        self._whole_at_s: float | None = None

    def carries(self, at_s: float | None = None) -> bool:
        """Whether the next frame's mattes are to be carried. Ask once a frame. at_s: when it was captured, so that no matte gets
        older than can be carried, however few frames there are a second."""
        if at_s is not None:
            self._heed_gap(at_s)
        self._since = (self._since + 1) % self.every
        if at_s is not None and (self._whole_at_s is None or at_s - self._whole_at_s > _OLDEST_S):
            self._since = 0
        if not self._since:
            self._whole_at_s = at_s
        return self._since != 0

    def _heed_gap(self, at_s: float) -> None:
        if self._asked_s is not None:  # a source that was away for long says nothing about the time between frames
            self._gap_s = _blend(self._gap_s, min(at_s - self._asked_s, 2 * _OLDEST_S))
        self._asked_s = at_s
        self.every = min(max(self.every, self._least), self._reach())

    def _reach(self) -> int:
        """How many frames come while a matte can be carried, with the one the network runs on."""
        return self._most if self._gap_s is None else 1 + int(_OLDEST_S / max(self._gap_s, 1e-3))

    def spent(self, seconds: float, *, carried: bool) -> None:
        """What the frame took, and which kind it was."""
        self._told += 1
        if self._told <= _WARMING:
            return
        if carried:
            self._carried_s = _blend(self._carried_s, seconds)
        else:
            self._whole_s = _blend(self._whole_s, seconds)
        if self._mean_s(self.every) > _FILL * self._interval_s and self.every < min(self._most, self._reach()):
            self.every += 1
            self._carried_s = None  # of another load; measured anew
        elif self.every > self._least and self._mean_s(self.every - 1) < _EASE * self._interval_s:
            self.every -= 1

    def _mean_s(self, every: int) -> float:
        """Seconds a frame if the network ran on every ``every``-th; carrying is guessed at half until it was seen."""
        whole = self._whole_s or 0.0
        carried = 0.5 * whole if self._carried_s is None else self._carried_s
        return (whole + (every - 1) * carried) / every


def _blend(mean: float | None, value: float) -> float:
    return value if mean is None else mean + _LATEST * (value - mean)
