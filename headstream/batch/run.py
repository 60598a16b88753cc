"""A batch from end to end: what `headstream batch` does, for any caller."""

from __future__ import annotations

import heapq
import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headstream.batch.films import Films
from headstream.batch.inputs import find_items
from headstream.batch.job import OWN_FOLDER, BatchJob, BatchProgress, BatchReport, Item, Join, Outcome, Setup
from headstream.batch.ledger import split, with_identity, write_result
from headstream.batch.piecework import pieces_folder
from headstream.batch.places import LocalStorage, Storage, is_remote, local_path, open_storage, sweep
from headstream.batch.pool import Event, InProcess, LocalPool, Pool
from headstream.batch.worker import check_wish
from headstream.errors import SinkError, UsageError
from headstream.sinks.partial import check_writable
from headstream.sinks.photo import check_folder

_LOOK_EVERY_S = 0.5
_LOSSES = 3  # workers that one input may cost before it is held responsible
_KEPT_THUMBNAILS = 1000  # 2 to 3 kB each, in memory and in the report


def run_batch(job: BatchJob, progress: Callable[[BatchProgress], None] | None = None) -> BatchReport:
    """Cut all inputs of a job. An input that fails is an outcome; the rest goes on.

    On KeyboardInterrupt what is done stays done, and the report says ``interrupted``. Raises UsageError before any work
    for what makes no sense (nothing matched, options that contradict one another), ModelError, SinkError.
    """
    started = time.monotonic()
    if job.workers is not None and job.workers < 1:
        raise UsageError(f"--workers {job.workers}: expected at least 1")
    if job.split_s < 0:
        raise UsageError(f"--split {job.split_s:g}: expected a number of seconds, or 0 for films in one piece")
    items = _checked_items(job)
    storage = open_storage(job.out)
    if isinstance(storage, LocalStorage):
        check_folder(storage.root)
    if job.report is not None:
        check_writable(job.report)
    todo, finished = split(items, storage, resume=job.resume)
    report = BatchReport(len(items), results=storage.locate("results.jsonl"))
    outcomes = {outcome.place: replace(outcome, state="skipped") for outcome in finished}
    run = _Run(job, storage, outcomes, len(items), progress)
    try:
        run.refuse([item for item in todo if item.problem])
        todo = [item for item in todo if not item.problem]
        if todo:
            run.go(todo)
    except KeyboardInterrupt:
        report.interrupted = True
    report.workers = run.workers
    report.outcomes = run.ordered(items)
    report.seconds = time.monotonic() - started
    _write_summary(report, storage, job)
    return report


def _checked_items(job: BatchJob) -> list[Item]:
    wish = replace(job.wish, background=_findable(job.wish.background))
    items = find_items(job.inputs, wish, job.out, recursive=job.recursive)
    if all(item.problem for item in items):
        raise UsageError(items[0].problem if items else "no inputs")
    for wish, kind in dict.fromkeys((item.wish, item.kind) for item in items):
        check_wish(wish, kind)
    return with_identity(items, job)


def _findable(name: str) -> str:
    """A file's name that holds in other processes and on other machines, too; other words as they are."""
    return local_path(name) if os.path.exists(os.path.expanduser(name)) else name


def open_pool(job: BatchJob, items: int, paths: list[str]) -> Pool:
    """The workers a job asks for, no more than there are inputs; ``grow`` it where films are split."""
    cores = cores_here()
    workers = min(job.workers or cores, items)
    out = job.out if is_remote(job.out) else local_path(job.out)
    setup = Setup(out, _findable(job.model), job.device, wait_s=job.wait_s)
    in_memory = any(path.startswith("memory://") for path in [job.out, *paths])
    if job.ray is not None:
        if in_memory:
            raise UsageError("memory:// is out of reach for a cluster; use a store that all its machines see")
        from headstream.batch.ray_pool import RayPool

        return RayPool(setup, job.ray, workers=job.workers, items=items, gpus=job.gpus)
    setup = replace(setup, threads=max(1, cores // workers))
    if in_memory:
        return InProcess(setup)
    return LocalPool(setup, workers)


def cores_here() -> int:
    """Cores this process may use: of its affinity, and of its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


class _Run:
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
        self._films = Films(storage, total, resume=job.resume)
        self._pool: Pool | None = None
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

    def go(self, items: list[Item]) -> None:
        """Cut them. Raises ModelError, SinkError when no input can be cut at all."""
        self._todo.extend(items)
        self._bytes = sum(item.size + 1 for item in items)
        self._pool = pool = open_pool(self._job, len(items), [item.input for item in items])
        self.workers = pool.workers
        ended = False
        try:
            while self._todo or self._pieces or self._later or self._busy:
                self._feed(pool)
                for event in pool.wait(self._patience_s()):
                    self._take(event)
                self._tell()
            ended = True
        finally:
            pool.close(now=not ended)
            if isinstance(self._storage, LocalStorage):
                _clear(self._storage.root / OWN_FOLDER / "work")

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
            self._again(replace(item, tries=item.tries + 1), self._job.wait_s * 4 ** (item.tries - 1))
        elif item.task is not None or event.outcome.plan:
            self._go_on(item, event.outcome)
        else:
            self._end(item, event.outcome)

    def _go_on(self, item: Item, outcome: Outcome) -> None:
        """With a film of which a part is done: its plan, a piece, or the whole of it put together."""
        self._leave(item)
        if outcome.plan:
            self._add(self._films.begin(item, outcome))
            self._grow()
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

    def _grow(self) -> None:
        """As many workers as there is work for now."""
        assert self._pool is not None
        wanted = len(self._todo) + len(self._pieces) + len(self._later) + len(self._busy)
        here = cores_here() if self._job.ray is None else wanted
        self._pool.grow(min(self._job.workers or here, wanted))
        self.workers = self._pool.workers

    def _drop_pieces(self, film: int) -> None:
        self._pieces = [piece for piece in self._pieces if piece.film != film]
        self._later = [entry for entry in self._later if entry[2].film != film]
        heapq.heapify(self._later)

    def _left_over(self, event: Event) -> None:
        """A piece of a film that is given up meanwhile."""
        item = self._busy[event.number]
        if event.lost or event.outcome is not None:
            self._leave(item)
            self._clear_pieces(item)

    def _clear_pieces(self, item: Item) -> None:
        """Remove a film's, also those of an earlier run that was broken off; on a store asking for these costs too much."""
        try:
            if item.number in self._films.begun or item.task is not None or isinstance(self._storage, LocalStorage):
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
        outcome = Outcome(item.input, item.kind, item.place, "failed", reason, identity=item.identity, tries=tries)
        try:
            write_result(self._storage, outcome)
        except SinkError:
            pass  # without a result file it is done again, too
        self._end(item, outcome, keep_pieces=True)

    def _again(self, item: Item, wait_s: float) -> None:
        self._leave(item)
        heapq.heappush(self._later, (time.monotonic() + wait_s, item.number, item))

    def _leave(self, item: Item) -> None:
        self._busy.pop(item.number, None)
        self._parts.pop(item.number, None)

    def _end(self, item: Item, outcome: Outcome, *, keep_pieces: bool = False) -> None:
        self._leave(item)
        if not keep_pieces:
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


def _clear(work: Path) -> None:
    sweep(work)
    try:
        work.rmdir()
    except OSError:
        pass  # another batch is at work there, or nothing ever was


def _write_summary(report: BatchReport, storage: Storage, job: BatchJob) -> None:
    """results.jsonl and the report. Raises SinkError."""
    lines = []
    for outcome in report.outcomes:
        row = outcome.as_dict()
        del row["thumbnail"]
        lines.append(json.dumps(row, ensure_ascii=False))
    storage.write("results.jsonl", "".join(f"{line}\n" for line in lines).encode())
    if job.report is not None:
        from headstream.batch.report import write_report

        write_report(report, job.report)
