from __future__ import annotations

import numpy as np
import pytest

from headstream.shared.regions import around, chroma_index, even_region, index_in, laid_over, overlap_of, seen_from


def test_two_that_touch_share_nothing() -> None:
    assert overlap_of((0, 0, 4, 4), (4, 0, 8, 4)) is None
    assert overlap_of((0, 0, 5, 4), (4, 1, 8, 9)) == (4, 1, 5, 4)


def test_around_all() -> None:
    assert around((2, 3, 4, 5)) == (2, 3, 4, 5)
    assert around((2, 3, 4, 5), (0, 4, 3, 9), (1, 1, 2, 2)) == (0, 1, 4, 9)


@pytest.mark.parametrize(
    ("region", "even"),
    [
        ((3, 3, 5, 5), (2, 2, 6, 6)),
        ((-7, 1, 30, 30), (0, 0, 11, 9)),  # an odd border stays
        ((12, 0, 20, 4), (0, 0, 0, 0)),
        ((4, 4, 4, 4), (0, 0, 0, 0)),
    ],
)
def test_even_corners_inside_the_frame(region: tuple[int, int, int, int], even: tuple[int, int, int, int]) -> None:
    assert even_region(region, (11, 9)) == even


def test_indices_find_the_same_pixels() -> None:
    frame = np.arange(80).reshape(8, 10)
    whole, part = (2, 1, 9, 7), (4, 2, 7, 5)
    values = frame[1:7, 2:9]
    assert np.array_equal(values[index_in(part, whole)], frame[2:5, 4:7])
    assert seen_from(part, whole) == (2, 1, 5, 4)
    assert np.array_equal(frame[::2, ::2][chroma_index((2, 4, 7, 7), (2, 2))], frame[4:7:2, 2:7:2])


def test_laid_over_an_area_around_across_and_beside() -> None:
    values = np.full((2, 3), 7, np.uint8)  # of (4, 4, 7, 6)
    for area in ((0, 0, 10, 10), (5, 0, 8, 5), (0, 0, 4, 4)):
        frame = np.zeros((10, 10), np.uint8)
        frame[4:6, 4:7] = 7
        x0, y0, x1, y1 = area
        out = laid_over(values, (4, 4, 7, 6), area)
        assert out.dtype == np.uint8
        assert np.array_equal(out, frame[y0:y1, x0:x1])
