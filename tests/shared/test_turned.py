"""Quarter turns, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.shared.turned import turned, turned_box, turned_points


@pytest.mark.parametrize("turns", range(-1, 5))
def test_points_go_where_their_pixels_go(turns: int) -> None:
    picture = np.zeros((5, 8), np.uint8)
    picture[1, 6] = 255
    ((row, column),) = np.argwhere(turned(picture, turns))
    assert turned_points([(6.5, 1.5)], turns, (8, 5)).tolist() == [[column + 0.5, row + 0.5]]


def test_there_and_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    for turns in range(4):
        there = turned(picture, turns)
        size = (there.shape[1], there.shape[0])
        np.testing.assert_array_equal(turned(there, 4 - turns), picture)
        assert turned_box(turned_box((1, 2, 7, 3), turns, (8, 5)), 4 - turns, size) == (1, 2, 7, 3)
    assert turned(picture, 0) is picture


def test_a_box_keeps_its_corners_in_order() -> None:
    assert turned_box((1, 2, 7, 3), 1, (8, 5)) == (2, 1, 3, 7)
