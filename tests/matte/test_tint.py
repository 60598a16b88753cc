"""Hair in another colour: only hair, its light and shade kept, in every kind of picture and also where mattes are carried."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from headstream.errors import ModelError, UsageError
from headstream.matte.refine import MatteOptions
from headstream.matte.tint import hair_luma, hair_share, tint_correction
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.colour import planes_from_rgb
from headstream.track.finder import FaceFinder
from headstream.types import Colour, Cutout, Frame, UInt8Array
from headstream.words import parse_hair_color

PURPLE = (138, 43, 226)


def cut(frame: Frame, segmenter: CropSegmenter, finder: FaceFinder, colour: Any) -> Cutout:
    options = CutOptions(matte=MatteOptions(hair_color=colour))
    return HeadCutter(segmenter, finder, options).cut(frame)


def frames_of(portrait: UInt8Array) -> dict[str, Frame]:
    return {
        "rgb": Frame(portrait),
        "8-bit planes": Frame(planes=planes_from_rgb(portrait, Colour(), sub=(2, 2))),
        "10-bit full range": Frame(planes=planes_from_rgb(portrait, Colour(full_range=True), bits=10)),
    }


@pytest.mark.parametrize("kind", ["rgb", "8-bit planes", "10-bit full range"])
def test_hair_changes_and_the_face_does_not(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, kind: str
) -> None:
    frame = frames_of(portrait)[kind]
    plain, dyed = (cut(frame, segmenter, finder, colour).rgba().astype(float) for colour in (None, PURPLE))
    assert np.array_equal(plain[..., 3], dyed[..., 3])  # the matte is the same
    hair, face = np.s_[40:70, 215:250], np.s_[120:150, 205:250]
    assert np.abs(plain[face] - dyed[face])[..., :3].mean() < 3
    red, green, blue = dyed[hair].reshape(-1, 4)[:, :3].mean(axis=0)
    assert blue > red > green
    assert blue - green > 60
    lights = [picture[hair][..., :3] @ (0.3, 0.59, 0.11) for picture in (plain, dyed)]
    assert np.corrcoef(lights[0].ravel(), lights[1].ravel())[0, 1] > 0.9  # strands keep their shade


def test_the_soft_edge_is_dyed_too(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    dyed = cut(Frame(portrait), segmenter, finder, (0, 0, 255)).rgba().astype(int)
    top = dyed[:70, 170:300]
    edge = top[(top[..., 3] > 20) & (top[..., 3] < 160)]
    assert len(edge) > 50
    assert ((edge[:, 2] - edge[:, 0]) > 30).mean() > 0.8


def test_carried_mattes_stay_dyed(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    cutter = HeadCutter(segmenter, finder, CutOptions(matte=MatteOptions(hair_color=PURPLE)))
    first, second = (
        cutter.cut(Frame(portrait, index=k, pts=Fraction(k, 30)), carry=k > 0).rgba().astype(int) for k in range(2)
    )
    assert "carry" in cutter.times.mean_ms()
    assert np.abs(first - second)[..., :3].mean() < 1


def test_photos_are_dyed(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    options = CutOptions(matte=MatteOptions(hair_color=PURPLE))
    rgba = PhotoCutter(segmenter, finder, options).cut(portrait).cutout.rgba().astype(int)
    assert (rgba[40:70, 215:250, 2] - rgba[40:70, 215:250, 1]).mean() > 60


def test_black_hair_becomes_lighter_and_white_hair_darker() -> None:
    for own in (15, 240):
        rgb = np.full((16, 16, 3), own, np.float32)
        hair = np.ones((16, 16), np.float32)
        luma = hair_luma(rgb.astype(np.uint8), hair)
        assert luma == pytest.approx(own, abs=1)
        after = (rgb + tint_correction(rgb, hair, PURPLE, own)).mean(axis=(0, 1))
        assert abs(float(after @ (0.299, 0.587, 0.114)) - 92) < abs(own - 92)
        assert after.min() >= 0
        assert after.max() <= 255


def test_without_hair_nothing_changes() -> None:
    rgb, none = np.full((16, 16, 3), 90, np.float32), np.zeros((16, 16), np.float32)
    assert hair_luma(rgb.astype(np.uint8), none) is None
    assert not tint_correction(rgb, hair_share(none, np.ones_like(none)), PURPLE, 90.0).any()


def test_several_parts_in_one_run(portrait: UInt8Array, segmenter: CropSegmenter) -> None:
    crop = np.ascontiguousarray(portrait[None, :300, 80:380])
    together = segmenter.predict_parts(crop, ("head", "hair"))
    assert together.shape == (2, 1, 300, 300)
    assert np.allclose(together[0], segmenter.predict(crop))
    assert np.allclose(together[1], segmenter.predict(crop, "hair"))
    with pytest.raises(ModelError, match="not 'arm'"):
        segmenter.predict_parts(crop, ("head", "arm"))  # type: ignore[arg-type]


def test_what_is_no_colour() -> None:
    assert parse_hair_color("#8a2be2") == PURPLE
    assert parse_hair_color("#fff") == (255, 255, 255)
    assert parse_hair_color(None) is None
    for text in ("purple", "#12", "#gggggg", "8a2be2", "# 8a2be"):
        with pytest.raises(UsageError, match="--hair-color"):
            parse_hair_color(text)
