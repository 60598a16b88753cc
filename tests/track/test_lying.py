"""Heads that lie on their side or stand on their head, in films: as good as upright ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np
import pytest

from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.colour import PAD
from headstream.shared.straight import leaning, straightened
from headstream.shared.turned import turned
from headstream.track.boxes import crop_square
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.track.lying import Lying, in_steps, roll_of
from headstream.track.tracker import Tracker
from headstream.types import Box, Float32Array, Frame, Region, UInt8Array
from tests.conftest import moving_portrait

COUNT = 20


def cut(cutter: HeadCutter, pictures: list[UInt8Array], *, begin: int = 0) -> list[tuple[int, UInt8Array]]:
    """Of each picture, how far the head leans, and its alpha; -1 without one."""
    cutouts = [cutter.cut(Frame(p, index=k, pts=Fraction(k, 25))) for k, p in enumerate(pictures, begin)]
    return [(cutout.heads[0].roll_deg if cutout.heads else -1, cutout.alpha) for cutout in cutouts]


def iou(one: UInt8Array, other: UInt8Array) -> float:
    return float(np.minimum(one, other).sum(dtype=np.int64) / np.maximum(one, other).sum(dtype=np.int64))


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_film_on_its_side_is_cut_like_the_film_upright(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, quarters: int
) -> None:
    pictures = moving_portrait(portrait, COUNT)
    upright = cut(HeadCutter(segmenter, finder), pictures)
    lying = cut(HeadCutter(segmenter, finder), [turned(picture, quarters) for picture in pictures])
    assert {roll for roll, _ in upright} == {0}
    assert {roll for roll, _ in lying} == {90 if quarters == 1 else -90}
    assert min(iou(a, turned(b, -quarters)) for (_, a), (_, b) in zip(upright, lying, strict=True)) > 0.95


def test_a_film_on_its_head_is_found_in_a_moment(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    pictures = moving_portrait(portrait, COUNT)
    _, upright = cut(HeadCutter(segmenter, finder), pictures)[-1]
    lying = cut(HeadCutter(segmenter, finder), [turned(picture, 2) for picture in pictures])
    assert {abs(roll) for roll, _ in lying[10:]} == {180}
    assert iou(upright, turned(lying[-1][1], 2)) > 0.95


def test_whoever_gets_up_is_upright_again(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    pictures = moving_portrait(portrait, 48, size=(240, 240))
    cutter, upright = HeadCutter(segmenter, finder), cut(HeadCutter(segmenter, finder), pictures)
    lies = [turned(picture, 1) for picture in pictures[:8]]
    assert {roll for roll, _ in cut(cutter, lies)} == {90}
    stands = cut(cutter, pictures[8:], begin=8)
    assert [roll for roll, _ in stands[-10:]] == [0] * 10
    assert iou(stands[-1][1], upright[-1][1]) > 0.95


def test_landmarks_and_box_lie_where_the_face_does(portrait: UInt8Array, finder: FaceFinder) -> None:
    upright = finder.scan(Frame(portrait))[0]
    region = crop_square(upright.box_px)
    looked = finder.look(Frame(portrait), region)[0]
    for quarters in (1, 2, 3):
        picture = Frame(turned(portrait, quarters))
        there = looked.turned(quarters, (512, 512))
        place = crop_square(there.box_px)
        again = finder.look(picture, place, 90 * quarters)[0]
        assert np.abs(np.subtract(again.box_px, there.box_px)).max() < 0.1 * (region[2] - region[0])
        assert np.abs(again.landmarks_px - there.landmarks_px).max() < 0.05 * (region[2] - region[0])
        assert finder.quarters(picture, there) == 4 - quarters
    assert finder.quarters(Frame(portrait), upright) == 0


@pytest.mark.parametrize("quarters", [1, 3])
def test_whoever_comes_back_lying_is_the_same(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, quarters: int
) -> None:
    upright = moving_portrait(portrait, 12, size=(240, 240))
    empty: list[UInt8Array] = [np.full((240, 240, 3), 20, np.uint8)] * 20
    cutter = HeadCutter(segmenter, finder, CutOptions(heads=1))
    cut(cutter, [*upright, *empty], begin=0)
    assert [roll for roll, _ in cut(cutter, [turned(upright[-1], quarters)] * 12, begin=32)][-1] == 90 * (2 - quarters)


def test_whoever_lies_beside_somebody_upright_is_found(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    picture: UInt8Array = np.full((360, 640, 3), 110, np.uint8)
    small = cv2.resize(portrait, (300, 300), interpolation=cv2.INTER_AREA)
    picture[20:320, 10:310], picture[40:340, 330:630] = small, turned(small, 2)
    stages = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(picture).heads
    assert sorted(abs(stage.head.roll_deg) for stage in stages) == [0, 180]
    cutter = HeadCutter(segmenter, finder, CutOptions(heads="all"))
    for k in range(95):
        heads = cutter.cut(Frame(picture, index=k, pts=Fraction(k, 25))).heads
    assert [abs(head.roll_deg) for head in heads] == [0, 180]


class Counted:
    """A finder, and how often it was asked which way up a face is."""

    def __init__(self, inner: FaceFinder) -> None:
        self.inner, self.asked = inner, 0

    def scan(self, frame: Frame) -> list[Face]:
        return self.inner.scan(frame)

    def look(self, frame: Frame, region: Region, roll_deg: int = 0) -> list[Face]:
        return self.inner.look(frame, region, roll_deg)

    def quarters(self, frame: Frame, face: Face, turns: int = 0) -> int:
        self.asked += 1
        return self.inner.quarters(frame, face, turns)


def test_whoever_stands_is_asked_once(portrait: UInt8Array, finder: FaceFinder) -> None:
    counted = Counted(finder)
    tracker = Tracker(counted)
    for k, picture in enumerate(moving_portrait(portrait, 40)):
        tracker.update(Frame(picture, index=k, pts=Fraction(k, 25)))
    assert counted.asked == 1


class Crowd:
    """Twelve people. asked: how often it was asked which way up one is."""

    def __init__(self) -> None:
        self.asked = 0

    def scan(self, frame: Frame) -> list[Face]:
        corners = [(60.0 + 140 * (k % 4), 60.0 + 140 * (k // 4)) for k in range(12)]
        points = a_face(0).landmarks_px
        return [Face((x, y, x + 50, y + 50), points + np.array((x, y), np.float32), 0.9) for x, y in corners]

    def look(self, frame: Frame, region: Region, roll_deg: int = 0) -> list[Face]:
        return [
            f for f in self.scan(frame) if region[0] < f.box_px[0] < region[2] and region[1] < f.box_px[1] < region[3]
        ]

    def quarters(self, frame: Frame, face: Face, turns: int = 0) -> int:
        self.asked += 1
        return turns


def test_of_a_crowd_nobody_is_asked_again_and_again() -> None:
    finder = Crowd()
    tracker = Tracker(finder)
    picture: UInt8Array = np.full((480, 640, 3), 90, np.uint8)
    for k in range(46):
        heads = tracker.update(Frame(picture, index=k, pts=Fraction(k, 25)))
    assert len(heads) == 8
    assert finder.asked == 12


class Only:
    """Sees a face when the picture is turned three quarters. looks: how the picture was turned for them."""

    def __init__(self) -> None:
        self.ways: list[int] = []

    def scan(self, frame: Frame) -> list[Face]:
        return []

    def scan_lying(self, frame: Frame, turns: int, known: Sequence[Box] = ()) -> list[Face]:
        self.ways.append(turns)
        box = (100.0, 100.0, 160.0, 160.0)
        return [Face(box, np.full((6, 2), 130, np.float32), 0.9)] if turns == 3 else []

    def quarters(self, frame: Frame, face: Face, turns: int = 0) -> int:
        return 3

    def look(self, frame: Frame, region: Region, roll_deg: int = 0) -> list[Face]:
        return self.scan_lying(frame, 3) if roll_deg == 90 else []


def test_where_nobody_is_seen_the_picture_is_turned_now_and_then() -> None:
    finder = Only()
    tracker = Tracker(finder)
    empty: UInt8Array = np.full((240, 320, 3), 90, np.uint8)
    heads = [tracker.update(Frame(empty, index=k, pts=Fraction(k, 25))) for k in range(9)]
    assert [len(found) for found in heads] == [0] * 5 + [1] * 4
    assert finder.ways[:2] == [1, 3]
    assert heads[-1][0].roll_deg == 90


def test_one_look_alone_turns_nobody() -> None:
    lying = Lying()
    for told, turns in ((1, 0), (0, 0), (1, 0), (3, 0), (3, 3), (0, 3), (0, 0)):
        lying.told(told)
        assert lying.turns == turns


def a_face(roll_deg: float, score: float = 0.9) -> Face:
    """One that leans clockwise."""
    upright = np.array([(-10, 0), (10, 0), (0, 10), (0, 20), (-20, 5), (20, 5)], np.float32)
    cos, sin = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    landmarks = upright @ np.array([[cos, sin], [-sin, cos]], np.float32)
    return Face((0.0, 0.0, 40.0, 40.0), landmarks.astype(np.float32), score)


def test_how_far_a_face_leans() -> None:
    for roll in (-170, -90, -30, 0, 45, 120):
        assert roll_of(a_face(roll).landmarks_px) == pytest.approx(roll, abs=1e-3)
    to_the_side = a_face(0).landmarks_px.copy()
    to_the_side[:2] = [(-1, 2), (1, -2)]  # the line of the eyes says nothing then
    assert abs(roll_of(to_the_side)) < 15
    from_below = a_face(0).landmarks_px.copy()
    from_below[3] = (2, 2)  # nor does the way to the mouth
    assert abs(roll_of(from_below)) < 15


def test_leaning_goes_in_steps_and_does_not_waver() -> None:
    lying = Lying()
    for roll, lean in (
        (5, 0),
        (18, 0),
        (21, 15),
        (28, 30),
        (40, 30),
        (19, 30),
        (14, 15),
        (12, 0),
        (-24, -30),
        (80, -30),
    ):
        lying.seen(a_face(roll))
        assert lying.lean_deg == lean, roll
    lies = Lying(turns=3)
    lies.seen(a_face(120))
    assert (lies.lean_deg, lies.roll_deg) == (30, 120)


@pytest.mark.parametrize("roll_deg", [-120, -45, 15, 30, 90, 165, 180])
def test_a_crop_is_shown_upright_and_its_matte_leans_again(portrait: UInt8Array, roll_deg: int) -> None:
    face: UInt8Array = cv2.resize(portrait[20:310, 90:380], (256, 256), interpolation=cv2.INTER_AREA)
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), -roll_deg, 1.0)
    leans: UInt8Array = cv2.warpAffine(face, matrix, (256, 256))
    inner = np.hypot(*np.mgrid[-127.5:128, -127.5:128]) < 120
    assert np.abs(straightened(leans, roll_deg).astype(int) - face)[inner].mean() < 4
    alpha: Float32Array = np.ascontiguousarray(leans[..., 0], np.float32)
    upright: Float32Array = np.ascontiguousarray(straightened(leans, roll_deg)[..., 0], np.float32)
    assert np.abs(leaning(upright, roll_deg) - alpha)[inner].mean() < 5
    assert leaning(alpha, 0) is alpha


def test_a_head_that_lies_otherwise_now_begins_without_leaning() -> None:
    lying = Lying(lean_deg=30)
    lying.told(1)
    assert lying.doubted(a_face(0))
    assert lying.roll_deg == 30
    lying.told(1)
    assert lying.roll_deg == -90
    for _ in range(2):
        lying.told(0)
    assert not lying.doubted(a_face(0))


def test_around_the_top_of_the_circle_nothing_wavers() -> None:
    assert in_steps(-178, 180) == 180
    assert in_steps(172, -180) == -180
    assert in_steps(160, -180) == 165


def test_unsure_faces_say_nothing_of_how_far_they_lean() -> None:
    lying = Lying()
    lying.seen(a_face(60, 0.6))
    assert lying.lean_deg == 0
    lying.seen(a_face(60, 0.8))
    assert lying.lean_deg == 60


def test_what_was_not_in_a_crop_is_grey_and_what_the_network_did_not_see_goes_on() -> None:
    for roll_deg in (-120, 30, 45):
        upright = straightened(np.full((64, 64, 3), 250, np.uint8), roll_deg)
        assert {*upright[[0, 0, -1, -1], [0, -1, 0, -1]].ravel()} == {PAD}
        assert (leaning(np.ones((64, 64), np.float32), roll_deg) > 0.999).all()


@pytest.mark.parametrize(
    ("score", "leans", "doubted"),
    [(0.9, 0.0, False), (0.8, 35.0, False), (0.7, 0.0, True), (0.9, 45.0, True), (0.9, -45.0, True)],
)
def test_what_is_doubted(score: float, leans: float, doubted: bool) -> None:
    face = a_face(leans, score)
    assert Lying().doubted(face) == doubted
    assert Lying(turns=2).doubted(face)
