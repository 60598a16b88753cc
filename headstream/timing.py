"""How long each stage of a frame takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

Clock = Callable[[], float]


class StageTimes:
    """Mean milliseconds a frame per named stage. One thread writes each stage; any may read."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        # Seconds and frames in one, so that whoever reads meanwhile finds what belongs together.
        self._totals: dict[str, tuple[float, int]] = {}

    @contextmanager
    def stage(self, name: str, frames: int = 1) -> Iterator[None]:
        """Count the time spent in the block towards ``name``, as so many frames."""
        start = self._clock()
        try:
            yield
        finally:
            self.add(name, self._clock() - start, frames)

    def add(self, name: str, seconds: float, frames: int = 1) -> None:
        """Count ``seconds`` towards ``name``, as so many frames."""
        total, count = self._totals.get(name, (0.0, 0))
        self._totals[name] = total + seconds, count + frames

    def reset(self) -> None:
        """Start counting anew."""
        self._totals = {}

    def mean_ms(self) -> dict[str, float]:
        """Stage -> mean milliseconds, in the order the stages first ran."""
        return {name: round(1000 * total / max(1, count), 2) for name, (total, count) in list(self._totals.items())}


def mean_of(parts: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """The stages of several runs, (frames, mean milliseconds of each stage), as of one."""
    times = StageTimes()
    for frames, stages_ms in parts:
        for name, ms in stages_ms.items():
            times.add(name, ms * frames / 1000, frames)
    return times.mean_ms()
