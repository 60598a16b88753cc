"""Another clock on the clock of the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.shared.sound import SteadyClock


def test_what_arrives_late_was_no_later() -> None:
    clock, waits = SteadyClock(), np.random.default_rng(1).exponential(0.02, 1000)
    assert not clock.known
    for k, wait in enumerate(waits):
        clock.follow(k / 100, 500 + k / 100 + 0.01 + wait)
    assert clock.at(7.0) == pytest.approx(507.01, abs=0.001)


def test_a_second_without_anything_moves_nothing() -> None:
    """A network holds a second of pictures up, and brings them all at once."""
    clock = SteadyClock()
    for k in range(500):
        clock.follow(k / 100, 10 + max(k / 100, 3.0 if 200 <= k < 300 else 0))
        assert clock.at(k / 100) == pytest.approx(10 + k / 100)


def test_a_slow_clock_is_followed() -> None:
    clock = SteadyClock()
    for k in range(100_000):
        clock.follow(k / 100, k / 100 * 1.0001)
    assert clock.at(999.99) == pytest.approx(999.99 * 1.0001, abs=0.001)


@pytest.mark.parametrize("to_s", [0.0, 97.0, 103.0, 5000.0])
def test_a_clock_that_is_set_is_followed_at_once(to_s: float) -> None:
    clock = SteadyClock()
    clock.follow(100.0, 600.0)
    clock.follow(to_s, 601.0)
    assert clock.at(to_s) == 601.0


def test_what_was_lost_is_noticed_at_once_where_it_is_told_and_soon_where_not() -> None:
    clock = SteadyClock()
    clock.follow(1.0, 11.0)
    clock.forget()
    clock.follow(1.1, 12.0)
    assert clock.at(1.1) == 12.0
    for k in range(500):
        clock.follow(1.2 + k / 100, 14.0 + k / 100)
    assert clock.at(2.0) == pytest.approx(14.8)
