"""What is made of a picture before a network sees it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.shared.colour import PAD  # noqa: E402
from headstream.train.augment import (  # noqa: E402
    Chances,
    Composer,
    Sample,
    below_picture,
    can_be_cut_out,
    framing,
    head_extent,
    head_middle,
    warp,
    with_body_below,
)
from headstream.train.disturb import _lut, _motion_blur, camera, occlude  # noqa: E402
from headstream.train.picture import BODY, HAIR, HEAD, Picture  # noqa: E402
from headstream.types import UInt8Array  # noqa: E402
from tests.train.made import face  # noqa: E402


class TestAugment:
    def picture(self) -> Picture:
        rgb, label = face(1)
        target = np.dstack([np.where(np.isin(label, c), 255, 0).astype(np.uint8) for c in ([1, 13], [13], [17, 18])])
        person = np.where(label > 0, 255, 0).astype(np.uint8)
        return Picture(rgb, target, np.full_like(target, 255), person, (30, 20, 66, 62))

    def composer(self) -> Composer:
        picture = self.picture()
        back: UInt8Array = np.full((60, 60, 3), (10, 200, 30), np.uint8)
        return Composer(lambda rng: picture, lambda rng: picture, lambda rng: back)

    def sampled(self, count: int = 20, **chances: float) -> list[Sample]:
        """Where nothing happens but what is said."""
        none = dict.fromkeys((field.name for field in dataclasses.fields(Chances)), 0.0)
        picture = self.picture()
        back: UInt8Array = np.full((60, 60, 3), (10, 200, 30), np.uint8)
        composer = Composer(lambda rng: picture, lambda rng: picture, lambda rng: back, Chances(**(none | chances)))
        return [composer.sample(np.random.default_rng(number), 64) for number in range(count)]

    def test_where_nobody_is_that_is_known(self) -> None:
        for sample in self.sampled(nobody=1):
            assert not sample.target.any()
            assert (sample.known == 255).all()

    def test_what_is_drawn_on_below_the_picture_is_not_known_where_somebody_is(self) -> None:
        for plain, drawn in zip(self.sampled(), self.sampled(drawn_on=1), strict=True):
            assert (plain.known == 255).all()
            assert (drawn.target == plain.target).all()
        assert any((sample.known[-1, :, BODY] == 0).any() for sample in self.sampled(drawn_on=1))

    def test_beyond_the_picture_it_is_as_in_the_trackers_crops(self) -> None:
        """Whatever a camera does to the rest."""
        assert np.mean([(sample.rgb == PAD).all(axis=2).mean() for sample in self.sampled()]) > 0.05

    def test_of_two_people_the_one_in_the_middle_is_the_head(self) -> None:
        for alone, beside in zip(
            self.sampled(new_background=1), self.sampled(new_background=1, neighbour=1), strict=True
        ):
            assert beside.target[..., HEAD].sum() < 1.6 * max(alone.target[..., HEAD].sum(), 1)
            assert (beside.known[..., HEAD] == 255).all()
            assert (beside.known[..., BODY] == 0).any()

    def test_what_is_hidden_is_no_head_and_may_be_a_body(self) -> None:
        rgb = np.full((64, 64, 3), 200, np.uint8)
        target, known = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 255, np.uint8)
        for number in range(30):
            _, left, told = occlude(rgb, target, known, np.random.default_rng(number), rgb // 20)
            hidden = left[..., HEAD] < 30
            assert hidden.any()
            assert (told[hidden][:, BODY] == 0).all()
            assert (told[..., HEAD] == 255).all()
            assert (left[..., HEAD] == left[..., HAIR]).all()
        assert (known == 255).all()

    def test_a_head_that_the_border_cuts_goes_on_as_a_body(self) -> None:
        picture = self.picture()
        picture.target[-1, 40:50] = (255, 255, 0)
        longer = with_body_below(picture)
        below = longer.target[picture.rgb.shape[0] :]
        assert not below[..., [HEAD, HAIR]].any()
        assert (below[:, 40:50, BODY] == 255).all()

    def test_the_same_number_gives_the_same_sample(self) -> None:
        a, b = (self.composer().sample(np.random.default_rng(7), 64) for _ in range(2))
        assert all((x == y).all() for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True))

    def test_samples_are_whole_and_consistent(self) -> None:
        composer = self.composer()
        seen = np.zeros(3)
        for number in range(60):
            sample = composer.sample(np.random.default_rng(number), 64)
            for plane in (sample.rgb, sample.target, sample.known):
                assert plane.shape == (64, 64, 3)
                assert plane.dtype == np.uint8
            assert set(np.unique(sample.known)) <= {0, 255}
            assert (sample.target[..., HAIR] <= sample.target[..., HEAD].astype(int) + 2).all()
            seen += sample.target.reshape(-1, 3).max(axis=0) > 127
        assert (seen > 25).all()

    def test_the_face_stays_near_the_middle(self) -> None:
        picture = self.picture()
        for number in range(50):
            matrix = framing(picture, np.random.default_rng(number), 64)
            x, y = matrix @ [48, 41, 1]
            assert 10 < x < 54
            assert 10 < y < 54

    def test_most_crops_fit_the_head(self) -> None:
        picture = self.picture()
        ys, xs = np.nonzero(picture.target[..., HEAD])
        assert head_extent(picture) == pytest.approx(
            ((xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2, max(np.ptp(xs), np.ptp(ys)) + 1)
        )
        scales = [
            np.sqrt(abs(np.linalg.det(framing(picture, np.random.default_rng(k), 64)[:, :2]))) for k in range(300)
        ]
        fills = np.array(scales) * (max(np.ptp(xs), np.ptp(ys)) + 1) / 64
        assert 0.6 < np.median(fills) < 0.85

    def test_a_head_not_known_everywhere_is_guessed_from_its_face(self) -> None:
        picture = self.picture()
        picture.known[0, 0, HEAD] = 0
        x, y, side = head_extent(picture)
        assert (x, side) == pytest.approx((48, 1.5 * 42))
        assert y < 41

    def test_shrinking_averages_and_keeps_its_place(self) -> None:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (256, 256), dtype=np.uint8)
        image[:, 128:] = 255
        small = warp(image, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 64, 0)
        assert small[:, :30].std() < 25  # noise of 74 averaged over 16 pixels
        assert small[10, 30] < 200
        assert small[10, 33] == 255

    def test_shrinking_moves_nothing(self) -> None:
        """Soft labels come back to where the teacher looked."""
        ramp = np.tile(np.arange(0, 256, dtype=np.uint8), (256, 1))
        small = warp(ramp, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 64, 0).astype(int)
        assert np.abs(small[8:56, 8:56] - 4 * np.arange(8, 56)).max() <= 1

    def test_heads_are_turned_and_mirrored_and_not_skewed(self) -> None:
        turns = [framing(self.picture(), np.random.default_rng(number), 64)[:, :2] for number in range(20)]
        assert max(abs(turn[:, 0] @ turn[:, 1]) for turn in turns) < 1e-9
        assert {np.linalg.det(turn) > 0 for turn in turns} == {False, True}

    def test_cut_out_is_who_stands_free(self) -> None:
        def free(*where: Any) -> bool:
            person: UInt8Array = np.zeros((80, 60), np.uint8)
            person[20:, 20:40] = 255
            for place in where:
                person[place] = 255
            picture = self.picture()
            return can_be_cut_out(Picture(picture.rgb, picture.target, picture.known, person, None))

        assert free()
        assert free(np.s_[65:])  # shoulders may reach the border
        assert [free(place) for place in (np.s_[20:60, :30], np.s_[20:60, 30:], np.s_[:30, 28:32])] == [False] * 3

    def test_seen_from_behind_the_hair_tells_where_the_head_is(self) -> None:
        picture = self.picture()
        target = np.zeros_like(picture.target)
        target[10:70, 20:60, HEAD] = 255  # long hair
        behind = Picture(picture.rgb, target, picture.known, None, None)
        assert head_middle(behind) == pytest.approx((39.5, 10 + 20, 0.6 * 40))
        target[:] = 0
        assert head_middle(behind) == pytest.approx((48, 48, 0.45 * 96))

    def test_a_body_drawn_on_below_is_seen(self) -> None:
        there, longer = (
            sum(int(sample.target[..., BODY].sum()) for sample in self.sampled(new_background=1, body_below=below))
            for below in (0, 1)
        )
        assert longer > 1.05 * there

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_a_camera_makes_no_light_of_dark(self, grey: int) -> None:
        """What is past white or black stays there, and does not come in again at the other end."""
        plain: UInt8Array = np.full((64, 64, 3), grey, np.uint8)
        for number in range(150):
            seen = camera(plain, np.random.default_rng(number)).astype(int)
            assert np.abs(seen - np.median(seen, axis=(0, 1))).max() < 110
        assert (np.diff(_lut(1.4, 1.0, 1.5, 0.08).astype(int), axis=0) >= 0).all()
        shaken = [_motion_blur(plain, np.random.default_rng(number)) for number in range(20)]
        assert max(np.abs(seen.astype(int) - grey).max() for seen in shaken) <= 1

    def test_what_is_below_the_picture(self) -> None:
        half = below_picture(np.array([[1.0, 0, 0], [0, 1.0, 0]]), 64, 33)
        assert half[40:].all()
        assert not half[:32].any()
