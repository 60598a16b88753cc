from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from headstream.timing import StageTimes, mean_of


def test_means_in_the_order_of_first_use() -> None:
    ticks: Iterator[float] = iter([0.0, 0.010, 1.0, 1.030, 2.0, 2.005])
    times = StageTimes(clock=lambda: next(ticks))
    for name in ("decode", "cut", "decode"):
        with times.stage(name):
            pass
    assert times.mean_ms() == {"decode": 7.5, "cut": 30.0}


def test_a_stage_that_raises_is_counted() -> None:
    times = StageTimes()
    with pytest.raises(RuntimeError), times.stage("x"):
        raise RuntimeError
    assert list(times.mean_ms()) == ["x"]


def test_a_stage_for_several_frames() -> None:
    ticks: Iterator[float] = iter([0.0, 0.080, 1.0, 1.010])
    times = StageTimes(clock=lambda: next(ticks))
    for frames in (8, 1):
        with times.stage("segment", frames):
            pass
    assert times.mean_ms() == {"segment": 10.0}


def test_the_mean_of_several_runs_is_that_of_their_frames() -> None:
    runs = [(10, {"decode": 4.0, "track": 2.0}), (30, {"decode": 8.0}), (0, {"decode": 99.0})]
    assert mean_of(runs) == {"decode": 7.0, "track": 2.0}


class Seconds(float):
    """Some whose reader is met by a new stage, written by another thread."""

    def __new__(cls, value: float, meanwhile: Callable[[], None]) -> Seconds:
        seconds = super().__new__(cls, value)
        seconds.meanwhile = meanwhile
        return seconds

    meanwhile: Callable[[], None]

    def __radd__(self, other: float) -> Seconds:
        return self

    def __rmul__(self, other: float) -> float:
        self.meanwhile()
        return other * float(self)


def test_a_stage_that_begins_while_another_thread_reads() -> None:
    times = StageTimes()
    times.add("decode", Seconds(0.004, lambda: times.add("cut", 0.01)))
    assert times.mean_ms() == {"decode": 4.0}


def test_a_stage_is_read_whole_or_not_at_all() -> None:
    times, seen, writing = StageTimes(), list[dict[str, float]](), True

    class Name(str):
        def __hash__(self) -> int:  # asked for at every look into a table: where another thread may read
            nonlocal writing
            if writing:
                writing = False
                seen.append(times.mean_ms())
                writing = True
            return super().__hash__()

    times.add(Name("decode"), 0.004)
    writing = False
    assert times.mean_ms() == {"decode": 4.0}
    assert seen
    assert all(told == {} for told in seen)
