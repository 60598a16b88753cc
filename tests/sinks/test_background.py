"""What is put behind a head: the blurred scene, a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstream.backdrop import backdrop
from headstream.capture.photo import read_photo
from headstream.shared.colour import planes_from_rgb, rgb_from_planes
from headstream.sinks.behind import BlurredScene, FixedPicture, covering
from headstream.types import Colour, Cutout, Frame, UInt8Array
from tests.media import swapped_profile

SIZE = (320, 240)


@pytest.mark.parametrize("bits", [8, 10])
def test_a_scene_out_of_focus_is_as_bright_as_it_was(bits: int) -> None:
    planes = planes_from_rgb(np.full((64, 96, 3), 180, np.uint8), Colour("bt709"), bits=bits, sub=(2, 2))
    behind = BlurredScene().behind(Cutout(Frame(planes=planes)))
    assert behind.bits == bits
    for plane, own in ((behind.y, planes.y), (behind.u, planes.u), (behind.v, planes.v)):
        assert plane.shape == own.shape
        assert np.abs(plane.astype(int) - own).max() <= 1


def test_behind_a_head_that_fills_the_picture_are_its_colours() -> None:
    """And not the green that Y, U and V of nothing are."""
    planes = planes_from_rgb(np.full((64, 96, 3), 180, np.uint8), Colour("bt709"), sub=(2, 2))
    full = np.full((64, 96), 255, np.uint8)
    behind = BlurredScene().behind(Cutout(Frame(planes=planes), (), (0, 0, 96, 64), full))
    for plane, own in ((behind.y, planes.y), (behind.u, planes.u), (behind.v, planes.v)):
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


@pytest.mark.parametrize("name", ["tagged.png", "pattern.heic"])
def test_a_picture_behind_is_read_as_photos_are(name: str, tmp_path: Path) -> None:
    """Its profile, its rotation, and formats of which FFmpeg sees one tile as a film."""
    path = Path(__file__).parents[1] / "data" / name
    if name == "tagged.png":
        path = tmp_path / name
        Image.new("RGB", (8, 8), (255, 0, 0)).save(path, icc_profile=swapped_profile())
    behind = backdrop(str(path))
    assert isinstance(behind, FixedPicture)
    shown = rgb_from_planes(behind.behind(Cutout(Frame(np.zeros((64, 64, 3), np.uint8)))))
    wanted = (0, 255, 0) if name == "tagged.png" else covering(read_photo(path).rgb, (64, 64))
    assert np.abs(shown.astype(int) - wanted).mean() < 4
