"""Heads that go on beyond the crop they were looked at in: long hair, a first frame, a quick movement."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.registry import models_dir
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.track.framing import widened
from headstream.types import Float32Array, Frame, Part, Region, UInt8Array

SIZE = (400, 800)
FACE = (160.0, 110.0, 240.0, 190.0)


def painted(hair_to: int, top: int = 90) -> UInt8Array:
    """A picture with a red head in it: a face, and hair that reaches down to ``hair_to``."""
    picture: UInt8Array = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    picture[top:hair_to, 150:250] = (220, 40, 40)
    return picture


class Reds:
    """Takes what is red for head. calls: crops it was asked about."""

    side = 128

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        self.calls += len(rgb)
        return ((rgb[..., 0] > 150) & (rgb[..., 1] < 100)).astype(np.float32)


def one_face() -> Face:
    return Face(FACE, np.full((6, 2), (200.0, 150.0), np.float32), 0.9)


class Photographed(FaceFinder):
    """Sees the face where it is."""

    def search(self, rgb: UInt8Array) -> list[Face]:
        return [one_face()]


class Filmed:
    """The same, of films."""

    def scan(self, frame: Frame) -> list[Face]:
        return [one_face()]

    def look(self, frame: Frame, region: Region) -> list[Face]:
        return [one_face()]


def lowest(alpha: UInt8Array) -> int:
    return int(np.flatnonzero((alpha > 127).any(axis=1))[-1])


@pytest.mark.parametrize(("hair_to", "looks"), [(200, 2), (300, 4)])
def test_long_hair_in_a_photo_is_followed_down(hair_to: int, looks: int) -> None:
    network = Reds()
    with Photographed(models_dir()) as finder:
        result = PhotoCutter(network, finder, CutOptions()).cut(painted(hair_to))
    assert abs(lowest(result.cutout.alpha) - hair_to) < 4
    assert network.calls == 2 * looks  # each with its mirror image


def test_hair_without_end_has_one_all_the_same() -> None:
    with Photographed(models_dir()) as finder:
        result = PhotoCutter(Reds(), finder, CutOptions()).cut(painted(790))
    options = CutOptions().track
    assert result.heads[0].head.crop_px[3] - result.heads[0].head.crop_px[1] <= options.max_padding * 80 + 2


def test_the_first_frame_is_as_whole_as_those_after_it() -> None:
    cutter = HeadCutter(Reds(), Filmed())
    ends = [lowest(cutter.cut(Frame(painted(290), index=k, pts=Fraction(k, 30))).alpha) for k in range(4)]
    assert min(ends) > 285


def film(change: Callable[[int], UInt8Array], frames: int, network: Reds) -> list[UInt8Array]:
    cutter = HeadCutter(network, Filmed())
    return [cutter.cut(Frame(change(k), index=k, pts=Fraction(k, 30))).alpha for k in range(frames)]


def test_a_head_that_leaves_its_crop_is_looked_at_again_in_the_same_frame() -> None:
    network = Reds()
    alphas = film(lambda k: painted(220 if k < 5 else 250), 6, network)
    assert lowest(alphas[4]) < 222
    assert lowest(alphas[5]) > 242
    assert network.calls == 6 + 1 + 1  # once more for the newcomer, and for what grew


def test_hair_without_end_is_not_looked_at_again_in_every_frame() -> None:
    network = Reds()
    film(lambda k: painted(790), 40, network)
    assert network.calls < 40 + 3 * 8


def test_heads_within_their_crops_cost_no_further_look() -> None:
    network = Reds()
    film(lambda k: painted(220), 8, network)
    assert network.calls == 8 + 1


def test_two_touching_heads_that_are_both_cut_stay_whole_however_often_they_are_looked_at() -> None:
    """What is left out is what belongs to somebody who is not wanted."""
    boxes = [(200.0, 140.0, 260.0, 200.0), (290.0, 140.0, 350.0, 200.0)]

    class Two(Filmed):
        def scan(self, frame: Frame) -> list[Face]:
            return [Face(box, np.zeros((6, 2), np.float32), 0.9) for box in boxes]

    picture: UInt8Array = np.full((360, 640, 3), 90, np.uint8)
    picture[20:220, 180:365] = (220, 40, 40)
    network = Reds()
    cutter = HeadCutter(network, Two(), CutOptions(heads="all"))
    cutouts = [cutter.cut(Frame(picture, index=k, pts=Fraction(k, 30))) for k in range(4)]
    assert network.calls > 2 * len(cutouts)
    assert [cutout.alpha[120:200, 260:290].min() for cutout in cutouts] == [255] * 4


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ((False, True, False, False), (90, 80, 270, 260)),
        ((False, False, True, True), (100, 100, 280, 280)),
        ((True, False, True, False), (90, 90, 270, 270)),
    ],
)
def test_crops_are_widened_towards_what_they_cut(cut: tuple[bool, bool, bool, bool], expected: Region) -> None:
    assert widened((100, 100, 260, 260), cut) == expected
