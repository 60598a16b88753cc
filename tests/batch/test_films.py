"""What is to be done of films that are cut in pieces, whichever piece is done first."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstream.batch.films import Films
from headstream.batch.job import Item, Join, Outcome, Wish
from headstream.batch.places import LocalStorage
from headstream.capture.marks import Span
from headstream.films.pieces import Made, Piece

SPAN = Span(0, 100, 0, 0)
PLAN = (Piece(0, 50, SPAN, 1), Piece(50, 80, SPAN, 2), Piece(80, 100, SPAN, 3))


def film(number: int) -> Item:
    """One whose plan took two tries."""
    return Item(number, f"{number}.mp4", "video", f"{number}.mkv", Wish(format="mkv"), size=1000, tries=2)


def planned(item: Item) -> Outcome:
    return Outcome(item.input, "video", item.place, "done", plan=PLAN, seconds=1.0, length_s=40.0)


def done(item: Item, seconds: float, thumbnail: str) -> Outcome:
    """A piece that was cut; how many frames it has tells which."""
    assert isinstance(item.task, Piece)
    made = Made(frames=item.task.end - item.task.begin)
    return Outcome(item.input, "video", item.place, "done", made=made, seconds=seconds, thumbnail=thumbnail)


def test_pieces_are_put_together_in_the_films_order(tmp_path: Path) -> None:
    films = Films(LocalStorage(str(tmp_path)), 2, resume=True)
    first, second, third = films.begin(film(1), planned(film(1)))
    assert [(item.number, item.film, item.task) for item in (first, second, third)] == list(
        zip((2, 3, 4), (1,) * 3, PLAN, strict=True)
    )
    assert films.done(third, done(third, 4.0, "data:3")) == []
    assert films.done(first, done(first, 8.0, "")) == []
    assert list(films.shares()) == [pytest.approx(700)]
    (whole,) = films.done(second, done(second, 16.0, "data:2"))
    made = tuple(Made(frames=count) for count in (50, 30, 20))
    assert whole.task == Join(PLAN, made, thumbnail="data:2", seconds=1.0 + 4.0 + 8.0 + 16.0, length_s=40.0)
    assert (whole.number, whole.film, whole.share) == (5, 1, 0.0)
    assert films.end(1) == film(1)
    assert 1 not in films
    assert films.begun == {1}
    assert not list(films.shares())


def test_pieces_of_several_films_are_kept_apart(tmp_path: Path) -> None:
    films = Films(LocalStorage(str(tmp_path)), 2, resume=True)
    one, other = (films.begin(film(number), planned(film(number))) for number in (0, 1))
    assert len({item.number for item in one + other}) == 6
    for item in one[:2] + other[:2]:
        assert films.done(item, done(item, 1.0, "")) == []
    (whole,) = films.done(other[2], done(other[2], 1.0, ""))
    assert (whole.film, whole.place) == (1, "1.mkv")


def test_each_piece_has_all_its_tries(tmp_path: Path) -> None:
    """However many the plan took. What a piece weighs is its share of the film."""
    made = Films(LocalStorage(str(tmp_path)), 2, resume=True).begin(film(0), planned(film(0)))
    assert [item.tries for item in made] == [1, 1, 1]
    assert [item.share for item in made] == [pytest.approx(share) for share in (0.5, 0.3, 0.2)]
