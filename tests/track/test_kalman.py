from __future__ import annotations

import numpy as np
import pytest

from headstream.track.kalman import BoxFilter
from headstream.types import Box


def box_at(cx: float, cy: float, side: float) -> Box:
    return cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2


def test_a_still_head_settles_and_jitter_is_damped() -> None:
    rng = np.random.default_rng(0)
    boxes = BoxFilter(box_at(200, 150, 100), 0.0)
    out = []
    for k in range(1, 120):
        boxes.predict(k / 30)
        measured = box_at(200 + rng.normal(0, 2), 150 + rng.normal(0, 2), 100 * np.exp(rng.normal(0, 0.02)))
        out.append(boxes.correct(measured)[0])
    assert np.std(out[30:]) < 1.7  # the measured corner jitters by 2.2
    assert abs(np.mean(out[30:]) - 150) < 1


def test_a_moving_head_is_led_not_trailed() -> None:
    """Seen every third frame only: in between, the box is where the head is, not where it was."""
    boxes = BoxFilter(box_at(100, 100, 80), 0.0)
    lag = []
    for k in range(1, 90):
        x = 100 + 120 * k / 30
        predicted = boxes.predict(k / 30)
        if k % 3 == 0:
            predicted = boxes.correct(box_at(x, 100, 80))
        lag.append((predicted[0] + predicted[2]) / 2 - x)
    assert np.abs(lag[30:]).max() < 2


def test_uneven_times_are_followed_at_their_own_pace() -> None:
    boxes = BoxFilter(box_at(100, 100, 80), 0.0)
    rng = np.random.default_rng(1)
    now, errors = 0.0, []
    for _ in range(80):
        now += float(rng.choice([1 / 60, 1 / 30, 1 / 8]))
        predicted = boxes.predict(now)
        errors.append((predicted[0] + predicted[2]) / 2 - (100 + 60 * now))
        boxes.correct(box_at(100 + 60 * now, 100, 80))
    assert np.abs(errors[20:]).max() < 3


def test_an_unseen_head_slows_down() -> None:
    boxes = BoxFilter(box_at(100, 100, 80), 0.0)
    for k in range(1, 31):
        boxes.predict(k / 30)
        boxes.correct(box_at(100 + 10 * k, 100, 80))
    fast = boxes.speed
    for k in range(31, 61):
        boxes.predict(k / 30)
        boxes.slow_down()
    assert boxes.speed < 0.01 * fast


def test_size_is_followed_in_proportion() -> None:
    boxes = BoxFilter(box_at(200, 200, 50), 0.0)
    for k in range(1, 61):
        boxes.predict(k / 30)
        boxes.correct(box_at(200, 200, 50 * 1.02**k))
    x0, _, x1, _ = boxes.box
    assert abs((x1 - x0) / (50 * 1.02**60) - 1) < 0.05


def test_a_hole_in_time_does_not_blow_up_the_box() -> None:
    boxes = BoxFilter(box_at(200, 200, 50), 0.0)
    for k in range(1, 61):
        boxes.predict(k / 30)
        boxes.correct(box_at(200 + 4 * k, 200, 50 * 1.02**k))
    before = boxes.box
    x0, y0, x1, y1 = boxes.predict(2 + 120)
    assert x1 - x0 < 1.5 * (before[2] - before[0])
    assert abs((x0 + x1) / 2 - 440) < 3 * 4 * 30
    assert abs((y0 + y1) / 2 - 200) < 5
    x0, _, x1, _ = boxes.correct(box_at(300, 200, 120))  # whoever is found then is believed
    assert (x0 + x1) / 2 == pytest.approx(300, abs=5)
    assert x1 - x0 == pytest.approx(120, rel=0.05)


def test_what_is_doubted_moves_and_grows_the_box_less() -> None:
    moved, grown = [], []
    for doubt in (1.0, 4.0):
        x0, _, x1, _ = BoxFilter(box_at(100, 100, 80), 0.0).correct(box_at(110, 100, 100), doubt)
        moved.append((x0 + x1) / 2 - 100)
        grown.append(x1 - x0 - 80)
    assert 0 < moved[1] < 0.5 * moved[0]
    assert 0 < grown[1] < 0.5 * grown[0]
