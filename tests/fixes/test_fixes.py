"""Corrections: what is refused, then what they do in their own frame, around it, and that they do nothing elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from headstream.cli import main
from headstream.errors import SourceError, UsageError
from headstream.fixes import spread
from headstream.fixes.read import Click, Film, Fix, _seconds, read_fixes, read_mask
from headstream.fixes.spread import Outcome, _Spreading, fade, reach, with_fixes
from headstream.matte.patch import alpha_in, repainted
from headstream.review.page import clock
from headstream.shared.colour import planes_from_rgb
from headstream.types import Colour, Cutout, Frame, Planes, Region, UInt8Array
from tests.conftest import moving_portrait
from tests.media import alpha_of, write_video
from tests.scenes import SIZE, cutout_of, disc, frame_at, head_at, plain, scene

FILM = Film(SIZE, Fraction(25), 100)
RATE = Fraction(25)


def write(folder: Path, *entries: Any) -> Path:
    path = folder / "fixes.json"
    path.write_text(json.dumps(list(entries)))
    return path


class TestReading:
    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("x", "expected an object"),
            ({"frame": 1, "click": [1, 1, "head"], "colour": 1}, "unknown key 'colour'"),
            ({"click": [1, 1, "head"]}, "either 'time' or 'frame'"),
            ({"frame": 1, "time": 1, "click": [1, 1, "head"]}, "either 'time' or 'frame'"),
            ({"frame": 1}, "either 'mask' or 'click'"),
            ({"frame": -1, "click": [1, 1, "head"]}, "expected a number from 0"),
            ({"frame": True, "click": [1, 1, "head"]}, "expected a number from 0"),
            ({"frame": 700, "click": [1, 1, "head"]}, "not in the film, which has 100"),
            ({"time": 7, "click": [1, 1, "head"]}, "not in the film, which is 4.000 s"),
            ({"time": "0:01:00.000", "click": [1, 1, "head"]}, "not in the film"),
            ({"time": "soon", "click": [1, 1, "head"]}, "h:mm:ss.mmm"),
            ({"time": -1, "click": [1, 1, "head"]}, "expected seconds"),
            ({"frame": 1, "click": [1, 1]}, "expected .x, y, "),
            ({"frame": 1, "click": [1, 1, "hat"]}, '"not"'),
            ({"frame": 1, "click": [320, 1, "head"]}, "outside of the picture, 320x240"),
            ({"frame": 1, "click": [1, 1, "head"], "head": 0}, "a person's number"),
            ({"frame": 1, "click": [1, 1, "head"], "spread_s": 60}, "from 0 to 3"),
            ({"frame": 1, "click": [1, 1, "head"], "spread_s": 10**400}, "from 0 to 3"),
            ({"frame": 1, "click": [1, 1, "head"], "spread_s": float("nan")}, "from 0 to 3"),
            ({"frame": 10**400, "click": [1, 1, "head"]}, "expected a number from 0"),
            ({"time": 10**400, "click": [1, 1, "head"]}, "expected seconds"),
            ({"time": f"{'9' * 400}:00:00", "click": [1, 1, "head"]}, "expected seconds"),
            ({"frame": 1, "click": [10**400, 1, "head"]}, "expected .x, y, "),
            ({"frame": 1, "mask": "none.png"}, "none.png: no such file"),
            ({"frame": 1, "mask": "n" * 5000}, "n: no such file"),
            ({"frame": 1, "mask": "small.png"}, "is 10x20, but the film is shown at 320x240"),
            ({"frame": 1, "mask": "text.png"}, "is not a picture"),
            ({"frame": 1, "mask": "float.tif"}, "float.tif: holds float32 numbers; a mask is a picture of 8 or"),
            ({"frame": 1, "mask": "whole.tif"}, "whole.tif: holds int32 numbers; a mask is a picture of 8 or"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, entry: Any, message: str, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 10), np.uint8))
        cv2.imwrite(str(tmp_path / "float.tif"), np.zeros((240, 320), np.float32))
        Image.fromarray(np.zeros((240, 320), np.int32)).save(tmp_path / "whole.tif")
        (tmp_path / "text.png").write_text("not a picture")
        with pytest.raises(UsageError, match=message) as caught:
            read_fixes(write(tmp_path, {"frame": 0, "click": [0, 0, "not"]}, entry), FILM)
        assert "\n" not in str(caught.value)
        assert "correction 2" in str(caught.value) or entry["mask"] in str(caught.value)

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be read"):
            read_fixes(tmp_path / "none.json", FILM)
        for text in ("{", "[" * 100_000):
            (tmp_path / "fixes.json").write_text(text)
            with pytest.raises(UsageError, match="not JSON"):
                read_fixes(tmp_path / "fixes.json", FILM)
        (tmp_path / "fixes.json").write_text("{}")
        with pytest.raises(UsageError, match="expected a list"):
            read_fixes(tmp_path / "fixes.json", FILM)

    def test_a_mark_an_editor_put_before_it(self, tmp_path: Path) -> None:
        (tmp_path / "fixes.json").write_text('[{"frame": 7, "click": [1, 1, "not"]}]', encoding="utf-8-sig")
        assert [fix.frame for fix in read_fixes(tmp_path / "fixes.json", FILM)] == [7]

    def test_ways_to_say_when(self, tmp_path: Path) -> None:
        click = {"click": [5, 6.5, "not"]}
        given: list[dict[str, Any]] = [
            {"time": "0:00:03.480"},
            {"time": "1.5"},
            {"time": "00:02"},
            {"time": 0.25},
            {"frame": 10},
        ]
        fixes = read_fixes(write(tmp_path, *({**when, **click} for when in given)), FILM)
        assert [(fix.number, fix.time_s) for fix in fixes] == [(4, 0.25), (5, 0.4), (2, 1.5), (3, 2.0), (1, 3.48)]
        assert fixes[1].frame == 10
        assert fixes[0].click == Click(5, 6.5, "not")

    def test_a_film_that_does_not_say_how_long_it_is(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"time": 900, "click": [1, 1, "head"]})
        assert read_fixes(path, Film(SIZE, RATE, 0))[0].time_s == 900

    def test_frames_are_placed_by_their_own_times(self, tmp_path: Path) -> None:
        """A rate that is guessed from the first frames, one a second, of a film that goes on with 30."""
        times_s = [float(k) for k in range(10)] + [10 + k / 30 for k in range(60)]
        film = Film(SIZE, Fraction(1), 70, times_s)
        click = {"click": [1, 1, "head"]}
        given = [{"frame": 9, **click}, {"frame": 40, **click}, {"frame": 70, **click}, {"time": 12.9, **click}]
        fixes = {fix.number: fix for fix in read_fixes(write(tmp_path, *given), film)}
        assert [fixes[n].time_s for n in (1, 2, 3, 4)] == [9, 11, 70, 12.9]
        with pytest.raises(UsageError, match=r"time 15 is not in the film, which is 12.967 s long"):
            read_fixes(write(tmp_path, {"time": 15, **click}), film)

    def test_masks_of_every_kind(self, tmp_path: Path) -> None:
        grey = disc(100, 100, 50)
        see_through = np.dstack([np.full((*grey.shape, 3), 255, np.uint8), grey])
        kinds = {"grey": grey, "deep": grey.astype(np.uint16) * 257, "rgb": np.dstack([grey] * 3), "rgba": see_through}
        for name, pixels in kinds.items():
            cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
            assert np.abs(read_mask(tmp_path / f"{name}.png").astype(int) - grey).max() <= 1


class TestPatch:
    def planes_cutout(self, bits: int = 8) -> Cutout:
        """A matte in a part of the frame, its colours not the frame's."""
        planes = planes_from_rgb(scene(), Colour(), bits=bits, sub=(2, 2))
        region: Region = (100, 60, 200, 160)
        inner = planes.region(region)
        colours = Planes(inner.y // 2, inner.u.copy(), inner.v.copy(), planes.colour, bits=bits)
        return Cutout(Frame(planes=planes), (), region, alpha_in(plain(0), region), colours)

    @pytest.mark.parametrize("bits", [8, 10])
    def test_only_the_region_changes_and_what_is_new_has_its_own_colours(self, bits: int) -> None:
        cutout = self.planes_cutout(bits)
        new = np.full((40, 60), 255, np.uint8)
        after = repainted(cutout, (180, 100, 240, 140), new)
        assert after.region_px == (100, 60, 240, 160)
        assert (after.alpha[100:140, 180:240] == 255).all()
        before = cutout.alpha
        before[100:140, 180:240] = 255
        assert (after.alpha == before).all()
        assert isinstance(after.foreground, Planes)
        assert isinstance(cutout.foreground, Planes)
        assert (after.foreground.y[:, :80] == cutout.foreground.y[:, :80]).all()
        assert cutout.frame.planes is not None
        assert (after.foreground.y[40:80, 100:] == cutout.frame.planes.y[100:140, 200:240]).all()

    def test_the_same_matte_is_the_same_cutout(self) -> None:
        cutout = self.planes_cutout()
        assert repainted(cutout, (0, 0, 120, 120), alpha_in(cutout, (0, 0, 120, 120))) is cutout

    def test_a_matte_where_there_was_none(self) -> None:
        after = repainted(Cutout(frame_at(0)), (10, 20, 30, 40), np.full((20, 20), 200, np.uint8))
        assert after.alpha.sum() == 20 * 20 * 200


def film(count: int, hole: bool = True, step: float = 2.0) -> list[Cutout]:
    """A head that drifts with its picture; in every frame the same part of it is missing: a wedge to the right."""
    out = []
    for k in range(count):
        alpha = disc(130 + step * k, 120, 50)
        if hole:
            alpha[100:140, int(150 + step * k) :] = 0
        out.append(cutout_of(frame_at(k, scene(shift=step * k)), alpha, head_at(130 + step * k, 120, 50)))
    return out


def errors(cutouts: list[Cutout], step: float = 2.0) -> list[float]:
    """Wrong alpha, in pixels, of each."""
    return [float(cv2.absdiff(c.alpha, disc(130 + step * k, 120, 50)).sum()) / 255 for k, c in enumerate(cutouts)]


def mask_fix(folder: Path, frame: int, mask: UInt8Array, number: int = 1, **more: Any) -> Fix:
    cv2.imwrite(str(folder / f"{frame}.png"), mask)
    return Fix(number, frame / 25, frame, mask=folder / f"{frame}.png", **{"spread_s": 0.24, **more})


def fixed(cutouts: list[Cutout], *fixes: Fix) -> tuple[list[Cutout], Outcome]:
    outcome = Outcome()
    out = list(with_fixes(iter(cutouts), fixes, RATE, outcome))
    assert [c.frame.index for c in out] == [c.frame.index for c in cutouts]
    return out, outcome


class TestSpreading:
    def test_fading_by_hand(self) -> None:
        assert fade(0, 0.5) == 1
        assert fade(0.25, 0.5) == pytest.approx(0.5)
        assert fade(0.5, 0.5) == fade(0.1, 0.0) == 0

    def test_a_mask_is_the_matte_of_its_frame_and_repairs_those_around(self, tmp_path: Path) -> None:
        before = film(24)
        mask = disc(130 + 24, 120, 50)
        after, outcome = fixed(before, mask_fix(tmp_path, 12, mask))
        assert (after[12].alpha == mask).all()
        assert outcome.notes == []
        left, right = errors(before), errors(after)
        for k in (10, 11, 13, 14):
            assert right[k] < 0.4 * left[k]
        assert all(one <= other + 1 for one, other in zip(right, left, strict=True))
        untouched = [k for k in range(24) if abs(k - 12) >= 6]
        assert all(after[k] is before[k] for k in untouched)
        assert outcome.settled == set(range(9, 16))

    def test_in_a_frame_it_touches_only_what_is_wrong(self, tmp_path: Path) -> None:
        before = film(24)
        after, _ = fixed(before, mask_fix(tmp_path, 12, disc(130 + 24, 120, 50)))
        for k in (10, 14):
            assert (after[k].alpha[:, : 130 + 2 * k] == before[k].alpha[:, : 130 + 2 * k]).all()
            assert (after[k].alpha != before[k].alpha).any()

    @pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)])
    def test_a_time_read_off_the_review_page_is_that_very_frame(self, rate: Fraction) -> None:
        tiny = np.zeros((2, 2, 3), np.uint8)
        for k in range(0, 4000, 37):
            told = clock(float(k / rate))
            time_s = _seconds(told)
            state = _Spreading([], rate, Outcome())
            claims = [
                state._is_now(Fix(1, time_s), Frame(tiny, index=i, pts=i / rate), float((i + 1) / rate))
                for i in (max(0, k - 1), k)
            ]
            assert claims[-1]
            assert k == 0 or not claims[0]

    def test_a_time_is_the_frame_that_is_shown_then_whatever_durations_say(self, tmp_path: Path) -> None:
        """Half a second without a frame; H.264 with B-frames in MP4 has the durations in the order of decoding."""
        times = [Fraction(k, 25) + (Fraction(1, 2) if k > 5 else 0) for k in range(12)]
        before = []
        for c, pts in zip(film(12), times, strict=True):
            length = Fraction(1, 2) if c.frame.index == 8 else Fraction(1, 25)
            frame = Frame(c.frame.rgb, index=c.frame.index, pts=pts, duration_s=length)
            before.append(cutout_of(frame, c.alpha, *c.heads))
        whole = disc(160, 120, 50)
        for time_s, index in ((0.19, 4), (0.5, 5), (0.7399, 6), (0.78, 7), (0.86, 9), (0.979, 11)):
            fix = replace(mask_fix(tmp_path, index, whole, spread_s=0), time_s=time_s, frame=None)
            after, outcome = fixed(before, fix)
            assert [k for k in range(12) if after[k] is not before[k]] == [index]
            assert outcome.notes == []
        _, outcome = fixed(before, Fix(1, 0.99, click=Click(1, 1, "head")))
        assert outcome.notes == ["correction 1: the film ends before it"]

    @pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
    def test_of_one_frame_the_last_in_the_file_holds(self, numbers: tuple[int, int], tmp_path: Path) -> None:
        one, two = disc(150, 120, 50), disc(150, 120, 30)
        by_time = mask_fix(tmp_path, 9, one, numbers[0])
        by_time = replace(by_time, time_s=0.41, frame=None)
        by_number = mask_fix(tmp_path, 10, two, numbers[1])
        after, outcome = fixed(film(20), *sorted((by_time, by_number), key=lambda fix: fix.time_s))
        assert (after[10].alpha == (two if numbers == (1, 2) else one)).all()
        assert outcome.settled == set(range(7, 14))  # neither keeps the other from spreading

    def test_how_far_it_looks_is_known_beforehand(self) -> None:
        fix = Fix(1, 1.0, click=Click(1, 1, "head"), spread_s=0.5)
        burst = [k / 5 for k in range(20)] + [4 + k / 100 for k in range(200)]
        assert (
            reach([], Film(SIZE, RATE, 0, burst)) == reach([replace(fix, spread_s=0)], Film(SIZE, RATE, 0, burst)) == 0
        )
        assert reach([fix], FILM) == reach([fix], Film(SIZE, RATE, 100, [k / 25 for k in range(100)])) == 50
        assert 100 <= reach([fix], Film(SIZE, Fraction(6), 220, burst)) <= 101  # by times that are rounded

    def test_never_across_a_cut(self, tmp_path: Path) -> None:
        before = film(12)
        for k in (0, 1, 2, 3, 9, 10, 11):
            before[k] = plain(k, picture=scene(5))
        after, _ = fixed(before, mask_fix(tmp_path, 5, disc(140, 120, 50)))
        changed = [k for k in range(12) if after[k] is not before[k]]
        assert changed == [4, 5, 6, 7, 8]

    def test_two_masks_are_each_exact(self, tmp_path: Path) -> None:
        before = film(20)
        one, two = disc(130 + 16, 120, 50), disc(130 + 22, 120, 30)
        after, _ = fixed(before, mask_fix(tmp_path, 8, one), mask_fix(tmp_path, 11, two, 2))
        assert (after[8].alpha == one).all()
        assert (after[11].alpha == two).all()

    def test_where_the_picture_is_another_nothing_is_drawn(self, tmp_path: Path) -> None:
        """Something passes before the head: the correction does not lie on top of it."""
        before = film(10, step=0)
        picture = scene()
        picture[90:150, 140:220] = np.where(np.indices((60, 80)).sum(axis=0) % 9 < 4, 255, 0)[..., None]
        hidden = cutout_of(frame_at(6, picture), before[6].alpha, before[6].heads[0])
        after, _ = fixed([*before[:6], hidden, *before[7:]], mask_fix(tmp_path, 5, disc(130, 120, 50)))
        assert errors(after, 0)[4] < 0.2 * errors(before, 0)[4]
        assert np.abs(after[6].alpha.astype(int) - hidden.alpha)[105:135, 155:175].mean() < 20

    def test_what_cannot_be_applied_is_told(self, tmp_path: Path) -> None:
        whole = [c for c in film(6, hole=False)]
        same = mask_fix(tmp_path, 3, whole[3].alpha)
        late = Fix(2, 9.0, click=Click(1, 1, "head"))
        stranger = Fix(3, 0.0, 0, click=Click(1, 1, "head"), head=7)
        after, outcome = fixed(whole, stranger, same, late)
        assert all((a.alpha == b.alpha).all() for a, b in zip(after, whole, strict=True))
        notes = "; ".join(outcome.notes)
        assert "head 7 is not in frame 0" in notes
        assert "frame 3 is already so" in notes
        assert "correction 2: the film ends before it" in notes

    def test_where_no_frame_is_left_to_do_nothing_is_told(self) -> None:
        assert fixed([], Fix(1, 0.1, click=Click(1, 1, "head")))[1].notes == []

    def test_a_source_that_breaks_off_gives_what_it_had(self, tmp_path: Path) -> None:
        def broken() -> Iterator[Cutout]:
            yield from film(10)
            raise SourceError("cut off")

        got = []
        with pytest.raises(SourceError):
            for cutout in with_fixes(broken(), [mask_fix(tmp_path, 12, disc(154, 120, 50))], RATE):
                got.append(cutout.frame.index)
        assert got == list(range(10))

    def test_frames_are_held_back_only_before_a_correction(self, tmp_path: Path) -> None:
        taken = 0

        def counted() -> Iterator[Cutout]:
            nonlocal taken
            for cutout in film(40):
                taken += 1
                yield cutout

        held = []
        for cutout in with_fixes(counted(), [mask_fix(tmp_path, 20, disc(170, 120, 50))], RATE):
            held.append(taken - cutout.frame.index - 1)
        assert held[:10] == [1] * 10  # until the next one is there, each frame might be shown for longer
        assert held[25:] == [1] * 14 + [0]
        assert 6 <= max(held) <= 10

    def test_large_pictures_are_held_back_less(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = film(20)
        monkeypatch.setattr(spread, "_HELD_BYTES", 3 * before[0].frame.rgb.nbytes)
        after, _ = fixed(before, mask_fix(tmp_path, 10, disc(150, 120, 50)))
        assert [k for k in range(20) if after[k] is not before[k]] == list(range(7, 16))

    def test_a_frame_depends_on_its_neighbourhood_alone(self, tmp_path: Path) -> None:
        """What a long film that is cut in pieces relies on."""
        fix = mask_fix(tmp_path, 14, disc(158, 120, 50))
        before = film(30)
        whole, _ = fixed(before, fix)
        part, _ = fixed(before[8:21], fix)
        assert all((a.alpha == b.alpha).all() for a, b in zip(whole[8:21], part, strict=True))

    def test_frame_numbers_and_times_out_of_order(self, tmp_path: Path) -> None:
        """A film at half its nominal rate: by that, frame 12 comes at 0.48 s; in truth, frame 6 does."""
        slow = []
        for c in film(14):
            frame = Frame(c.frame.rgb, index=c.frame.index, pts=2 * c.frame.pts)
            slow.append(cutout_of(frame, c.alpha, *c.heads))
        by_time = replace(mask_fix(tmp_path, 6, disc(130 + 12, 120, 50), spread_s=0.05), time_s=0.5, frame=None)
        by_number = mask_fix(tmp_path, 12, disc(130 + 24, 120, 50), 2)
        after, _ = fixed(slow, by_number, by_time)
        assert [k for k in range(14) if (after[k].alpha == disc(130 + 2 * k, 120, 50)).all()] == [6, 12]

    def test_frame_numbers_reach_back_at_any_rate(self, tmp_path: Path) -> None:
        """25 frames a second of a film that says it has five."""
        before = film(24)
        fix = mask_fix(tmp_path, 12, disc(130 + 24, 120, 50))
        after = list(with_fixes(iter(before), [fix], Fraction(5)))
        assert [k for k in range(24) if after[k] is not before[k]] == list(range(7, 18))

    def test_from_the_middle_on_corrections_of_earlier_frames_are_none_of_ours(self, tmp_path: Path) -> None:
        before = film(24)[12:]
        past = [mask_fix(tmp_path, 11, disc(60, 60, 30)), Fix(2, 11 / 25, click=Click(150, 85, "head"))]
        after, outcome = fixed(before, *past, Fix(3, 12 / 25, 12, click=Click(1, 1, "head"), head=7))
        assert all(one is other for one, other in zip(after, before, strict=True))
        assert outcome.notes == ["correction 3: head 7 is not in frame 12; left out"]

    def test_what_the_source_shows_through_stays_so(self, tmp_path: Path) -> None:
        own = np.full(SIZE[::-1], 255, np.uint8)
        own[:120] = 0
        frame = Frame(scene(), alpha=own)
        after, _ = fixed([cutout_of(frame, None)], mask_fix(tmp_path, 0, disc(160, 120, 50)))
        assert not after[0].alpha[:120].any()
        assert after[0].alpha[130:150, 140:180].all()


def colourful(index: int) -> UInt8Array:
    """A head in one colour with a hat in another, before grey with a little grain."""
    picture = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    cv2.circle(picture, (160, 140), 40, (200, 150, 120), -1)
    cv2.rectangle(picture, (130, 70), (190, 104), (40, 60, 160), -1)
    grain = np.random.default_rng(index).integers(-3, 4, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def hat() -> UInt8Array:
    return cv2.rectangle(np.zeros(SIZE[::-1], np.uint8), (130, 70), (190, 104), 255, -1)


def face() -> UInt8Array:
    return cv2.circle(np.zeros(SIZE[::-1], np.uint8), (160, 140), 40, 255, -1)


class TestClicks:
    def test_a_hat_that_is_missing_is_added(self) -> None:
        before = [cutout_of(frame_at(k, colourful(k)), face() & ~hat(), head_at(160, 130, 45)) for k in range(5)]
        after, outcome = fixed(before, Fix(1, 0.08, 2, click=Click(150, 85, "head"), spread_s=0.2))
        assert outcome.notes == []
        right = np.maximum(hat(), face())
        assert cv2.absdiff(after[2].alpha, right).mean() < 0.15 * cv2.absdiff(before[2].alpha, right).mean()
        assert cv2.absdiff(after[1].alpha, right).mean() < 0.5 * cv2.absdiff(before[1].alpha, right).mean()

    def test_a_hat_that_does_not_belong_is_taken_away(self) -> None:
        both = np.maximum(hat(), face())
        before = [cutout_of(frame_at(k, colourful(k)), both, head_at(160, 130, 45)) for k in range(5)]
        after, _ = fixed(before, Fix(1, 0.08, 2, click=Click(150, 85, "not"), spread_s=0.2))
        right = face() & ~hat()
        assert cv2.absdiff(after[2].alpha, right).mean() < 0.2 * cv2.absdiff(both, right).mean()
        assert after[2].alpha[150:165, 145:175].min() == 255

    def test_a_click_on_what_is_right_changes_nothing(self) -> None:
        before = [cutout_of(frame_at(0, colourful(0)), face(), head_at(160, 130, 45))]
        after, outcome = fixed(before, Fix(1, 0.0, 0, click=Click(160, 150, "head")))
        assert after[0] is before[0]
        assert "already so" in outcome.notes[0]

    def test_a_click_in_the_middle_of_the_face_takes_nothing_away(self) -> None:
        before = [cutout_of(frame_at(0, colourful(0)), face(), head_at(160, 140, 40))]
        after, outcome = fixed(before, Fix(1, 0.0, 0, click=Click(165, 135, "not")))
        assert after[0] is before[0]
        assert "middle of the face" in outcome.notes[0]

    def test_a_click_beside_the_middle_of_the_face_leaves_it(self) -> None:
        head = head_at(160, 140, 40)
        before = [cutout_of(frame_at(0, colourful(0)), face(), head)]
        after, outcome = fixed(before, Fix(1, 0.0, 0, click=Click(160 + 13, 140, "not")))
        assert outcome.notes == []
        assert after[0].alpha[140, 174] < 128
        middle = cv2.circle(np.zeros(SIZE[::-1], np.uint8), (160, 140), 10, 255, -1) > 0
        assert (after[0].alpha[middle] > 200).all()

    @pytest.mark.parametrize("at", [(0, 0), (319, 239), (160, 239)])
    def test_clicks_at_the_border_and_where_nobody_is(self, at: tuple[int, int]) -> None:
        after, _ = fixed([Cutout(frame_at(0, colourful(0)))], Fix(1, 0.0, 0, click=Click(*at, "head")))
        assert after[0].alpha[at[1], at[0]] > 128

    @pytest.mark.parametrize("at", [(10, 10), (215, 150), (315, 235)])
    def test_a_click_far_from_the_head_it_names_is_about_its_own_place(self, at: tuple[int, int]) -> None:
        before = disc(260, 180, 20)
        cutout = cutout_of(frame_at(0, colourful(0)), before, head_at(260, 180, 20))
        (after,), outcome = fixed([cutout], Fix(1, 0.0, 0, click=Click(*at, "head"), head=1))
        assert outcome.notes == []
        assert after.alpha[at[1], at[0]] > 128
        ys, xs = np.nonzero(after.alpha != before)
        assert max(np.abs(xs - at[0]).max(), np.abs(ys - at[1]).max()) <= 50

    @pytest.mark.parametrize("kind", ["head", "not"])
    def test_what_the_source_half_shows_through_is_no_more_and_no_less_opaque_for_a_click(
        self, kind: Literal["head", "not"]
    ) -> None:
        own = np.full(SIZE[::-1], 140, np.uint8)
        matte = np.minimum(own, face() & ~hat() if kind == "head" else np.maximum(hat(), face()))
        before = []
        for k in range(5):
            frame = Frame(colourful(k), alpha=own, index=k, pts=Fraction(k, 25))
            before.append(cutout_of(frame, matte, head_at(160, 130, 45)))
        after, _ = fixed(before, Fix(1, 0.08, 2, click=Click(150, 85, kind), spread_s=0.2))
        hat_is = 140 if kind == "head" else 0
        assert (after[2].alpha[110:] == matte[110:]).all()
        assert int(after[2].alpha[85, 150]) == pytest.approx(hat_is, abs=2)
        for k in (1, 3):  # brought along
            assert np.abs(after[k].alpha[110:].astype(int) - matte[110:]).max() <= 10
            assert int(after[k].alpha[85, 150]) == pytest.approx(hat_is, abs=20)

    def test_what_the_source_half_shows_through_is_as_opaque_under_a_mask(self, tmp_path: Path) -> None:
        own = np.full(SIZE[::-1], 140, np.uint8)
        before = []
        for cutout in film(5):
            frame = Frame(cutout.frame.rgb, alpha=own, index=cutout.frame.index, pts=cutout.frame.pts)
            before.append(cutout_of(frame, cv2.multiply(cutout.alpha, own, scale=1 / 255), *cutout.heads))
        after, _ = fixed(before, mask_fix(tmp_path, 2, disc(134, 120, 50)))
        assert [int(c.alpha.max()) for c in after] == [140] * 5
        for k in (1, 2, 3):
            assert (after[k].alpha[:, :140] == before[k].alpha[:, :140]).all()
            assert after[k].alpha[120, 165] > 100


class TestVideo:
    def test_from_end_to_end(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        mask = np.zeros((240, 320), np.uint8)
        mask[20:160, 80:220] = 255
        cv2.imwrite(str(tmp_path / "m.png"), mask)
        fixes = write(tmp_path, {"frame": 15, "mask": "m.png", "spread_s": 0.2}, {"frame": 40, "click": [5, 5, "not"]})
        given = ["video", str(head_clip), "--review", str(tmp_path / "r.html")]
        assert main([*given, "--out", str(tmp_path / "a.mkv")]) == 0
        assert main([*given, "--out", str(tmp_path / "b.mkv"), "--fix", str(fixes)]) == 0
        assert "correction 2: the film ends before it" in capsys.readouterr().err
        before, after = alpha_of(tmp_path / "a.mkv"), alpha_of(tmp_path / "b.mkv")
        assert (after[15] == mask).all()
        changed = [k for k in range(30) if (before[k] != after[k]).any()]
        assert changed[0] >= 11
        assert changed[-1] <= 19
        assert len(changed) >= 5

    def test_a_frame_of_a_film_whose_rate_is_guessed(
        self, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        times = [1000 * k for k in range(6)] + [6000 + 33 * k for k in range(60)]
        film = write_video(tmp_path / "slow.mkv", moving_portrait(portrait, 66), pts=times, rate=1)
        fixes = write(tmp_path, {"frame": 60, "click": [5, 5, "not"]})
        assert main(["video", str(film), "--out", str(tmp_path / "o.mkv"), "--fix", str(fixes)]) == 0
        assert "correction 1: frame 60 is already so" in capsys.readouterr().err

    def test_a_wrong_file_is_refused(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fixes = write(tmp_path, {"time": "0:10:00", "mask": "m.png"})
        assert main(["video", str(head_clip), "--out", str(tmp_path / "o.mkv"), "--fix", str(fixes)]) == 2
        assert "correction 1: time 0:10:00 is not in the film" in capsys.readouterr().err
        assert not (tmp_path / "o.mkv").exists()


def test_a_mask_for_one_head_leaves_the_others(tmp_path: Path) -> None:
    both = np.maximum(disc(90, 120, 30), disc(230, 120, 30))
    heads = (head_at(90, 120, 30), head_at(230, 120, 30, 2))
    nobody: UInt8Array = np.zeros(SIZE[::-1], np.uint8)
    (after,), _ = fixed([cutout_of(frame_at(0), both, *heads)], mask_fix(tmp_path, 0, nobody, head=1))
    assert not after.alpha[:, :140].any()
    assert (after.alpha[:, 180:] == both[:, 180:]).all()


def test_what_is_no_mistake_in_the_next_frame_stays(tmp_path: Path) -> None:
    """The same place, the same picture; but there the matte was another one."""
    before = film(6, hole=False, step=0)
    faint = np.maximum(disc(130, 120, 50), disc(250, 120, 25) // 5)
    before[2] = cutout_of(before[2].frame, faint, *before[2].heads)
    sure = np.maximum(disc(130, 120, 50), disc(250, 120, 25))
    before[3] = cutout_of(before[3].frame, sure, *before[3].heads)
    after, _ = fixed(before, mask_fix(tmp_path, 2, disc(130, 120, 50)))
    assert not after[2].alpha[110:130, 240:260].any()
    assert after[3].alpha[110:130, 240:260].min() > 150


@pytest.mark.parametrize("later", [1, 2])
def test_a_mask_for_one_head_does_not_keep_that_of_another_from_spreading(tmp_path: Path, later: int) -> None:
    """Neither forward (the other's is the later one) nor back."""
    both, holes = np.maximum(disc(90, 120, 30), disc(230, 120, 30)), []
    for k in range(12):
        alpha = both.copy()
        alpha[112:128, 95:] = np.where(np.arange(95, SIZE[0]) < 200, 0, alpha[112:128, 95:])
        holes.append(cutout_of(frame_at(k), alpha, head_at(90, 120, 30), head_at(230, 120, 30, 2)))
    first, second = mask_fix(tmp_path, 5, both, head=3 - later), mask_fix(tmp_path, 7, both, 2, head=later)
    one, past = (first, 8) if later == 2 else (second, 4)
    after, _ = fixed(holes, first, second)
    alone, _ = fixed(holes, one)
    assert alone[past].alpha[120, 105] > 40
    assert all((a.alpha[:, :140] == b.alpha[:, :140]).all() for a, b in zip(after, alone, strict=True))
    other = first if later == 1 else second
    assert other.head == 2
    assert (after[5 if later == 1 else 7].alpha[:, 170:] == both[:, 170:]).all()


def test_what_a_mask_says_of_one_head_stays_to_the_pixel_whatever_comes_back(tmp_path: Path) -> None:
    """A correction of another head, whose square has much of this one's in it."""
    wrong, both = np.maximum(disc(130, 120, 30), disc(200, 120, 30)), np.maximum(disc(130, 120, 34), disc(200, 120, 34))
    heads = head_at(130, 120, 30), head_at(200, 120, 30, 2)
    films = [cutout_of(frame_at(k), wrong.copy(), *heads) for k in range(10)]
    mask = np.maximum(disc(130, 120, 30), disc(200, 120, 20))
    after, _ = fixed(films, mask_fix(tmp_path, 5, mask, head=2), mask_fix(tmp_path, 7, both, 2, head=1))
    x0, y0, x1, y1 = heads[1].crop_px
    assert x0 < 160
    part = np.s_[max(0, y0) : y1, x0:x1]
    assert (after[5].alpha[part] == mask[part]).all()
    assert (after[5].alpha[:, :x0] != films[5].alpha[:, :x0]).any()


def test_a_click_after_a_mask_in_its_frame_stays_whatever_comes_back(tmp_path: Path) -> None:
    """Corrections of one frame are applied in the order of the file."""
    both, holes = np.maximum(disc(90, 120, 30), disc(230, 120, 30)), []
    for k in range(10):
        picture = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
        picture[both > 0] = (200, 150, 120)
        alpha = both.copy()
        alpha[112:128, 95:] = np.where(np.arange(95, SIZE[0]) < 200, 0, alpha[112:128, 95:])
        holes.append(cutout_of(frame_at(k, picture), alpha, head_at(90, 120, 30), head_at(230, 120, 30, 2)))
    without = np.where(disc(230, 120, 8) > 0, 0, both).astype(np.uint8)
    mask, click = (
        mask_fix(tmp_path, 5, without, head=2),
        Fix(2, 0.2, 5, spread_s=0.0, click=Click(230, 120, "head"), head=2),
    )
    later = mask_fix(tmp_path, 7, both, 3, head=1)
    alone, _ = fixed(holes, mask, click)
    after, _ = fixed(holes, mask, click, later)
    assert alone[5].alpha[120, 230] == 255
    assert (after[5].alpha[:, 170:] == alone[5].alpha[:, 170:]).all()
    assert (after[5].alpha[:, :140] != alone[5].alpha[:, :140]).any()


def test_a_click_that_names_no_head_ends_at_a_mask_for_its_own(tmp_path: Path) -> None:
    picture = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    picture[np.maximum(disc(90, 120, 30), disc(230, 120, 30)) > 0] = (200, 150, 120)
    right = np.maximum(disc(90, 120, 30), disc(230, 120, 30))
    wrong = np.where(disc(230, 120, 12) > 0, 0, right).astype(np.uint8)
    heads = head_at(90, 120, 30), head_at(230, 120, 30, 2)
    films = [cutout_of(frame_at(k, picture), wrong.copy(), *heads) for k in range(10)]
    mask = mask_fix(tmp_path, 5, wrong, head=2)
    named, _ = fixed(films, mask, Fix(2, 0.28, 7, click=Click(230, 120, "head"), head=2))
    unnamed, _ = fixed(films, mask, Fix(2, 0.28, 7, click=Click(230, 120, "head")))
    assert named[7].alpha[120, 230] == 255
    assert named[4].alpha[120, 230] == 0
    assert all((a.alpha == b.alpha).all() for a, b in zip(named, unnamed, strict=True))


def test_who_takes_away_a_hat_like_the_face_keeps_the_face() -> None:
    picture = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    picture[np.maximum(hat(), face()) > 0] = (200, 150, 120)
    cutout = cutout_of(frame_at(0, picture), np.maximum(hat(), face()), head_at(160, 130, 45))
    (after,), _ = fixed([cutout], Fix(1, 0.0, 0, click=Click(150, 98, "not")))
    assert after.alpha[98, 150] == 0
    assert after.alpha[122:138, 152:168].min() == 255
