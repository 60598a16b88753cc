"""The network runs as often as the machine can, and again as before when it can."""

from __future__ import annotations

import pytest

from headstream.live.pace import Pace


def run(pace: Pace, frames: int, whole_s: float, carried_s: float) -> list[bool]:
    """Which of the frames were carried."""
    told = []
    for _ in range(frames):
        carried = pace.carries()
        pace.spent(carried_s if carried else whole_s, carried=carried)
        told.append(carried)
    return told


def by_clock(
    pace: Pace, frames: int, whole_s: float, carried_s: float, interval_s: float, *, begins_s: float = 0.0
) -> tuple[list[bool], list[float]]:
    """Which of the frames were carried, and how old their mattes were then; the newest frame is always the next."""
    now = captured = whole_at = begins_s
    told, ages = [], []
    for _ in range(frames):
        carried = pace.carries(captured)
        whole_at = whole_at if carried else captured
        told.append(carried)
        ages.append(captured - whole_at)
        took = carried_s if carried else whole_s
        pace.spent(took, carried=carried)
        now += took
        captured = max(captured + interval_s, now)
        now = captured
    return told, ages


@pytest.mark.parametrize(
    ("whole_s", "carried_s", "interval_s", "every"),
    [
        (0.2, 0.1, 1 / 30, 1),
        (0.5, 0.25, 1 / 30, 1),
        (0.3, 0.1, 1 / 5, 1),
        (0.12, 0.05, 1 / 10, 2),
        (0.06, 0.012, 1 / 30, 3),
    ],
)
def test_a_matte_is_not_carried_for_long(whole_s: float, carried_s: float, interval_s: float, every: int) -> None:
    pace = Pace(interval_s)
    told, ages = by_clock(pace, 300, whole_s, carried_s, interval_s)
    assert max(ages) <= 0.15
    assert pace.every == every
    assert sum(told[-60:]) == 60 - 60 // every


def test_a_quiet_machine_of_few_frames_runs_it_on_each() -> None:
    pace = Pace(1 / 5, least=3)
    assert not any(by_clock(pace, 60, 0.02, 0.01, 1 / 5)[0])
    assert pace.every == 1
    pace = Pace(1 / 30, least=3)
    assert sum(by_clock(pace, 60, 0.02, 0.01, 1 / 30)[0]) == 40


def test_after_a_pause_nothing_old_is_carried() -> None:
    pace = Pace(1 / 30, least=3)
    assert [pace.carries(at_s) for at_s in (0.0, 0.033, 5.0, 5.033)][2] is False
    for k in range(30):
        pace.carries(5.066 + k / 30)
    assert pace.every == 3


def test_a_matte_that_was_carried_is_as_old_as_when_it_was_made() -> None:
    pace = Pace(1 / 30, least=3)
    assert [pace.carries(at_s) for at_s in (0.0, 0.033, 0.16)] == [False, True, False]


def test_after_hours_away_it_is_as_quiet_as_before() -> None:
    pace = Pace(1 / 30, least=3)
    by_clock(pace, 60, 0.02, 0.01, 1 / 30)
    by_clock(pace, 12, 0.02, 0.01, 1 / 30, begins_s=9999)
    assert pace.every == 3


def test_a_quiet_machine_is_quiet_again_when_more_frames_come() -> None:
    pace = Pace(1 / 30, least=2)
    by_clock(pace, 30, 0.02, 0.01, 1 / 5)
    assert pace.every == 1
    by_clock(pace, 30, 0.02, 0.01, 1 / 30, begins_s=60)
    assert pace.every == 2


def test_two_frames_of_one_moment_do_no_harm() -> None:
    pace = Pace(1 / 30)
    assert [pace.carries(1.0) for _ in range(3)] == [False] * 3


def test_a_fast_machine_runs_it_on_every_frame() -> None:
    assert not any(run(Pace(1 / 30), 200, 0.022, 0.012))


def test_how_long_the_first_frames_take_says_nothing() -> None:
    pace = Pace(1 / 30)
    assert not any([*run(pace, 3, 2.0, 1.0), *run(pace, 30, 0.022, 0.012)])


def test_a_slow_machine_carries_as_many_as_it_must() -> None:
    assert sum(run(Pace(1 / 30), 300, 0.036, 0.015)[-60:]) == 30
    assert sum(run(Pace(1 / 30), 300, 0.060, 0.012)[-60:]) == 40


def test_a_hopeless_machine_still_runs_it_on_every_third_frame() -> None:
    assert sum(run(Pace(1 / 30), 300, 0.5, 0.4)[-60:]) == 40
    pace = Pace(1 / 30)
    assert sum(by_clock(pace, 300, 0.045, 0.04, 1 / 30)[0][-60:]) == 40
    assert pace.every == 3


def test_it_recovers_when_the_load_goes() -> None:
    pace = Pace(1 / 30)
    run(pace, 200, 0.060, 0.012)
    assert pace.every == 3
    assert not any(run(pace, 300, 0.020, 0.010)[-60:])


def test_it_does_not_swing_at_the_border() -> None:
    pace = Pace(1 / 30)
    changes, before = 0, pace.every
    for k in range(300):
        run(pace, 1, 0.030 if k // 50 % 2 else 0.027, 0.012)  # a little more load, a little less
        changes += pace.every != before
        before = pace.every
    assert (changes, pace.every) == (1, 2)


def test_one_slow_frame_changes_nothing() -> None:
    pace = Pace(1 / 30)
    run(pace, 100, 0.020, 0.010)
    run(pace, 1, 0.060, 0.010)
    assert pace.every == 1


def test_a_quiet_machine_carries_every_other_frame_however_fast_it_is() -> None:
    pace = Pace(1 / 30, least=2)
    assert sum(run(pace, 200, 0.022, 0.012)) == 100
    assert sum(run(pace, 300, 0.080, 0.012)[-60:]) == 40
    assert sum(run(pace, 300, 0.004, 0.002)[-60:]) == 30


@pytest.mark.parametrize(
    ("interval", "least", "most"), [(0.0, 1, 3), (-1.0, 1, 3), (0.04, 1, 0), (0.04, 0, 3), (0.04, 3, 2)]
)
def test_what_cannot_be_is_refused(interval: float, least: int, most: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Pace(interval, least=least, most=most)
