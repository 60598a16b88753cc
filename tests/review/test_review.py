"""What the tool doubts: each reason by hand, then lists that stay short, then the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstream.cli import main
from headstream.errors import SinkError, UsageError
from headstream.films.video import VideoJob, check_job, cut_video_file
from headstream.review.collect import Review, reviewed
from headstream.review.doubts import Doubter, change, fill, glance, touched
from headstream.review.page import clock, page, write_page
from headstream.types import Cutout, Planes
from tests.scenes import SIZE, cutout_of, disc, frame_at, head_at, plain, scene


def reasons(*cutouts: Cutout) -> set[str]:
    """What is doubted of the last one."""
    doubter = Doubter()
    return set([doubter.look(cutout) for cutout in cutouts][-1].reasons)


class TestDoubts:
    def test_a_good_head_is_not_doubted(self) -> None:
        assert reasons(*(plain(k, 140 + 2 * k, picture=scene(shift=2 * k)) for k in range(6))) == set()

    def test_neither_is_one_who_nears(self) -> None:
        assert reasons(*(plain(k, radius=40 + k) for k in range(12))) == set()

    def test_a_matte_that_jumps(self) -> None:
        assert reasons(plain(0), plain(1, radius=42)) == {"unstable"}
        assert reasons(plain(0), plain(1, radius=42), plain(2, radius=42)) == set()

    def test_a_jump_with_the_picture_is_none(self) -> None:
        """The head and the picture move by the same 9 pixels while the crop lags behind."""
        moved = cutout_of(frame_at(1, scene(shift=9)), disc(169, 120, 50), head_at(161, 120, 50))
        assert reasons(plain(0), moved) == set()
        stayed = cutout_of(frame_at(1), disc(169, 120, 50), head_at(161, 120, 50))
        assert reasons(plain(0), stayed) == {"unstable"}

    def test_nor_one_across_a_cut(self) -> None:
        doubter = Doubter()
        doubter.look(plain(0))
        doubts = doubter.look(plain(1, radius=30, picture=scene(seed=5)))
        assert doubts.cut
        assert not doubts.reasons

    def test_a_face_that_is_not_filled(self) -> None:
        alpha = disc(160, 120, 50)
        alpha[:125] = 0
        assert "low_fill" in reasons(cutout_of(frame_at(0), alpha, head_at(160, 120, 50)))

    def test_a_head_cut_off_by_its_crop_but_not_by_the_picture(self) -> None:
        tight = head_at(160, 120, 50, room=0.8)
        alpha = disc(160, 120, 50)
        assert reasons(cutout_of(frame_at(0), alpha, tight)) == {"cropped"}
        at_border = cutout_of(frame_at(0), disc(10, 120, 50), head_at(10, 120, 50))
        assert reasons(at_border) == set()

    def test_a_face_that_was_not_seen_for_a_while(self) -> None:
        for unseen, expected in ((2, set()), (20, {"face_not_seen"})):
            alpha, head = disc(160, 120, 50), head_at(160, 120, 50, unseen=unseen)
            assert reasons(cutout_of(frame_at(0), alpha, head)) == expected

    def test_another_person(self) -> None:
        other = cutout_of(frame_at(2), disc(80, 120, 40), head_at(80, 120, 40, track_id=2))
        assert reasons(plain(0), other) == {"person_switched"}
        assert reasons(plain(0), cutout_of(frame_at(1), None), other) == {"person_switched"}
        elsewhere = cutout_of(frame_at(2, scene(5)), disc(80, 120, 40), head_at(80, 120, 40, track_id=2))
        assert reasons(plain(0), elsewhere) == set()

    def test_measures_by_hand(self) -> None:
        half = cutout_of(frame_at(0), disc(160, 120, 200), head_at(160, 120, 50))
        assert fill(half, half.heads[0]) == 1.0
        assert touched(half, half.heads[0]) == pytest.approx(4, abs=0.05)
        assert fill(cutout_of(frame_at(0), np.zeros(SIZE[::-1], np.uint8), half.heads[0]), half.heads[0]) == 0
        seen = glance(plain(0), plain(0).heads[0], 64)
        assert seen.alpha.mean() / 255 == pytest.approx(np.pi / 1.4**2 / 4, abs=0.02)

    def test_high_bit_depth_planes_look_alike(self) -> None:
        from headstream.pipeline import Frame
        from headstream.shared.colour import planes_from_rgb
        from headstream.types import Colour

        deep: Planes = planes_from_rgb(scene(), Colour(full_range=True), bits=10, sub=(2, 2))
        now = cutout_of(Frame(planes=deep), disc(160, 120, 50), head_at(160, 120, 50))
        doubter = Doubter()
        assert change(doubter._motion, glance(now, now.heads[0]), glance(plain(0), now.heads[0])) < 0.01
        assert np.abs(glance(now, now.heads[0]).luma.astype(int) - glance(plain(0), now.heads[0]).luma).max() <= 2


def review_of(cutouts: list[Cutout], limit: int = 50) -> Review:
    review = Review(limit=limit)
    assert list(reviewed(iter(cutouts), review)) == cutouts
    return review


class TestReview:
    def test_a_clean_film(self) -> None:
        review = review_of([plain(k) for k in range(5)])
        assert (review.frames, review.doubtful, review.entries()) == (5, 0, [])

    def test_neighbours_are_one_entry_with_its_worst_frame(self) -> None:
        radii = [50] * 5 + [44, 44, 30, 30] + [50] * 30 + [44] * 3
        review = review_of([plain(k, radius=r) for k, r in enumerate(radii)])
        first, second = review.entries()
        assert (first.first[0], first.last[0]) == (5, 9)
        assert first.worst[0] in (7, 9)
        assert first.reasons == {"unstable": 3}
        assert second.first == second.last == (39, 39 / 25)
        assert review.doubtful == 4
        assert first.whole.startswith(b"\xff\xd8")
        assert first.near

    def test_who_is_gone_and_comes_back_was_lost(self) -> None:
        film = [plain(k) if not 10 <= k < 15 else cutout_of(frame_at(k), None) for k in range(30)]
        review = review_of(film)
        (entry,) = review.entries()
        assert (entry.first[0], entry.last[0], entry.reasons) == (10, 14, {"head_lost": 5})
        assert review.counts == {"head_lost": 5}

    def test_who_left_was_not(self) -> None:
        gone_for_good = [plain(k) if k < 10 else cutout_of(frame_at(k), None) for k in range(30)]
        assert review_of(gone_for_good).entries() == []
        long_away = [plain(k) if not 10 <= k < 100 else cutout_of(frame_at(k), None) for k in range(110)]
        assert review_of(long_away).entries() == []
        cut = [plain(0), cutout_of(frame_at(1), None), plain(2, picture=scene(5))]
        assert review_of(cut).entries() == []

    def test_one_of_two_who_is_lost(self) -> None:
        film = []
        for k in range(12):
            heads = [head_at(90, 120, 40), head_at(230, 120, 40, track_id=2)]
            mattes = [disc(90, 120, 40), disc(230, 120, 40)]
            count = 1 if 4 <= k < 7 else 2
            film.append(cutout_of(frame_at(k), np.max(mattes[:count], axis=0), *heads[:count]))
        assert review_of(film).counts == {"head_lost": 3}

    def test_who_is_lost_while_somebody_else_comes(self) -> None:
        film = []
        for k in range(12):
            away = 4 <= k < 7
            second = head_at(160, 60, 30, track_id=3) if away else head_at(230, 120, 40, track_id=2)
            mattes = disc(90, 120, 40), disc(160, 60, 30) if away else disc(230, 120, 40)
            film.append(cutout_of(frame_at(k), np.max(mattes, axis=0), head_at(90, 120, 40), second))
        assert review_of(film).counts["head_lost"] == 3

    def test_hair_leaves_the_face_free(self) -> None:
        alpha = disc(160, 120, 50)
        alpha[105:] = 0
        review = Review("hair")
        review.add(cutout_of(frame_at(0), alpha, head_at(160, 120, 50)))
        assert review.doubtful == 0

    def test_only_the_worst_are_kept(self) -> None:
        film, index = [], 0
        for k in range(12):  # ever worse jumps, far apart
            for radius in [50.0] * 20 + [45.0 - 2 * k]:
                film.append(plain(index, radius=radius))
                index += 1
        review = review_of(film, limit=3)
        kept = review.entries()
        assert len(kept) == 3
        assert review.places == 12
        assert [e.score for e in kept] == sorted((e.score for e in kept), reverse=True)
        assert "9 more places" in page("film", review)


class TestPage:
    def test_names_are_escaped_and_nothing_is_fetched(self) -> None:
        review = review_of([plain(k, radius=50 if k != 4 else 30) for k in range(8)])
        text = page('<script>alert("x")</script>.mp4', review)
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,|#p\d)', text) == []
        assert "prefers-color-scheme: dark" in text
        assert "0:00:00.160" in text

    def test_a_clean_film_says_so(self) -> None:
        assert "Nothing to look at" in page("film", review_of([plain(0)]))

    def test_times(self) -> None:
        assert clock(0) == "0:00:00.000"
        assert clock(3725.0416) == "1:02:05.042"
        assert clock(59.9996) == "0:01:00.000"

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a file")
        with pytest.raises(SinkError, match="is a file, not a folder"):
            write_page(tmp_path / "f" / "r.html", "film", Review())

    def test_wrong_names_are_refused_before_work(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"name it \.html"):
            check_job(VideoJob(tmp_path / "a.mp4", tmp_path / "o.mov", review=tmp_path / "r.txt"))
        with pytest.raises(SinkError, match="not a folder"):
            (tmp_path / "f").write_text("a file")
            check_job(VideoJob(tmp_path / "a.mp4", tmp_path / "o.mov", review=tmp_path / "f" / "r.html"))


class TestVideo:
    def test_a_real_clip(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = ["video", str(head_clip), "--out", str(tmp_path / "o.mkv"), "--review", str(tmp_path / "r.html")]
        assert main([*given, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["doubtful_frames"] == sum(printed["doubts"].values()) == 0
        assert "Nothing to look at" in (tmp_path / "r.html").read_text()

    def test_without_it_nothing_is_told(self, head_clip: Path, tmp_path: Path) -> None:
        assert cut_video_file(VideoJob(head_clip, tmp_path / "o.mkv")).doubts is None


def jumps_then_lost(settled: frozenset[int] = frozenset()) -> Review:
    """A matte that jumps in frames 5 and 6, and a head that is away from 9 to 11."""
    review = Review()
    review.settled = settled
    for k in range(20):
        away = 9 <= k < 12
        review.add(cutout_of(frame_at(k), None) if away else plain(k, radius=44 if k == 5 else 50))
    return review


def test_of_what_is_joined_the_worst_is_shown() -> None:
    review = jumps_then_lost()
    (entry,) = review.entries()
    assert (entry.first[0], entry.last[0], entry.score) == (5, 11, 1.0)
    assert 9 <= entry.worst[0] < 12
    assert entry.reasons == {"unstable": 2, "head_lost": 3}
    assert review.doubtful == 5


def test_what_somebody_has_corrected_is_not_doubted() -> None:
    review = jumps_then_lost(frozenset({5, 6, 9, 10, 11}))
    assert (review.doubtful, review.entries()) == (0, [])


def test_a_frame_with_two_doubts_is_one_doubtful_frame() -> None:
    """One head jumps while another is away."""
    review = Review()
    for k in range(12):
        heads = [head_at(90, 120, 40), head_at(230, 120, 40, track_id=2)]
        mattes = [disc(90, 120, 30 if k == 5 else 40), disc(230, 120, 40)]
        count = 1 if 4 <= k < 7 else 2
        review.add(cutout_of(frame_at(k), np.max(mattes[:count], axis=0), *heads[:count]))
    review.entries()
    assert review.counts == {"head_lost": 3, "unstable": 2}
    assert review.doubtful == 3


def test_who_stands_at_the_border_is_not_cut_off_by_the_crop() -> None:
    for x, y in ((0, 120), (SIZE[0], 120), (160, 0), (160, SIZE[1])):
        tight = head_at(x, y, 50, room=1.2)
        assert "cropped" not in reasons(cutout_of(frame_at(0), disc(x, y, 50), tight))
        x0, y0, x1, y1 = tight.crop_px
        at_edge = replace(tight, crop_px=(max(0, x0), max(0, y0), max(0, x0) + x1 - x0, max(0, y0) + y1 - y0))
        if x == 0 or y == 0:
            assert "cropped" not in reasons(cutout_of(frame_at(0), disc(x, y, 50), at_edge))
