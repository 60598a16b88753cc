"""Tracking against a made-up finder: what is found when is known exactly, so identities can be judged exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest

from headstream.shared.state import pack, unpack
from headstream.track.associate import best_pairs, steady_crop
from headstream.track.boxes import overlap
from headstream.track.faces import Face
from headstream.track.followed import REMEMBERED
from headstream.track.framing import Framing, framing_of
from headstream.track.terms import Evidence, TrackOptions
from headstream.track.tracker import Tracker
from headstream.types import Box, Frame, Head, Region, UInt8Array

SIZE = (640, 360)
Scene = Callable[[int], dict[str, tuple[float, float, float]]]  # frame -> person -> (cx, cy, side)
COLOURS = {"ann": (200, 60, 60), "bob": (60, 90, 210), "cat": (70, 200, 90)}


class StageFinder:
    """Finds the people of a scene, drawn as coloured discs; whoever stands behind another is not seen."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.index = scene, 0
        self.looks = self.scans = 0

    def frame(self, index: int, rate: int = 30) -> Frame:
        self.index = index
        picture: UInt8Array = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
        for name, (cx, cy, side) in self.scene(index).items():
            cv2.circle(picture, (round(cx), round(cy)), round(side * 0.8), COLOURS[name], -1)
            cv2.circle(picture, (round(cx), round(cy)), round(side * 0.45), (225, 180, 150), -1)
            cv2.rectangle(picture, (round(cx - side), round(cy + side)), (round(cx + side), SIZE[1]), COLOURS[name], -1)
        return Frame(picture, index=index, pts=Fraction(index, rate))

    def _seen(self) -> list[Face]:
        faces: list[Face] = []
        for cx, cy, side in reversed(self.scene(self.index).values()):
            box = (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)
            if all(overlap(box, other.box_px) < 0.3 for other in faces):
                faces.append(Face(box, np.full((6, 2), (cx, cy), np.float32), 0.9))
        return faces

    def scan(self, frame: Frame) -> list[Face]:
        self.scans += 1
        return self._seen()

    def look(self, frame: Frame, region: Region) -> list[Face]:
        self.looks += 1
        x0, y0, x1, y1 = region
        return [f for f in self._seen() if x0 < f.landmarks_px[2, 0] < x1 and y0 < f.landmarks_px[2, 1] < y1]


def play(scene: Scene, frames: int, options: TrackOptions | None = None) -> list[tuple[Head, ...]]:
    """Heads of every frame; mattes always fill their boxes where somebody is."""
    finder = StageFinder(scene)
    tracker = Tracker(finder, options)
    shown = []
    for index in range(frames):
        heads = tracker.update(finder.frame(index))
        people = scene(index).values()
        evidence = {
            h.track_id: Evidence(0.9 if any(abs(centre(h)[0] - p[0]) < p[2] for p in people) else 0.0, centre(h))
            for h in heads
        }
        tracker.observe(evidence)
        shown.append(heads)
    return shown


def centre(head: Head) -> tuple[float, float]:
    x0, y0, x1, y1 = head.box_px
    return (x0 + x1) / 2, (y0 + y1) / 2


def who(heads: tuple[Head, ...], scene: dict[str, tuple[float, float, float]]) -> dict[int, str]:
    """Number -> the person standing nearest."""
    return {h.track_id: min(scene, key=lambda name: abs(scene[name][0] - centre(h)[0])) for h in heads}


def test_one_still_person_costs_few_looks_and_keeps_its_crop() -> None:
    finder = StageFinder(lambda i: {"ann": (320, 150, 80)})
    tracker = Tracker(finder)
    crops = set()
    for index in range(60):
        (head,) = tracker.update(finder.frame(index))
        tracker.observe({1: Evidence(0.9, (320, 150))})
        crops.add(head.crop_px)
        assert head.track_id == 1
    assert len(crops) == 1
    assert finder.looks <= 21
    assert finder.scans <= 5


def test_a_person_walking_is_in_the_middle_of_the_crop() -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (100 + 4 * i, 150, 80)}

    for index, heads in enumerate(play(scene, 90)):
        (head,) = heads
        if index > 15:
            assert abs(centre(head)[0] - scene(index)["ann"][0]) < 4
        x0, y0, x1, y1 = head.crop_px
        assert (x1 - x0) == (y1 - y0)
        assert all(v % 2 == 0 for v in head.crop_px)


def crossing(i: int) -> dict[str, tuple[float, float, float]]:
    """Ann walks right in front of Bob, who walks left; for about ten frames he is hidden."""
    return {"bob": (520 - 4 * i, 150, 80), "ann": (120 + 4 * i, 152, 84)}


def test_two_people_keep_their_numbers_through_a_crossing() -> None:
    shown = play(crossing, 100)
    before, after = who(shown[10], crossing(10)), who(shown[95], crossing(95))
    assert set(before.values()) == {"ann", "bob"}
    assert before == after


def test_two_people_who_turn_back_when_they_meet_keep_their_numbers() -> None:
    """Motion alone would swap them: only looks can tell."""

    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        step = 4 * min(i, 100 - i)
        return {"bob": (520 - step, 150, 80), "ann": (120 + step, 152, 84)}

    shown = play(scene, 100)
    assert who(shown[10], scene(10)) == who(shown[95], scene(95))


@pytest.mark.parametrize("away", [10, 45, 150])
def test_somebody_who_leaves_and_returns_keeps_the_number(away: int) -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        people = {"ann": (200.0, 150.0, 80.0)}
        if not 30 <= i < 30 + away:
            people["bob"] = (460.0 if i < 30 else 420.0, 150.0, 80.0)
        return people

    shown = play(scene, 60 + away)
    assert who(shown[20], scene(20)) == who(shown[-1], scene(59 + away))
    assert len(shown[28 + away // 2 + 10]) == (1 if away > 40 else len(shown[28 + away // 2 + 10]))


def test_a_stranger_gets_a_new_number() -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (200, 150, 80)} if i < 30 else {} if i < 80 else {"cat": (210, 150, 80)}

    shown = play(scene, 120)
    assert [h.track_id for h in shown[20]] == [1]
    assert [h.track_id for h in shown[-1]] == [2]


@pytest.mark.parametrize("put_away", [False, True])
def test_whoever_returns_in_a_bad_frame_keeps_the_number_from_strangers(put_away: bool) -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        people = {"ann": (200.0, 150.0, 80.0)} if i < 30 or i == 60 or i >= 120 else {}
        return people | ({"cat": (450.0, 150.0, 80.0)} if i > 60 else {})

    finder = StageFinder(scene)
    tracker = Tracker(finder)
    shown = []
    for index in range(160):
        heads = tracker.update(finder.frame(index))
        if put_away:
            tracker.restore(unpack(pack(tracker.snapshot(), REMEMBERED), REMEMBERED))
        fill = 0.3 if index == 60 else 0.9 if scene(index) else 0.0
        refused = tracker.observe({head.track_id: Evidence(fill, centre(head)) for head in heads})
        assert refused == ({1} if index == 60 else set())
        shown.append(heads)
    assert who(shown[60], scene(60)) == {1: "ann"}
    assert who(shown[110], scene(110)) == {2: "cat"}
    assert who(shown[-1], scene(159)) == {1: "ann", 2: "cat"}


def followed() -> tuple[StageFinder, Tracker]:
    """Somebody seen for a second, with their matte."""
    finder = StageFinder(lambda i: {"ann": (200, 150, 80)})
    tracker = Tracker(finder, TrackOptions(hold_s=2.0, doubted_s=0.2))
    for index in range(30):
        tracker.update(finder.frame(index))
        tracker.observe({1: Evidence(0.9, (200, 150))})
    return finder, tracker


def test_a_face_that_hides_is_held_while_the_matte_goes_on_and_lost_when_it_ends() -> None:
    finder, tracker = followed()
    finder.scene = lambda i: {}
    held = 0
    for index in range(30, 120):
        heads = tracker.update(
            finder.frame(29, 30) if index < 30 else Frame(finder.frame(29).rgb, pts=Fraction(index, 30))
        )
        finder.index = 200
        if not heads:
            break
        assert heads[0].unseen_frames > 0 or index < 33
        held += 1
        tracker.observe({1: Evidence(0.9, (200, 150))} if index < 60 else {1: Evidence(0.0, (200, 150))})
    assert 28 <= held <= 45


def frames_held(*, told_of_carried: bool) -> int:
    """How long a hidden face is held at 10 frames a second where every third frame has a matte of its own."""
    finder, tracker = followed()
    finder.scene = lambda i: {}
    held = 0
    for index in range(30, 90):
        finder.index = 200
        if not tracker.update(Frame(finder.frame(29).rgb, pts=Fraction(3 * index - 60, 30))):
            break
        held += 1
        if index % 3 == 0:
            tracker.observe({1: Evidence(0.9, (200, 150))})
        elif told_of_carried:
            tracker.still([1])
    return held


def test_a_hidden_face_is_held_too_where_mattes_are_carried() -> None:
    assert frames_held(told_of_carried=False) < 10
    assert 18 <= frames_held(told_of_carried=True) <= 22


def test_a_box_without_a_head_in_it_is_not_believed_and_costs_no_number() -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (200, 150, 80)}

    finder = StageFinder(scene)
    tracker = Tracker(finder)
    (head,) = tracker.update(finder.frame(0))
    assert tracker.observe({head.track_id: Evidence(0.1, (0, 0))}) == {head.track_id}
    assert tracker.update(finder.frame(1)) == ()
    again = [tracker.update(finder.frame(k)) for k in range(2, 50)]
    assert [h.track_id for heads in again for h in heads][:1] == [1]


def test_a_part_of_a_face_that_passes_for_one_is_nobody_else() -> None:
    class Doubled(StageFinder):
        def _seen(self) -> list[Face]:
            (whole,) = super()._seen()
            return [Face((170, 120, 230, 180), whole.landmarks_px, 0.8), whole]

    finder = Doubled(lambda i: {"ann": (200, 150, 120)})
    tracker = Tracker(finder)
    for index in range(40):
        heads = tracker.update(finder.frame(index))
        assert [head.track_id for head in heads] == [1]
        tracker.observe({1: Evidence(0.9, (200, 150))})


def test_a_child_that_is_held_to_the_chin_is_somebody_else() -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (200, 150, 120)} if i < 20 else {"ann": (200, 150, 120), "bob": (200, 204, 48)}

    finder = StageFinder(scene)
    tracker = Tracker(finder)
    for index in range(40):
        heads = tracker.update(finder.frame(index))
        tracker.observe({1: Evidence(0.9, (200, 150)), 2: Evidence(0.9, (200, 204))})
    assert [head.track_id for head in heads] == [1, 2]


def test_a_cut_is_seen_at_once() -> None:
    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (150, 150, 60)} if i < 20 else {"bob": (480, 200, 120)}

    finder = StageFinder(scene)
    tracker = Tracker(finder)
    for index in range(24):
        frame = finder.frame(index)
        if index >= 20:
            frame = Frame(frame.rgb // 3, index=index, pts=frame.pts)
        heads = tracker.update(frame)
        assert tracker.cut_before == (index == 20)
        tracker.observe({h.track_id: Evidence(0.9, centre(h)) for h in heads})
        assert abs(centre(heads[0])[0] - next(iter(scene(index).values()))[0]) < 5


@pytest.mark.parametrize("hole_s", [2.5, 120])
def test_a_hole_in_time_does_not_blow_up_what_is_looked_at(hole_s: float) -> None:
    sides = []

    class Finder(StageFinder):
        def look(self, frame: Frame, region: Region) -> list[Face]:
            sides.append(region[2] - region[0])
            return super().look(frame, region)

    finder = Finder(lambda i: {"ann": (320, 170, 40 * 1.04 ** min(i, 41))})
    tracker = Tracker(finder)
    for index in range(48):
        frame = finder.frame(index)
        pts = frame.pts + (Fraction(hole_s) if index >= 42 else 0)
        heads = tracker.update(Frame(frame.rgb, index=index, pts=pts))
        sides += [head.crop_px[2] - head.crop_px[0] for head in heads]
        tracker.observe({head.track_id: Evidence(0.9, centre(head)) for head in heads})
    assert len(heads) == 1
    assert max(sides) < 2000


def test_after_a_cut_nobody_is_refused_for_what_was_there_before() -> None:
    finder = StageFinder(lambda i: {"ann": (200, 150, 80)})
    tracker = Tracker(finder)
    for index in range(10):  # a poster, which no matte fills
        tracker.observe({head.track_id: Evidence(0.1, (0, 0)) for head in tracker.update(finder.frame(index))})
    heads = tracker.update(Frame(finder.frame(10).rgb // 3, index=10, pts=Fraction(10, 30)))
    assert tracker.cut_before
    assert len(heads) == 1


def test_who_is_in_a_picture_of_another_size_is_looked_for_anew() -> None:
    class Finder:  # whoever is there fills the middle: a phone that is turned shows the same, elsewhere
        def scan(self, frame: Frame) -> list[Face]:
            width, height = frame.size_px
            box = (0.4 * width, 0.4 * height, 0.4 * width + 60, 0.4 * height + 60)
            return [Face(box, np.full((6, 2), (box[0] + 30, box[1] + 30), np.float32), 0.9)]

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return []

    tracker = Tracker(Finder())
    for index, size in enumerate(((640, 480), (640, 480), (1280, 960), (1280, 960), (480, 640))):
        picture = np.full((size[1], size[0], 3), 128, np.uint8)
        (head,) = tracker.update(Frame(picture, index=index, pts=Fraction(index, 30)))
        assert tracker.cut_before == (index in {2, 4})
        assert head.box_px[:2] == pytest.approx((0.4 * size[0], 0.4 * size[1]), abs=2)
        tracker.observe({head.track_id: Evidence(0.9, centre(head))})


def test_long_hair_widens_the_crop_little_by_little() -> None:
    finder = StageFinder(lambda i: {"ann": (320, 150, 80)})
    tracker = Tracker(finder)
    sides = []
    for index in range(40):
        (head,) = tracker.update(finder.frame(index))
        sides.append((head.crop_px[2] - head.crop_px[0]) / 80)
        tracker.observe({1: Evidence(0.9, (320, 150), (240, 60, 400, 150 + (50 if index < 5 else 120)))})
    assert sides[0] == pytest.approx(2.4, abs=0.05)  # nothing is known of the hair yet
    assert sides[1] == pytest.approx(1.25 * 160 / 80, abs=0.1)
    assert sides[-1] == pytest.approx(1.25 * 210 / 80, rel=0.07)
    assert max(b / a for a, b in itertools.pairwise(sides)) < 1.08


def test_a_head_beside_its_face_is_in_the_middle_of_the_crop() -> None:
    finder = StageFinder(lambda i: {"ann": (320, 150, 80)})
    tracker = Tracker(finder)
    for index in range(10):
        (head,) = tracker.update(finder.frame(index))
        tracker.observe({1: Evidence(0.9, (320, 150), (300, 70, 420, 190))})
    x0, y0, x1, y1 = head.crop_px
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((320 + 0.2 * 1.875 * 80, 130), abs=4)
    assert x1 - x0 == pytest.approx(1.25 * 120, abs=4)


def test_a_crop_is_never_wider_than_the_network_knows_nor_tighter_than_the_face() -> None:
    for seen, side in (((0, 0, 640, 360), 3.4), ((310, 140, 330, 160), 1.7)):
        assert framing_of(seen, (280, 110, 360, 190), 3.4).side == side


def test_a_framing_moves_a_little_a_frame_and_not_for_little() -> None:
    here = Framing(2.0)
    assert here.towards(Framing(2.1, 0.1, -0.1)) == here
    assert here.towards(Framing(3.0, 1.0, -0.05)) == Framing(2.0 * 1.04, 0.15, 0.0)
    assert here.towards(Framing(1.5, 0.0, -1.0)) == Framing(2.0 * 0.99, 0.0, -0.15)


def test_a_crop_stays_put_for_small_moves_only() -> None:
    last = (100, 100, 300, 300)
    assert steady_crop((102, 100, 302, 300), last) == last
    assert steady_crop((110, 100, 310, 300), last) == (110, 100, 310, 300)
    assert steady_crop((90, 90, 330, 330), last) == (90, 90, 330, 330)


def test_pairs_are_the_cheapest_together_not_one_by_one() -> None:
    # one by one, 0-0 (1.0) is taken first and leaves 1-1 (9.0); together, 0-1 and 1-0 cost 5.0
    assert best_pairs([[1.0, 3.0], [2.0, 9.0]]) == {0: 1, 1: 0}
    assert best_pairs([[np.inf, 3.0], [np.inf, 1.0]]) == {1: 1}


def test_reset_forgets_everybody() -> None:
    finder = StageFinder(lambda i: {"ann": (320, 150, 80), "bob": (120, 150, 80)})
    tracker = Tracker(finder)
    assert {h.track_id for h in tracker.update(finder.frame(0))} == {1, 2}
    tracker.reset()
    finder.scene = lambda i: {"cat": (320, 150, 80)}
    assert {h.track_id for h in tracker.update(finder.frame(0))} == {1}


def box_iou_by_hand() -> tuple[Box, Box, float]:
    return (0, 0, 4, 4), (2, 2, 6, 6), 4 / 28


def test_overlap_by_hand() -> None:
    a, b, iou = box_iou_by_hand()
    assert overlap(a, b) == pytest.approx(iou)
    assert overlap(a, (10, 10, 12, 12)) == 0


def test_what_the_border_leaves_of_a_head_is_nobody_new() -> None:
    class Finder:  # as seen: of a face that is cut in two the detector makes a small one in what is left
        x = 0.0

        def scan(self, frame: Frame) -> list[Face]:
            width = frame.size_px[0]
            left = width - self.x
            box = (
                (self.x, 100, self.x + 180, 280) if left > 90 else (self.x, 110, self.x + 0.8 * left, 110 + 0.8 * left)
            )
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            return [Face(box, np.full((6, 2), middle, np.float32), 0.6)] if left > 30 else []

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return self.scan(frame)

    finder = Finder()
    tracker = Tracker(finder)
    numbers = set()
    for index in range(90):
        finder.x = 640 - abs(index - 45) * 12 - 20  # out to the right and back in
        frame = Frame(np.full((480, 640, 3), 128, np.uint8), index=index, pts=Fraction(index, 30))
        heads = tracker.update(frame)
        tracker.observe({h.track_id: Evidence(0.9, centre(h)) for h in heads})
        assert len(heads) <= 1
        numbers |= {h.track_id for h in heads}
    assert numbers == {1}


def test_somebody_beside_a_head_at_the_border_is_somebody() -> None:
    class Finder:
        def scan(self, frame: Frame) -> list[Face]:
            boxes = ((-6.0, 100.0, 184.0, 290.0), (139.0, 100.0, 299.0, 260.0))
            return [Face(b, np.full((6, 2), (b[0] + b[2]) / 2, np.float32), 0.9) for b in boxes]

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return self.scan(frame)

    tracker = Tracker(Finder())
    heads: tuple[Head, ...] = ()
    for index in range(10):
        frame = Frame(np.full((480, 640, 3), 128, np.uint8), index=index, pts=Fraction(index, 30))
        heads = tracker.update(frame)
        tracker.observe({h.track_id: Evidence(0.9, centre(h)) for h in heads})
    assert len(heads) == 2


@pytest.mark.parametrize("apart_s", [1, 4, 10])
def test_pictures_seconds_apart_are_each_looked_at(apart_s: int) -> None:
    def scene(index: int) -> dict[str, tuple[float, float, float]]:
        return {"ann": (200.0 + 10 * index, 160.0, 80.0)}

    finder = StageFinder(scene)
    tracker = Tracker(finder)
    for index in range(12):
        frame = finder.frame(index).timed(pts=Fraction(index * apart_s))
        (head,) = tracker.update(frame)
        assert head.track_id == 1
        assert abs((head.box_px[0] + head.box_px[2]) / 2 - scene(index)["ann"][0]) < 12
        tracker.observe({1: Evidence(1.0, (200.0 + 10 * index, 160.0))})


def test_landmarks_go_with_the_head_between_looks() -> None:
    for index, (head,) in enumerate(play(lambda i: {"ann": (100 + 6 * i, 150, 80)}, 60)):
        if index > 15:
            assert abs(head.landmarks_px[:, 0].mean() - centre(head)[0]) < 3


@pytest.mark.parametrize(("away", "number"), [(40, 1), (80, 2)])
def test_who_stays_away_for_too_long_is_somebody_new(away: int, number: int) -> None:
    """Of 30 frames a second."""

    def scene(i: int) -> dict[str, tuple[float, float, float]]:
        return {} if 30 <= i < 30 + away else {"ann": (200, 150, 80)}

    shown = play(scene, 60 + away, TrackOptions(remember_s=2.0))
    assert [head.track_id for head in shown[-1]] == [number]


def test_while_a_face_is_hidden_the_box_goes_with_the_matte() -> None:
    finder, tracker = followed()
    finder.scene = lambda i: {}
    for index in range(30, 80):
        x = 200.0 + 3 * (index - 30)
        (head,) = tracker.update(finder.frame(29).timed(pts=Fraction(index, 30)))
        finder.index = 200
        tracker.observe({1: Evidence(0.9, (x, 150))})
    assert abs(centre(head)[0] - x) < 20


def test_of_pictures_seconds_apart_a_newcomer_is_seen_at_once() -> None:
    finder = StageFinder(lambda i: {"ann": (200.0, 150.0, 80.0)} | ({"bob": (480, 150, 80)} if i >= 3 else {}))
    tracker = Tracker(finder)
    for index in range(6):
        heads = tracker.update(finder.frame(index).timed(pts=Fraction(4 * index)))
        tracker.observe({head.track_id: Evidence(0.9, centre(head)) for head in heads})
        assert len(heads) == 1 + (index >= 3)


@pytest.mark.parametrize(("cut", "number"), [(False, 1), (True, 2)])
def test_after_a_cut_somebody_only_much_like_who_left_is_somebody_else(
    monkeypatch: pytest.MonkeyPatch, cut: bool, number: int
) -> None:
    monkeypatch.setattr("headstream.track.departed.likeness", lambda a, b: 0.85)
    finder = StageFinder(lambda i: {} if 30 <= i < 70 else {"ann": (200, 150, 80)})
    tracker = Tracker(finder)
    for index in range(80):
        frame = finder.frame(index)
        heads = tracker.update(Frame(frame.rgb // 3, index=index, pts=frame.pts) if cut and index >= 30 else frame)
        tracker.observe({head.track_id: Evidence(0.9 if finder.scene(index) else 0.0, centre(head)) for head in heads})
    assert [head.track_id for head in heads] == [number]


def test_a_hidden_face_is_not_sought_ever_further_away() -> None:
    finder, tracker = followed()
    finder.scene = lambda i: {}
    for index in range(30, 88):
        if index >= 80:
            finder.scene = lambda i: {"ann": (500, 150, 80)}  # somebody else, of the same looks, enters there
        heads = tracker.update(finder.frame(29).timed(pts=Fraction(index, 30)))
        finder.index = 200
        tracker.observe({head.track_id: Evidence(0.9, centre(head)) for head in heads})
    assert {head.track_id: round(centre(head)[0], -1) for head in heads} == {1: 200, 2: 500}


def test_only_what_is_cut_off_again_and_again_is_given_up() -> None:
    finder, tracker = followed()
    (head,) = tracker.update(finder.frame(30))
    off, whole = (True, False, False, False), (False,) * 4
    for _ in range(3):
        for _ in range(8):
            assert tracker.better_crop(head, off, anew=True) is not None
        assert tracker.better_crop(head, whole, anew=True) is None
    for _ in range(9):
        given = tracker.better_crop(head, off, anew=True)
    assert given is None


def test_a_second_box_on_one_face_is_nobody() -> None:
    class Finder:
        def scan(self, frame: Frame) -> list[Face]:
            boxes = ((200.0, 100.0, 280.0, 180.0), (238.0, 100.0, 318.0, 180.0))  # too little in common for a twin
            return [Face(b, np.full((6, 2), (b[0] + 40, 140), np.float32), 0.9 - b[0] / 1000) for b in boxes]

        def look(self, frame: Frame, region: Region) -> list[Face]:
            return self.scan(frame)

    tracker = Tracker(Finder())
    for index in range(20):
        frame = Frame(np.full((360, 640, 3), 128, np.uint8), index=index, pts=Fraction(index, 30))
        heads = tracker.update(frame)
        tracker.observe({head.track_id: Evidence(0.9, centre(head)) for head in heads})
        assert [head.track_id for head in heads] == [1]
