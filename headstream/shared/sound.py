"""Sound as it happens, on the clock that live pictures have: seconds of time.perf_counter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Longer than a network holds things up; a sound card's clock goes wrong by less than a millisecond in it.
_WINDOW_S = 4.0
_JUMP_S = 5.0  # nothing is waited for that long
_BACK_S = 0.1  # clocks that are not set run forward


@dataclass(frozen=True)
class Sound:
    """A piece of sound. frame: FFmpeg's (``av.AudioFrame``).  captured_s: when its first sample was heard."""

    frame: Any
    captured_s: float

    @property
    def end_s(self) -> float:
        """When its last sample was heard."""
        return self.captured_s + float(self.frame.samples / self.frame.sample_rate)


Listener = Callable[[Sound], None]


class SteadyClock:
    """Another clock's seconds as those of time.perf_counter.

    What is told at a second of the other clock arrives some time after it, never before. So of the differences seen of late the
    least is the true one, and what is more is waiting. A clock that jumps is followed at once.
    """

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque()  # (arrival, difference), both rising
        self._told_s = 0.0

    @property
    def known(self) -> bool:
        """Whether there was anything to go by."""
        return bool(self._least)

    def follow(self, told_s: float, arrived_s: float) -> None:
        """Something of second ``told_s`` has arrived."""
        ahead = arrived_s - told_s
        if self._least and (abs(ahead - self._least[-1][1]) > _JUMP_S or told_s < self._told_s - _BACK_S):
            self._least.clear()
        self._told_s = told_s
        while self._least and self._least[-1][1] >= ahead:
            self._least.pop()
        self._least.append((arrived_s, ahead))
        while self._least[0][0] < arrived_s - _WINDOW_S:
            self._least.popleft()

    def forget(self) -> None:
        """Begin anew: the other clock was set."""
        self._least.clear()

    def at(self, told_s: float) -> float:
        """When a second of the other clock was; to be asked once something is ``known``."""
        return told_s + self._least[0][1]
