"""Of a head beside another one, only what is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstream.matte.neighbour import alone
from headstream.types import Box, Float32Array, Head, Part


def somebody(track_id: int, box_px: Box, unseen_frames: int = 0) -> Head:
    return Head(track_id, box_px, (0, 0, 256, 256), np.zeros((6, 2), np.float32), 0.9, unseen_frames)


HER, HIM = somebody(1, (70, 80, 130, 140)), somebody(2, (160, 80, 220, 140))


def everything() -> dict[Part, Float32Array]:
    return {"head": np.ones((1, 64, 64), np.float32), "hair": np.ones((1, 64, 64), np.float32)}


def test_what_is_nearer_to_another_face_is_left_out() -> None:
    planes = everything()
    for alpha in alone(planes, [HER], [HER, HIM]).values():
        assert alpha[0, 20:36, 17:33].min() == 1  # her face
        assert alpha[0, 20:36, 41:55].max() == 0  # his
        assert alpha[0, -8:].min() == 1  # too far from both faces to be of either head
    assert all(alpha.min() == 1 for alpha in planes.values())  # what was given stays as it is


def test_above_a_face_is_where_its_own_above_is() -> None:
    """Both lie on their side: what is between them is as far from both."""
    ends = []
    for roll in (-90, 90):
        her, him = (replace(head, roll_deg=roll) for head in (HER, HIM))
        ends.append(int(np.argmax(alone(everything(), [her], [him])["head"][0, 28] < 0.5)))
    assert 36 - ends[0] == ends[1] - 36 > 1


def test_a_larger_head_reaches_further() -> None:
    large = replace(HER, box_px=(30, 50, 130, 150))
    kept = [alone(everything(), [her], [HIM])["head"][0, 20:36].sum() for her in (HER, large)]
    assert kept[1] > kept[0] + 5


def test_nobody_near() -> None:
    planes = everything()
    for people in ([HER], [replace(HIM, box_px=(500, 80, 560, 140))], [replace(HIM, unseen_frames=9)]):
        assert alone(planes, [HER], people)["head"] is planes["head"]


def test_a_head_that_was_lost_keeps_what_may_be_its_own() -> None:
    """Where it was last seen tells nothing of where it ends."""
    planes = everything()
    assert alone(planes, [replace(HER, unseen_frames=9)], [HIM])["head"] is planes["head"]


def test_two_boxes_on_one_head_are_one() -> None:
    planes = everything()
    assert alone(planes, [HER], [replace(HIM, box_px=(100, 90, 160, 150))])["head"] is planes["head"]


def test_where_the_network_sees_no_head_nothing_is_taken_away() -> None:
    """A plant beside her was taken for a face, and her hair reaches into it."""
    planes = everything()
    planes["head"][:, :, 43:] = 0
    assert alone(planes, [HER], [HIM])["head"] is planes["head"]
    assert alone({"hair": planes["hair"]}, [HER], [HIM])["hair"] is planes["hair"]
