"""Another shot is told from the same one, at any depth and size."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.shared.colour import planes_from_rgb
from headstream.track.cuts import another_shot, thumbnail
from headstream.types import Colour, Frame
from tests.media import pattern
from tests.scenes import frame_at, scene


def test_another_place_is_another_shot_and_motion_is_none() -> None:
    first = thumbnail(frame_at(0))
    assert not another_shot(None, first)
    assert not another_shot(first, thumbnail(frame_at(1, scene(shift=6))))
    assert another_shot(first, thumbnail(frame_at(1, scene(seed=5))))


@pytest.mark.parametrize("planar", [False, True])
def test_rooms_that_are_as_light_as_one_another_differ_in_colour(planar: bool) -> None:
    def shot(colour: tuple[int, int, int]) -> Frame:
        rgb = np.full((240, 320, 3), colour, np.uint8)
        rgb[60:180, 100:220] = (200, 150, 130)  # a head in the middle
        return Frame(planes=planes_from_rgb(rgb, Colour(), sub=(2, 2))) if planar else Frame(rgb)

    green, grey = thumbnail(shot((70, 160, 100))), thumbnail(shot((126, 126, 126)))
    assert np.abs(green[0] - grey[0]).mean() < 12
    assert another_shot(green, grey)
    assert not another_shot(green, thumbnail(shot((80, 165, 105))))


@pytest.mark.parametrize(("bits", "size"), [(8, (64, 48)), (10, (640, 360)), (12, (33, 17))])
def test_depth_and_size_do_not_matter(bits: int, size: tuple[int, int]) -> None:
    rgb = pattern(*size, 0)
    deep = thumbnail(Frame(planes=planes_from_rgb(rgb, Colour(full_range=True), bits=bits)))
    shallow = thumbnail(Frame(planes=planes_from_rgb(rgb, Colour(full_range=True))))
    assert np.abs(deep - shallow).max() < 2


def test_pictures_of_two_sizes_are_not_compared() -> None:
    assert not another_shot(thumbnail(Frame(pattern(64, 48, 0))), thumbnail(Frame(pattern(640, 90, 0))))
