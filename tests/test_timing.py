from __future__ import annotations

from collections.abc import Iterator

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
