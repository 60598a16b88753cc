"""Heads filled in from frames to come: never what is not there, then gaps, newcomers, and what it may hold on to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from headstream.cli import main
from headstream.errors import SourceError
from headstream.films import lookahead
from headstream.films.lookahead import FRAMES, with_look_ahead
from headstream.films.video import VideoJob, cut_video_file
from headstream.review.doubts import Doubter
from headstream.types import Cutout, Frame, Head, UInt8Array
from tests.media import alpha_of
from tests.scenes import SIZE, cutout_of, disc, frame_at, head_at, plain, scene


def drifting(k: int, found: bool = True, picture: UInt8Array | None = None, **more: int) -> Cutout:
    """A head that moves 2 px a frame with its picture."""
    frame = frame_at(k, scene(shift=2 * k) if picture is None else picture)
    return cutout_of(frame, disc(110 + 2 * k, 120, 45) if found else None, head_at(110 + 2 * k, 120, 45, **more))


def wrong(cutout: Cutout) -> float:
    """Share of the head that is wrong."""
    right = disc(110 + 2 * cutout.frame.index, 120, 45)
    return float(cv2.absdiff(cutout.alpha, right).sum()) / float(right.sum())


def ahead(cutouts: list[Cutout], several: bool = False) -> list[Cutout]:
    out = list(with_look_ahead(iter(cutouts), several=several))
    assert [c.frame.index for c in out] == [c.frame.index for c in cutouts]
    return out


def test_where_nothing_is_missing_nothing_changes() -> None:
    film = [drifting(k) for k in range(20)]
    assert all(a is b for a, b in zip(ahead(film), film, strict=True))


def test_a_short_loss_is_filled_from_both_sides() -> None:
    film = [drifting(k, found=not 12 <= k < 20) for k in range(30)]
    out = ahead(film)
    assert all(out[k] is film[k] for k in range(30) if not 12 <= k < 20)
    for k in range(12, 20):
        assert wrong(out[k]) < 0.06
        (head,) = out[k].heads
        assert (head.track_id, head.score) == (1, 0)
        assert abs(head.box_px[0] - (110 + 2 * k - 27)) < 6


def test_what_was_filled_in_is_doubted() -> None:
    film = ahead([drifting(k, found=k != 5) for k in range(8)])
    doubter = Doubter()
    assert [set(doubter.look(c).reasons) for c in film][4:7] == [set(), {"filled_in"}, set()]


def test_a_matte_that_does_not_fill_the_face_counts_as_lost() -> None:
    film = [drifting(k) for k in range(12)]
    for k in (5, 6):
        alpha = film[k].alpha
        alpha[:130] = 0
        film[k] = cutout_of(film[k].frame, alpha, film[k].heads[0])
    out = ahead(film)
    assert max(wrong(out[k]) for k in (5, 6)) < 0.06
    assert len(out[5].heads) == 1


def test_a_long_absence_is_none() -> None:
    """The first frames of it stay empty; the last are those in which the head was there already."""
    film = [drifting(k, found=not 3 <= k < 30) for k in range(34)]
    out = ahead(film)
    assert all(not out[k].heads for k in range(3, 30 - FRAMES))
    assert all(out[k].heads for k in range(30 - FRAMES, 34))


def test_a_head_found_late_is_there_from_the_start() -> None:
    out = ahead([drifting(k, found=k >= 6) for k in range(10)])
    assert all(wrong(c) < 0.08 for c in out)


def test_a_newcomer_the_detector_is_not_sure_of_is_not_taken_back() -> None:
    film = [drifting(k, found=k >= 6) for k in range(10)]
    film = [Cutout(c.frame, tuple(unsure(h) for h in c.heads), c.region_px, c.region_alpha) for c in film]
    assert not any(c.heads for c in ahead(film)[:6])


def unsure(head: Head) -> Head:
    return Head(1, head.box_px, head.crop_px, head.landmarks_px, 0.52)


def test_nothing_is_drawn_on_another_picture() -> None:
    """Neither across a cut nor over what covers the head."""
    cut = [drifting(k, found=k >= 5, picture=scene(5) if k < 5 else None) for k in range(10)]
    assert all(a is b for a, b in zip(ahead(cut), cut, strict=True))
    film = [drifting(k) for k in range(10)]
    for k in (4, 5):
        picture = scene(shift=2 * k)
        picture[60:180, 60:200] = np.where(np.indices((120, 140)).sum(axis=0) % 11 < 5, 250, 5)[..., None]
        film[k] = drifting(k, found=False, picture=picture)
    out = ahead(film)
    assert not any(out[k].heads for k in (4, 5))


def test_what_the_source_half_shows_through_is_filled_in_as_it_is_beside() -> None:
    own = np.full(SIZE[::-1], 128, np.uint8)
    film = []
    for k in range(12):
        frame = Frame(scene(shift=2 * k), alpha=own, index=k, pts=Fraction(k, 25))
        matte = np.minimum(disc(110 + 2 * k, 120, 45), own) if k != 6 else None
        film.append(cutout_of(frame, matte, head_at(110 + 2 * k, 120, 45)))
    assert [int(c.alpha.max()) for c in ahead(film)] == [pytest.approx(128, abs=2)] * 12


def test_only_one_head_is_cut_where_one_is_asked_for() -> None:
    other = cutout_of(frame_at(0), disc(240, 120, 40), head_at(240, 120, 40, track_id=2))
    film = [
        cutout_of(frame_at(k), other.alpha, other.heads[0]) if 4 <= k < 7 else plain(k, x=110, radius=45)
        for k in range(12)
    ]
    out = ahead(film)
    assert all(a is b for a, b in zip(out, film, strict=True))
    assert [len(c.heads) for c in ahead(film, several=True)][4:7] == [2, 2, 2]


def test_one_of_two_is_filled_in_and_the_other_stays() -> None:
    film = []
    for k in range(10):
        heads = (head_at(90, 120, 40), head_at(230, 120, 40, track_id=2))
        mattes = [disc(90, 120, 40), disc(230, 120, 40)]
        count = 1 if 4 <= k < 6 else 2
        film.append(cutout_of(frame_at(k), np.max(mattes[:count], axis=0), *heads[:count]))
    out = ahead(film, several=True)
    assert [len(c.heads) for c in out] == [2] * 10
    assert (out[4].alpha[:, :150] == film[4].alpha[:, :150]).all()
    assert cv2.absdiff(out[4].alpha, film[0].alpha).mean() < 0.3


def test_a_source_that_breaks_off_gives_what_it_had() -> None:
    def broken() -> Iterator[Cutout]:
        yield from (drifting(k) for k in range(5))
        raise SourceError("cut off")

    got = []
    with pytest.raises(SourceError):
        for cutout in with_look_ahead(broken()):
            got.append(cutout.frame.index)
    assert got == [0, 1, 2, 3, 4]


def test_what_it_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    def counted() -> Iterator[Cutout]:
        nonlocal taken
        for k in range(40):
            taken += 1
            yield plain(k)

    def most() -> int:
        nonlocal taken
        taken = 0
        return max(taken - cutout.frame.index for cutout in with_look_ahead(counted()))

    assert most() == FRAMES + 1
    monkeypatch.setattr(lookahead, "_HELD_BYTES", 5 * plain(0).frame.nbytes)
    assert most() == 6


def test_a_frame_depends_on_its_neighbourhood_alone() -> None:
    film = [drifting(k, found=not 20 <= k < 24) for k in range(50)]
    whole, part = ahead(film), ahead(film[20 - FRAMES : 24 + FRAMES])
    assert all((whole[k].alpha == part[k - 20 + FRAMES].alpha).all() for k in range(20, 24))


def test_it_can_be_turned_off(head_clip: Path, tmp_path: Path) -> None:
    for name, more in (("a.mkv", []), ("b.mkv", ["--no-look-ahead"])):
        assert main(["video", str(head_clip), "--out", str(tmp_path / name), *more]) == 0
    assert (alpha_of(tmp_path / "a.mkv") == alpha_of(tmp_path / "b.mkv")).all()


def test_an_interrupt_stops_the_grab_thread_and_leaves_a_file(head_clip: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    report = cut_video_file(VideoJob(head_clip, tmp_path / "o.mkv", review=tmp_path / "r.html"), interrupt)
    assert report.interrupted
    assert report.frames_out == 5
    assert "5 frames" in (tmp_path / "r.html").read_text()
    assert "headstream-grab" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("opaque", [255, 128])
def test_what_is_drawn_takes_nothing_from_a_head_that_it_touches(opaque: int) -> None:
    """Nor where the source itself is half transparent."""
    own = np.full(SIZE[::-1], opaque, np.uint8)
    heads = (head_at(110, 120, 45), head_at(190, 120, 45, track_id=2))
    mattes = [np.minimum(disc(x, 120, 45), own) for x in (110, 190)]
    film = []
    for k in range(12):
        first = 1 if k == 6 else 0
        frame = Frame(scene(), alpha=own, index=k, pts=Fraction(k, 25))
        film.append(cutout_of(frame, np.max(mattes[first:], axis=0), *heads[first:]))
    out = ahead(film, several=True)
    assert len(out[6].heads) == 2
    assert (out[6].alpha >= film[6].alpha).all()
