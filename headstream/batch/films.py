"""The films of a run that are cut in pieces: what is to be done of each, and what is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headstream.batch.job import Item, Join, Outcome
from headstream.batch.piecework import known_pieces
from headstream.batch.places import Storage
from headstream.films.pieces import Made, Piece


@dataclass
class _Film:
    """item: the film.  made: what is known of the pieces that are done, and a thumbnail or "" of each.  seconds: of work.
    length_s: by its own account."""

    item: Item
    pieces: tuple[Piece, ...]
    made: dict[Piece, tuple[Made, str]]
    seconds: float
    length_s: float


class Films:
    """From a film's plan to items for its pieces, and from the last of these to one that puts them together.

    first: the number of the first such item; inputs have lower ones.  begun: numbers of the films there ever was a plan for.
    """

    def __init__(self, storage: Storage, first: int, *, resume: bool) -> None:
        self._storage, self._next, self._resume = storage, first, resume
        self._films: dict[int, _Film] = {}
        self.begun: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return number in self._films

    def begin(self, item: Item, planned: Outcome) -> list[Item]:
        """What is to be done of a film for which a worker has made a plan. Pieces of earlier runs are used again."""
        known = known_pieces(item, planned.plan, planned.device, self._storage) if self._resume else {}
        self.begun.add(item.number)
        film = self._films[item.number] = _Film(item, planned.plan, known, planned.seconds, planned.length_s)
        missing = [self._item(film, piece) for piece in film.pieces if piece not in known]
        return missing or [self._join(film)]

    def done(self, item: Item, outcome: Outcome) -> list[Item]:
        """Note a piece that was cut; what is to be done then."""
        film = self._films[item.film]
        assert isinstance(item.task, Piece)
        assert outcome.made is not None
        film.made[item.task] = outcome.made, outcome.thumbnail
        film.seconds += outcome.seconds
        return [self._join(film)] if len(film.made) == len(film.pieces) else []

    def end(self, number: int) -> Item:
        """A film that is joined, or given up."""
        return self._films.pop(number).item

    def shares(self) -> Iterator[float]:
        """Of each film that is begun, the bytes of its pieces that are done."""
        for film in self._films.values():
            yield film.item.size * sum(_share(film, piece) for piece in film.made)

    def _item(self, film: _Film, task: Piece | Join) -> Item:
        self._next += 1
        share = _share(film, task) if isinstance(task, Piece) else 0.0
        return replace(film.item, number=self._next - 1, film=film.item.number, task=task, share=share, tries=1)

    def _join(self, film: _Film) -> Item:
        made = [film.made[piece] for piece in film.pieces]
        thumbnail = next((picture for _, picture in made if picture), "")
        return self._item(
            film, Join(film.pieces, tuple(known for known, _ in made), thumbnail, film.seconds, film.length_s)
        )


def _share(film: _Film, piece: Piece) -> float:
    return (piece.end - piece.begin) / film.pieces[-1].end
