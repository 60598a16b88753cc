"""How the inputs of a run are shared out to a pool of workers, films in pieces among them, and what becomes of each."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from headstream.batch.films import Films
from headstream.batch.job import BatchJob, BatchProgress, Item, Join, Outcome
from headstream.batch.ledger import write_result
from headstream.batch.piecework import pieces_folder
from headstream.batch.places import Storage
from headstream.batch.pool import Event, Pool
from headstream.errors import SinkError

_LOOK_EVERY_S = 0.5
_LOSSES = 3  # workers that one input may cost before it is held responsible
_KEPT_THUMBNAILS = 1000  # 2 to 3 kB each, in memory and in the report


class Sharing:
    """Hands inputs to a pool, takes what comes back, tries again what may pass."""

    def __init__(
        self,
        job: BatchJob,
        storage: Storage,
        outcomes: dict[str, Outcome],
        total: int,
        progress: Callable[[BatchProgress], None] | None,
    ) -> None:
        self._job, self._storage, self._outcomes, self._total, self._progress = job, storage, outcomes, total, progress
        self.workers = 0
        self._todo: deque[Item] = deque()
        self._pieces: list[Item] = []  # in order, before all else: one film is done before the next is begun
        self._kept: set[int] = set()  # films that are given up, but their pieces are not
        self._films = Films(storage, total, resume=job.resume)
        self._later: list[tuple[float, int, Item]] = []  # (when, number, item): a heap
        self._busy: dict[int, Item] = {}
        self._parts: dict[int, float] = {}
        self._losses: dict[int, int] = {}
        self._refused: dict[int, Outcome] = {}
        self._bytes = self._bytes_done = self._failed = 0

    def refuse(self, items: list[Item]) -> None:
        """Note those that cannot even be tried."""
        for item in items:
            self._refused[item.number] = Outcome(item.input, item.kind, item.place, "failed", reason=item.problem)

    def go(self, items: list[Item], pool: Pool, most: int) -> None:
        """Cut them, by a pool that may grow to ``most`` workers and ends with this. Raises ModelError, SinkError when no input
        can be cut at all."""
        self._todo.extend(items)
        self._bytes = sum(item.size + 1 for item in items)
        self.workers = pool.workers
        ended = False
        try:
            self._storage.prepare()
            while self._todo or self._pieces or self._later or self._busy:
                self._feed(pool)
                for event in pool.wait(self._patience_s()):
                    self._take(event)
                if self._pieces:
                    waiting = len(self._todo) + len(self._pieces) + len(self._later) + len(self._busy)
                    pool.grow(min(most, waiting))
                    self.workers = pool.workers
                self._tell()
            ended = True
        finally:
            pool.close(now=not ended)
            self._storage.sweep_work()

    def _feed(self, pool: Pool) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._add([heapq.heappop(self._later)[2]])
        while (self._pieces or self._todo) and pool.idle:
            item = self._pieces.pop(0) if self._pieces else self._todo.popleft()
            self._busy[item.number] = item
            pool.submit(item)

    def _add(self, items: list[Item]) -> None:
        """Do these next, pieces of films in order."""
        self._todo.extendleft(reversed([item for item in items if item.task is None]))
        self._pieces += [item for item in items if item.film in self._films]
        self._pieces.sort(key=lambda item: (item.film, item.number))

    def _patience_s(self) -> float:
        if not self._later:
            return _LOOK_EVERY_S
        return min(_LOOK_EVERY_S, max(0.01, self._later[0][0] - time.monotonic()))

    def _take(self, event: Event) -> None:
        item = self._busy[event.number]
        if item.task is not None and item.film not in self._films:
            self._left_over(event)
        elif event.lost:
            self._lost(item, event.lost)
        elif event.outcome is None:
            self._parts[item.number] = event.fraction * item.size * item.share
        elif event.outcome.fatal is not None:
            raise event.outcome.fatal(event.outcome.reason)
        elif event.outcome.state == "failed" and event.outcome.again and item.tries < self._job.tries:
            again = replace(item, tries=item.tries + 1, former=event.outcome.former)
            self._again(again, self._job.wait_s * 4 ** (item.tries - 1))
        elif item.task is not None or event.outcome.plan:
            self._go_on(item, event.outcome)
        else:
            self._end(item, event.outcome)

    def _go_on(self, item: Item, outcome: Outcome) -> None:
        """With a film of which a part is done: its plan, a piece, or the whole of it put together."""
        self._leave(item)
        if outcome.plan:
            self._add(self._films.begin(item, outcome))
        elif outcome.whole:
            film = self._films.end(item.film)
            self._drop_pieces(item.film)
            self._add([replace(film, whole=outcome.whole)])
        elif outcome.state == "failed":
            self._fail(item, outcome.reason, outcome.tries)
        elif isinstance(item.task, Join):
            self._end(self._films.end(item.film), outcome)
        else:
            self._add(self._films.done(item, outcome))

    def _drop_pieces(self, film: int) -> None:
        for number in [number for number, item in self._busy.items() if item.film == film]:
            self._parts.pop(number, None)
        self._pieces = [piece for piece in self._pieces if piece.film != film]
        self._later = [entry for entry in self._later if entry[2].film != film]
        heapq.heapify(self._later)

    def _left_over(self, event: Event) -> None:
        """A piece of a film that is given up meanwhile."""
        item = self._busy[event.number]
        if event.lost or event.outcome is not None:
            self._leave(item)
            if item.film not in self._kept:
                self._clear_pieces(item)

    def _clear_pieces(self, item: Item) -> None:
        """Remove a film's, and where that is cheap also those of an earlier run that was broken off."""
        if item.kind == "photo":
            return
        try:
            if item.number in self._films.begun or item.task is not None or self._storage.clear_is_cheap:
                self._storage.clear(pieces_folder(item))
        except SinkError:
            pass  # the next run with this film will see to it

    def _lost(self, item: Item, how: str) -> None:
        losses = self._losses[item.number] = self._losses.get(item.number, 0) + 1
        if losses < _LOSSES:
            self._again(item, 0.0)
            return
        self._fail(item, f"{item.input}: {how}, {losses} times", losses)

    def _fail(self, item: Item, reason: str, tries: int) -> None:
        """An input that is given up after ``tries``, or a film, since a piece of it is. Its other pieces are kept for another
        run."""
        if item.task is not None:
            self._leave(item)
            item = self._films.end(item.film)
            self._drop_pieces(item.number)
            self._kept.add(item.number)
        outcome = Outcome(item.input, item.kind, item.place, "failed", reason, identity=item.identity, tries=tries)
        outcome.notes, outcome.former = [f"cut whole: {item.whole}"] if item.whole else [], dict(item.former)
        try:
            write_result(self._storage, outcome)
        except SinkError:
            pass  # without a result file it is done again, too
        self._end(item, outcome)

    def _again(self, item: Item, wait_s: float) -> None:
        self._leave(item)
        heapq.heappush(self._later, (time.monotonic() + wait_s, item.number, item))

    def _leave(self, item: Item) -> None:
        self._busy.pop(item.number, None)
        self._parts.pop(item.number, None)

    def _end(self, item: Item, outcome: Outcome) -> None:
        self._leave(item)
        if outcome.state != "failed" or outcome.outputs:  # else another run may go on with them
            self._clear_pieces(item)
        self._bytes_done += item.size + 1
        if len(self._outcomes) >= _KEPT_THUMBNAILS:
            outcome.thumbnail = ""
        self._outcomes[item.place] = outcome
        self._failed += outcome.state == "failed"

    def _tell(self) -> None:
        if self._progress is None:
            return
        done, failed = len(self._outcomes) + len(self._refused), self._failed + len(self._refused)
        read = self._bytes_done + sum(self._parts.values()) + sum(self._films.shares())
        fraction = read / max(1, self._bytes)
        self._progress(BatchProgress(done, failed, self._total, fraction))

    def ordered(self, items: list[Item]) -> list[Outcome]:
        """An outcome for every input that has one, in the inputs' order."""
        every = (self._refused.get(item.number) or self._outcomes.get(item.place) for item in items)
        return [outcome for outcome in every if outcome is not None]
