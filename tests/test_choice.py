"""Whose heads are cut."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from headstream.choice import Choice
from headstream.types import Head


def sized(track_id: int, side: float) -> Head:
    """A head of that size, anywhere."""
    return Head(track_id, (0, 0, side, side), (0, 0, 10, 10), np.zeros((6, 2), np.float32), 0.9)


def test_the_largest_changes_only_for_one_who_stays_much_larger() -> None:
    choice = Choice()

    def chosen(*heads: Head, at: float) -> int:
        return choice.of(heads, "largest", Fraction(at))[0].track_id

    assert chosen(sized(1, 100), at=0.0) == 1
    assert chosen(sized(1, 100), sized(2, 130), at=0.1) == 1  # a little larger is not enough, however long
    assert chosen(sized(1, 100), sized(2, 130), at=5.0) == 1
    assert chosen(sized(1, 100), sized(3, 200), at=6.0) == 1  # a detector's moment of error
    assert chosen(sized(1, 100), sized(3, 200), at=6.5) == 1
    assert chosen(sized(1, 100), at=6.75) == 1
    assert chosen(sized(1, 100), sized(4, 200), at=7.25) == 1
    assert chosen(sized(1, 100), sized(4, 200), at=8.25) == 4
    assert chosen(sized(1, 100), at=8.5) == 1  # whoever is alone
