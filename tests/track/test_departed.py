"""People who left: who a face is that enters."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.track.departed import Departed, Gone
from headstream.types import Float32Array

BOX = (100.0, 100.0, 180.0, 180.0)


def looks(share: float) -> Float32Array:
    """Of two colours in each of three zones; the more two shares differ, the less alike they are."""
    return np.array([share, 1 - share] * 3, np.float32)


def test_of_several_it_is_the_one_that_is_most_alike() -> None:
    gone = [Gone(1, BOX, looks(0.3), 0.0), Gone(2, BOX, looks(0.52), 0.0), Gone(3, BOX, looks(0.7), 0.0)]
    for people in (gone, gone[::-1]):
        found = Departed(list(people)).returning(BOX, looks(0.5), 1.0, 15.0)
        assert found is not None
        assert found.track_id == 2


def test_nobody_returns_twice() -> None:
    people = Departed([Gone(1, BOX, looks(0.5), 0.0)])
    assert people.returning(BOX, looks(0.5), 1.0, 15.0) is not None
    assert people.returning(BOX, looks(0.5), 1.0, 15.0) is None
    assert not people


@pytest.mark.parametrize(
    ("away_px", "everywhere", "known"),
    [(0, False, True), (40, False, True), (80, False, False), (0, True, False)],
)
def test_where_somebody_left_less_likeness_is_enough(away_px: float, everywhere: bool, known: bool) -> None:
    """But not after a cut: there they may be anywhere."""
    share = 0.95  # like one half to 0.85
    people = Departed([Gone(1, BOX, looks(0.5), 0.0, everywhere)])
    box = (BOX[0] + away_px, BOX[1], BOX[2] + away_px, BOX[3])
    assert (people.returning(box, looks(share), 1.0, 15.0) is not None) == known
