"""What is put behind a head: the blurred scene."""

from __future__ import annotations

import numpy as np
import pytest

from headstream.shared.colour import planes_from_rgb
from headstream.sinks.behind import BlurredScene
from headstream.types import Colour, Cutout, Frame, UInt8Array

SIZE = (320, 240)


@pytest.mark.parametrize("bits", [8, 10])
def test_a_scene_out_of_focus_is_as_bright_as_it_was(bits: int) -> None:
    planes = planes_from_rgb(np.full((64, 96, 3), 180, np.uint8), Colour("bt709"), bits=bits, sub=(2, 2))
    behind = BlurredScene().behind(Cutout(Frame(planes=planes)))
    assert behind.bits == bits
    for plane, own in ((behind.y, planes.y), (behind.u, planes.u), (behind.v, planes.v)):
        assert plane.shape == own.shape
        assert np.abs(plane.astype(int) - own).max() <= 1


def test_no_halo_of_the_head_is_left_in_the_scene() -> None:
    bright: UInt8Array = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    bright[80:160, 120:200] = 230
    alpha = np.zeros(SIZE[::-1], np.uint8)
    alpha[76:164, 116:204] = 255
    planes = planes_from_rgb(bright, Colour("bt709"), sub=(2, 2))
    behind = BlurredScene().behind(Cutout(Frame(planes=planes), (), (0, 0, *SIZE), alpha))
    outside = alpha == 0
    assert np.abs(behind.y.astype(int) - int(planes.y[10, 10]))[outside].max() < 12
