from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.shared.colour import (
    LUMA,
    PAD,
    at_bits,
    crop_resized,
    planes_from_rgb,
    resample_chroma,
    rgb_from_planes,
    rgb_from_yuv,
    subsample_chroma,
    to_limited,
    upsample_chroma,
    whole_resized,
    yuv_from_rgb,
)
from headstream.types import LUMA_WEIGHTS, Colour, Matrix, Planes
from tests.media import pattern

MATRICES: list[Matrix] = ["bt601", "bt709", "bt2020"]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
def test_white_black_and_grey_are_where_the_standards_put_them(matrix: Matrix, full: bool) -> None:
    white, black = (255, 0) if full else (235, 16)
    to_yuv = yuv_from_rgb(matrix, full)
    assert np.allclose(to_yuv @ [255, 255, 255, 1], [white, 128, 128], atol=1e-3)
    assert np.allclose(to_yuv @ [0, 0, 0, 1], [black, 128, 128], atol=1e-3)
    assert np.allclose(rgb_from_yuv(matrix, full) @ [white, 128, 128, 1], 255, atol=1e-3)


def test_bt709_red_has_the_published_values() -> None:
    # ITU-R BT.709-6: Y' = 0.2126 R', scaled to 16..235; Cr at its peak of 240.
    y, u, v = yuv_from_rgb("bt709", False) @ [255, 0, 0, 1]
    assert (round(float(y)), round(float(u)), round(float(v))) == (63, 102, 240)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_rgb_survives_the_way_through_planes(matrix: Matrix, full: bool, bits: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    error = np.abs(rgb_from_planes(planes_from_rgb(rgb, Colour(matrix, full), bits=bits)).astype(int) - rgb)
    assert error.max() <= 2
    assert error.mean() < 0.6


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from([(2, 2), (2, 1), (1, 2), (1, 1)]))
@settings(deadline=None)
def test_flat_chroma_stays_flat_through_any_sampling(width: int, height: int, sub: tuple[int, int]) -> None:
    plane = np.full((height, width), 77, np.uint8)
    small = subsample_chroma(plane, *sub)
    assert small.shape == (-(-height // sub[1]), -(-width // sub[0]))
    assert (small == 77).all()
    assert (upsample_chroma(small, (width, height), *sub) == 77).all()


def test_chroma_ramps_keep_their_place() -> None:
    """Down and up again: a linear ramp comes back where it was, so the two agree on where samples sit."""
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (20, 1))
    back = resample_chroma(subsample_chroma(ramp, 2, 2), (100, 20), (2, 2), (1, 1))
    assert np.abs(back[2:-2, 4:-4].astype(int) - ramp[2:-2, 4:-4]).max() <= 1


def test_chroma_sits_left_in_a_row_and_half_way_between_rows() -> None:
    """As in MPEG-2, H.264 and HEVC."""
    columns, rows = np.meshgrid(np.arange(10), np.arange(8))
    for sub_w, sub_h in ((2, 1), (2, 2), (1, 2)):
        size = (10 * sub_w, 8 * sub_h)
        x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        along, down = x / sub_w, (y - 0.5) / 2 if sub_h == 2 else y
        for small, large in ((columns, along), (rows, down)):
            up = upsample_chroma((20 * small).astype(np.uint8), size, sub_w, sub_h)
            inner = np.s_[2:-2, 2:-2]
            assert np.abs(up[inner].astype(float) - 20 * large[inner]).max() <= 0.51
            low = subsample_chroma((20 * large).clip(0).astype(np.uint8), sub_w, sub_h)
            assert np.abs(low[1:-1, 1:-1].astype(float) - 20 * small[1:-1, 1:-1]).max() <= 1


def test_stripes_of_one_pixel_become_their_mean() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (16, 8))
    assert np.abs(subsample_chroma(stripes, 2, 1)[:, 1:-1].astype(int) - 100).max() <= 1
    rgb = np.repeat(stripes[..., None], 3, axis=2)
    for picture in (rgb, planar(rgb, (1, 1)), planar(rgb, (1, 1), 10)):
        assert np.abs(whole_resized(picture, (8, 8)).astype(int) - 100).max() <= 1


def test_luma_of_pictures_without_a_matrix_is_that_of_bt601() -> None:
    kr, kb = LUMA_WEIGHTS["bt601"]
    assert np.allclose(LUMA, [kr, 1 - kr - kb, kb])


def test_full_range_becomes_limited_without_shifting_colours() -> None:
    rgb = pattern(64, 48, 0)
    full = planes_from_rgb(rgb, Colour("bt709", True))
    limited = to_limited(full, 10)
    assert not limited.colour.full_range
    assert limited.y.min() >= 64 - 1
    assert limited.y.max() <= 940 + 1
    assert np.abs(rgb_from_planes(limited).astype(int) - rgb_from_planes(full)).max() <= 2


@pytest.mark.parametrize("shift", [2, -2])
def test_depth_conversion_rounds_and_keeps_white_white(shift: int) -> None:
    planes = planes_from_rgb(np.full((4, 4, 3), 255, np.uint8), Colour("bt709"), bits=8 if shift > 0 else 10)
    assert to_limited(planes, 10 if shift > 0 else 8).y[0, 0] == (940 if shift > 0 else 235)


def planar(rgb: np.ndarray, sub: tuple[int, int] = (2, 2), bits: int = 8) -> Planes:
    return planes_from_rgb(rgb, Colour("bt709"), bits=bits, sub=sub)


@pytest.mark.parametrize("sub", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("bits", [8, 10])
def test_a_crop_from_planes_is_the_crop_from_rgb(sub: tuple[int, int], bits: int) -> None:
    rgb = pattern(96, 80, 0)
    rgb = np.ascontiguousarray(rgb[:, :, [0, 1, 1]])
    region = (10, 6, 74, 70)
    error = np.abs(crop_resized(planar(rgb, sub, bits), region, 32).astype(int) - crop_resized(rgb, region, 32))
    assert error.mean() < 1.5  # chroma is coarser than luma at the one hard edge in the picture
    assert np.median(error) <= 1


@pytest.mark.parametrize("sub", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("side", [16, 32, 40, 64, 80, 128])
def test_a_crop_of_any_size_from_planes_of_any_kind(sub: tuple[int, int], bits: int, side: int) -> None:
    """Also where one plane, but not the others, has the size that is asked for."""
    rgb = cv2.GaussianBlur(pattern(160, 144, 0), (0, 0), 4)
    region = (6, 6, 6 + side, 6 + side)
    error = np.abs(crop_resized(planar(rgb, sub, bits), region, 32).astype(int) - crop_resized(rgb, region, 32))
    assert error.mean() < 1.5


@pytest.mark.parametrize("region", [(-20, -10, 44, 54), (60, 50, 124, 114), (-30, -30, 130, 130), (200, 200, 264, 264)])
def test_a_crop_past_the_border_is_padded_never_stretched(region: tuple[int, int, int, int]) -> None:
    rgb = np.full((80, 96, 3), 200, np.uint8)
    for picture in (rgb, planar(rgb), planar(rgb, bits=10)):
        crop = crop_resized(picture, region, region[2] - region[0])
        x0, y0 = max(0, -region[0]), max(0, -region[1])
        x1, y1 = min(region[2], 96) - region[0], min(region[3], 80) - region[1]
        inside = np.zeros(crop.shape[:2], bool)
        if x1 > x0 and y1 > y0:
            inside[y0:y1, x0:x1] = True
        assert np.abs(crop[inside].astype(int) - 200).max(initial=0) <= 1
        assert np.abs(crop[~inside].astype(int) - PAD).max(initial=0) <= 1


@pytest.mark.parametrize(("bits", "values"), [(10, [1023, 2, 1, 1, 0]), (8, [255, 0, 0, 0, 0])])
def test_fewer_bits_are_the_nearest_and_never_too_many(bits: int, values: list[int]) -> None:
    deep = np.array([[4095, 6, 5, 2, 1]], np.uint16)
    planes = Planes(deep, deep, deep, Colour("bt709"), bits=12, sub_w=1, sub_h=1)
    assert at_bits(planes, bits).y.tolist() == [values]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("have", "want"), [(8, 10), (10, 8), (16, 10), (10, 10)])
def test_colours_at_other_bits_come_without_their_alpha(have: int, want: int, full: bool) -> None:
    planes = planar(pattern(64, 48, 0), bits=have)
    planes = replace(planes, alpha=np.full_like(planes.y, 3), colour=Colour("bt709", full))
    for made in (at_bits(planes, want), to_limited(planes, want)):
        assert (made.alpha, made.bits) == (None, want)
