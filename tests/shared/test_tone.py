"""HDR as a standard screen shows it, against an independent way there from a standard picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from headstream.segment.load import load_segmenter
from headstream.segment.places import looked_at
from headstream.shared.colour import planes_from_rgb
from headstream.shared.tone import as_filmed, as_shown, is_hdr
from headstream.timing import StageTimes
from headstream.track.finder import small_rgb
from headstream.types import Colour, Frame, Planes, UInt8Array

PQ, HLG = 16, 18
HDR = Colour("bt2020", False, 9, 9, PQ)
# ITU-R BT.2087-0, the standard's own figures.
FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def as_hdr(rgb: UInt8Array, transfer: int = PQ) -> Planes:
    """A standard picture as a camera for HDR would have written it, 10 bits."""
    light = (rgb / 255.0) ** 2.4 @ FROM_709.T * 203
    if transfer == PQ:
        y = (light / 10000) ** 0.1593017578125
        code = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        scene = (light / 1000) ** (1 / 1.2)
        code = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    eight = planes_from_rgb(np.zeros_like(rgb), HDR, bits=10)
    rows: Any = np.array([[0.2627, 0.678, 0.0593]])
    luma = (code @ rows.T)[..., 0]
    u, v = (code[..., 2] - luma) / 1.8814, (code[..., 0] - luma) / 1.4746
    ys, us, vs = ((luma * 219 + 16) * 4, (u * 224 + 128) * 4, (v * 224 + 128) * 4)
    y10, u10, v10 = (np.rint(p).clip(0, 1023).astype(np.uint16) for p in (ys, us, vs))
    return replace(eight, y=y10, u=u10, v=v10, colour=replace(HDR, transfer_code=transfer))


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_is_shown_as_the_standard_picture_it_came_from(transfer: int, portrait: UInt8Array) -> None:
    rgb = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    hdr = as_hdr(rgb, transfer)
    code = Frame(planes=hdr).rgb
    shown = as_shown(code, hdr)
    middle = (rgb > 40) & (rgb < 210)  # highlights are pressed, and 8 bits of PQ are few in the dark
    untoned = np.abs(code.astype(int) - rgb)[middle].mean()
    assert np.abs(shown.astype(int) - rgb)[middle].mean() < 3 < untoned


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_standard_picture_among_hdr_is_seen_as_it_was(transfer: int, portrait: UInt8Array) -> None:
    rgb = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    hdr = as_hdr(rgb, transfer)
    filmed = as_filmed(rgb, hdr.colour)
    middle = (rgb > 40) & (rgb < 210)
    assert np.abs(as_shown(filmed, hdr).astype(int) - rgb)[middle].mean() < 4
    assert as_filmed(rgb, Colour()) is rgb


def test_more_light_is_never_darker_and_black_stays_black() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    for transfer in (PQ, HLG):
        shown = as_shown(grey, as_hdr(np.zeros((2, 2, 3), np.uint8), transfer))[:, 0, :].astype(int)
        assert shown[0].max() == 0
        assert np.diff(shown, axis=0).min() >= 0
        assert shown[-1].min() == 255


def pq_of(light: Any) -> Any:
    """ITU-R BT.2100-2, table 4: code values, 0..1, of light in cd/m2."""
    y = (np.asarray(light) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def test_below_highlights_a_code_value_is_what_a_standard_screen_has_for_its_light() -> None:
    """Also in the dark, as nearly as can be seen: no bands."""
    codes = np.arange(int(255 * pq_of(0.78 * 203)), dtype=np.uint8)
    shown = as_shown(codes[None, :, None].repeat(3, axis=2), as_hdr(np.zeros((2, 2, 3), np.uint8)))[0, :, 1]
    light = np.linspace(0, 203, 400000)
    want = 255 * (np.interp(codes / 255, pq_of(light), light) / 203) ** (1 / 2.4)
    assert (np.abs(shown - want) < np.where(want < 12, 6, 2)).all()


def test_highlights_are_pressed_together_and_do_not_run_into_one() -> None:
    codes = np.rint(255 * pq_of([150, 203, 300])).astype(np.uint8)
    paper, white, light = as_shown(codes[None, :, None].repeat(3, axis=2), as_hdr(np.zeros((2, 2, 3), np.uint8)))[
        0, :, 0
    ]
    assert paper + 5 < white < light < 256
    assert white > 230


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("primaries", [1, 9])
@pytest.mark.parametrize("seen", [True, False])
def test_channels_are_mixed_only_where_primaries_are_others(transfer: int, primaries: int, seen: bool) -> None:
    rgb = np.random.default_rng(3).integers(0, 150, (8, 8, 3), dtype=np.uint8)
    hdr = as_hdr(rgb, transfer)
    film = replace(hdr, colour=replace(hdr.colour, primaries_code=primaries))

    def way(picture: UInt8Array) -> UInt8Array:
        return as_shown(picture, film) if seen else as_filmed(picture, film.colour)

    alone = np.dstack([way(rgb[..., [k] * 3])[..., k] for k in range(3)])
    assert (np.abs(way(rgb).astype(int) - alone).max() > 8) == (primaries == 9)


def test_a_channel_without_light_leaves_the_others_theirs() -> None:
    red = np.array([[[140, 0, 0]]], np.uint8)
    for transfer in (PQ, HLG):
        assert as_shown(red, as_hdr(red, transfer))[0, 0, 0] > 100


def test_a_standard_picture_is_the_very_same_array(portrait: UInt8Array) -> None:
    rgb = portrait
    assert as_shown(rgb, rgb) is rgb
    planes = planes_from_rgb(rgb, Colour())
    assert as_shown(rgb, planes) is rgb
    assert not is_hdr(planes)


def test_the_network_sees_it_toned_and_the_matte_the_films_own_values(portrait: UInt8Array) -> None:
    rgb = cv2.resize(portrait[:256, 96:352], (256, 256))
    hdr = as_hdr(rgb)
    place = (0, 0, 256, 256)
    segmenter = load_segmenter("lite", device="cpu")
    plain = looked_at(segmenter, [(rgb, place)], ("head",), StageTimes())[1]["head"][0]
    crops, planes = looked_at(segmenter, [(hdr, place)], ("head",), StageTimes())
    untoned = looked_at(segmenter, [(crops[0], place)], ("head",), StageTimes())[1]["head"][0]
    assert np.array_equal(crops[0], Frame(planes=hdr).rgb)
    assert np.abs(planes["head"][0] - plain).mean() < 0.5 * np.abs(untoned - plain).mean()


def test_the_detector_sees_it_toned(portrait: UInt8Array) -> None:
    rgb = portrait
    hdr = as_hdr(rgb)
    small, _ = small_rgb(Frame(planes=hdr))
    plain, _ = small_rgb(Frame(rgb))
    assert np.abs(small.astype(int) - plain).mean() < 6
