from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstream.shared.colour import planes_from_rgb
from headstream.types import Colour, Cutout, Frame, Head, Planes
from tests.media import pattern


def grey(height: int = 4, width: int = 6) -> Planes:
    chroma = (-(-height // 2), -(-width // 2))
    return Planes(
        np.full((height, width), 120, np.uint8), np.full(chroma, 128, np.uint8), np.full(chroma, 128, np.uint8)
    )


def test_planes_refuse_chroma_of_the_wrong_size() -> None:
    y = np.zeros((4, 6), np.uint8)
    with pytest.raises(ValueError, match=r"chroma planes must be \(2, 3\)"):
        Planes(y, y, y)


def test_planes_refuse_a_type_that_cannot_hold_the_bits() -> None:
    part = grey()
    with pytest.raises(ValueError, match="10-bit"):
        Planes(part.y, part.u, part.v, bits=10)


def test_planes_are_of_one_type() -> None:
    part = grey()
    with pytest.raises(ValueError, match="chroma planes must be uint8"):
        Planes(part.y, part.u.astype(np.float32), part.v)
    for alpha in (np.zeros((9, 9), np.uint8), np.zeros(part.y.shape, np.float64)):
        with pytest.raises(ValueError, match=r"alpha must be \(4, 6\) uint8 like luma"):
            Planes(part.y, part.u, part.v, alpha=alpha)


@pytest.mark.parametrize("planar", [False, True])
def test_a_frames_alpha_is_as_large_as_it(planar: bool) -> None:
    picture: dict[str, Any] = {"planes": grey()} if planar else {"rgb": pattern(6, 4, 0)}
    Frame(**picture, alpha=np.zeros((4, 6), np.uint8))
    wrong: list[Any] = [np.zeros((6, 4), np.uint8), np.zeros((4, 6), np.float32)]
    for alpha in wrong:
        with pytest.raises(ValueError, match=r"alpha must be \(4, 6\) uint8"):
            Frame(**picture, alpha=alpha)


@pytest.mark.parametrize("what", [[[[0, 0, 0]]], "me.jpg", Image.new("RGB", (6, 4))])
def test_what_is_no_array_is_told(what: Any) -> None:
    with pytest.raises(ValueError, match=f"rgb must be an array.*got {type(what).__name__}"):
        Frame(what)


def test_odd_sizes_round_chroma_up() -> None:
    part = grey(5, 7)
    assert part.u.shape == (3, 4)
    assert part.region((2, 2, 7, 5)).u.shape == (2, 3)


def test_a_frame_is_immutable() -> None:
    frame = Frame(pattern(8, 8, 0), index=3, pts=Fraction(1, 3))
    with pytest.raises(AttributeError):
        frame.index = 4
    with pytest.raises(ValueError, match="read-only"):
        frame.rgb[0, 0] = 1
    assert "index=3" in repr(frame)


@pytest.mark.parametrize("planar", [False, True])
def test_a_cutout_goes_to_another_process_and_is_copied(planar: bool) -> None:
    rgb = pattern(16, 12, 0)
    place: dict[str, Any] = {"index": 4, "pts": Fraction(4, 25), "duration_s": Fraction(1, 25), "captured_s": 2.5}
    frame = Frame(None if planar else rgb, planes=planes_from_rgb(rgb, Colour()) if planar else None, **place)
    head = Head(1, (2.0, 2.0, 8.0, 8.0), (0, 0, 12, 12), np.zeros((6, 2), np.float32), 0.9)
    cutout = Cutout(frame, (head,), (4, 2, 12, 8), np.full((6, 8), 99, np.uint8))
    assert frame.rgb.shape == (12, 16, 3)  # a view made on demand does not go along
    for again in (pickle.loads(pickle.dumps(cutout)), copy.deepcopy(cutout), copy.copy(cutout)):
        assert np.array_equal(again.rgba(), cutout.rgba())
        assert again.heads[0].box_px == head.box_px
        assert {name: getattr(again.frame, name) for name in place} == place
        with pytest.raises(ValueError, match="read-only"):
            again.frame.rgb[0, 0] = 1


def test_times_are_exact_also_those_of_a_clock() -> None:
    frame = Frame(pattern(6, 4, 0), pts=0.1)
    assert isinstance(frame.pts, Fraction)
    assert frame.pts == Fraction(0.1) != Fraction(1, 10)
    assert isinstance(copy.copy(frame).pts, Fraction)
    for number in (np.float32(0.1), np.float64(0.1), np.longdouble(0.25), np.int64(3), np.uint8(3), 3):
        pts = Frame(pattern(6, 4, 0), pts=number).pts
        assert pts == Fraction(float(number))
        assert type(pts.numerator) is int


@pytest.mark.parametrize("pts", [float("nan"), np.float32("inf"), "0.5", None, 1j, np.zeros(1), np.str_("1")])
def test_times_are_finite_numbers(pts: Any) -> None:
    with pytest.raises(ValueError, match="pts is .*; expected seconds, a finite number"):
        Frame(pattern(6, 4, 0), pts=pts)


@pytest.mark.parametrize("shape", [(0, 0), (0, 6), (4, 0)])
def test_a_frame_has_pixels(shape: tuple[int, int]) -> None:
    for picture in ({"rgb": np.zeros((*shape, 3), np.uint8)}, {"planes": grey(*shape)}):
        with pytest.raises(ValueError, match=f"at least one pixel, got {shape[1]}x{shape[0]}"):
            Frame(**picture)


def test_a_frame_holds_rgb_or_planes() -> None:
    with pytest.raises(ValueError, match="either"):
        Frame()
    with pytest.raises(ValueError, match="either"):
        Frame(pattern(8, 8, 0), planes=grey())
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        Frame(np.zeros((8, 8), np.uint8))


def test_rgb_of_planes_is_made_once_and_read_only() -> None:
    frame = Frame(planes=grey())
    assert frame.rgb is frame.rgb
    assert not frame.rgb.flags.writeable
    assert frame.size_px == (6, 4)


def test_a_crop_is_the_unit_square() -> None:
    head = Head(1, (30, 10, 50, 30), (20, -4, 60, 36), np.zeros((6, 2), np.float32), 0.9)
    corners = np.array([(20, -4, 1), (60, 36, 1), (40, 16, 1)])
    assert corners @ head.crop_from_frame.T == pytest.approx(np.array([(0, 0), (1, 1), (0.5, 0.5)]))


def test_cutout_checks_its_region() -> None:
    frame = Frame(pattern(8, 8, 0))
    with pytest.raises(ValueError, match="does not lie in"):
        Cutout(frame, (), (0, 0, 9, 8), np.zeros((8, 9), np.uint8))
    with pytest.raises(ValueError, match="region_alpha"):
        Cutout(frame, (), (0, 0, 4, 4), np.zeros((3, 4), np.uint8))
    for foreground in (np.zeros((4, 5, 3), np.uint8), grey()):
        with pytest.raises(ValueError, match="foreground must be as large as the region, 4x4"):
            Cutout(frame, (), (0, 0, 4, 4), np.zeros((4, 4), np.uint8), foreground)


def test_an_empty_cutout_is_wholly_transparent() -> None:
    cutout = Cutout(Frame(pattern(8, 6, 0)))
    assert cutout.alpha.shape == (6, 8)
    assert not cutout.rgba().any()


@pytest.mark.parametrize("planar", [False, True])
def test_rgba_is_straight_and_black_where_transparent(planar: bool) -> None:
    rgb = pattern(16, 12, 0)
    frame = Frame(planes=planes_from_rgb(rgb, Colour("bt709"))) if planar else Frame(rgb)
    alpha = np.zeros((6, 8), np.uint8)
    alpha[2:4, 2:6] = 128
    rgba = Cutout(frame, (), (4, 2, 12, 8), alpha).rgba()
    inside = np.s_[4:6, 6:10]
    assert (rgba[inside][..., 3] == 128).all()
    assert np.abs(rgba[inside][..., :3].astype(int) - rgb[inside]).max() <= 2  # not multiplied by alpha
    rgba[inside] = 0
    assert not rgba.any()


@pytest.mark.parametrize("planar", [False, True])
def test_the_colours_of_a_frame_without_a_head_are_none(planar: bool) -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    frame = Frame(planes=planes_from_rgb(rgb, Colour())) if planar else Frame(rgb)
    assert Cutout(frame).region_rgb().shape == (0, 0, 3)
