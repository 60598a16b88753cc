"""Worker processes on this machine, each with a pipe of its own: when one dies, its input alone is affected."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Protocol

from headstream.batch.job import Item, Outcome, Setup
from headstream.errors import HeadstreamError
from headstream.shared.unswallowed import unswallowed

_TELL_EVERY_S = 0.5
_STOP_S = 10.0  # for a worker to clean up after itself
_STILLBORN = 3  # workers in a row that die before their first input: none ever will work
_MOST_HANDLES = 60 if sys.platform == "win32" else sys.maxsize  # to wait for at once: Windows knows 63
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Event:
    """What a pool tells of an input: its ``outcome``; or that its worker was ``lost``, and how; or how far it is."""

    number: int
    outcome: Outcome | None = None
    lost: str = ""
    fraction: float = 0.0


class Pool(Protocol):
    """Workers. ``submit`` only while ``idle`` is above 0; every submitted input ends in an outcome or a loss."""

    workers: int

    @property
    def idle(self) -> int:
        """How many inputs could be taken at once."""

    def grow(self, workers: int) -> None:
        """Have up to so many workers, if that is more than now and there is room."""

    def submit(self, item: Item) -> None:
        """Hand an input to a worker."""

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened meanwhile; nothing, when ``timeout_s`` have passed."""

    def close(self, *, now: bool = False) -> None:
        """End the workers; ``now``: in the middle of what they do. Safe to call again."""


@dataclass
class _Hand:
    process: Any
    pipe: Any  # a Connection; on Windows a PipeConnection
    threads: int | None
    item: Item | None = None
    used: bool = False


class LocalPool:
    """Processes of this machine. A context manager. Scripts that use it need ``if __name__ == "__main__":``."""

    def __init__(self, setup: Setup, workers: int) -> None:
        self.workers = workers
        self._setup = setup
        self._context = multiprocessing.get_context("spawn")  # ONNX Runtime and MediaPipe do not survive a fork
        self._hands: list[_Hand] = []
        self._stillborn = self._started = 0

    @property
    def idle(self) -> int:
        """How many inputs could be taken at once."""
        return self.workers - sum(hand.item is not None for hand in self._hands)

    def grow(self, workers: int) -> None:
        """Have up to so many; the threads are shared anew. A worker with a larger share finishes what it is at, and gives way
        to a new one at the next ``submit``."""
        if workers > self.workers:
            if self._setup.threads is not None:
                threads = max(1, self._setup.threads * self.workers // workers)
                self._setup = replace(self._setup, threads=threads)
            self.workers = workers

    def submit(self, item: Item) -> None:
        """Hand an input to a worker, a new one if need be."""
        self._end([h for h in self._hands if h.item is None and h.threads != self._setup.threads])
        hand = next((h for h in self._hands if h.item is None and h.process.is_alive()), None)
        hand = hand or self._start()
        hand.item = item
        try:
            hand.pipe.send(item)
        except OSError:
            pass  # it has just died; ``wait`` will say so

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened. Raises HeadstreamError when workers cannot even start."""
        sources: dict[Any, _Hand] = {}
        for hand in self._hands:
            sources[hand.pipe] = sources[hand.process.sentinel] = hand
        ready = {id(sources[source]): sources[source] for source in _ready(list(sources), timeout_s)}
        events: list[Event] = []
        for hand in ready.values():
            events += self._heard(hand)
        return events

    def _heard(self, hand: _Hand) -> Iterator[Event]:
        dead = not hand.process.is_alive()  # asked first: what it said before is still in the pipe
        try:
            while hand.pipe.poll():
                said = hand.pipe.recv()
                if isinstance(said, HeadstreamError):
                    raise said
                hand.used, self._stillborn = True, 0
                if hand.item is None:
                    continue
                if isinstance(said, Outcome):
                    number, hand.item = hand.item.number, None
                    yield Event(number, outcome=said)
                else:
                    yield Event(hand.item.number, fraction=said)
        except (EOFError, OSError):
            hand.process.join(_STOP_S)
            dead = True
        if dead:
            yield from self._buried(hand)

    def _buried(self, hand: _Hand) -> Iterator[Event]:
        hand.process.join()
        self._hands.remove(hand)
        hand.pipe.close()
        how = _cause_of_death(hand.process.exitcode)
        self._stillborn += not hand.used
        if hand.item is not None:
            yield Event(hand.item.number, lost=how)
        if self._stillborn >= _STILLBORN * self.workers:
            raise HeadstreamError(f"workers do not start: {how}")

    def _start(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        self._started += 1
        name = f"headstream-batch-{self._started}"
        process = self._context.Process(target=_serve, args=(theirs, self._setup), name=name, daemon=True)
        with _environment(self._setup.threads), _ctrl_c_held():
            process.start()
        theirs.close()
        hand = _Hand(process, ours, self._setup.threads)
        self._hands.append(hand)
        return hand

    def close(self, *, now: bool = False) -> None:
        """End the workers; ``now``: in the middle of what they do. Safe to call again."""
        self._end(list(self._hands), now=now)

    def _end(self, hands: list[_Hand], *, now: bool = False) -> None:
        for hand in hands:
            if now:
                hand.process.terminate()
            else:
                try:
                    hand.pipe.send(None)
                except OSError:
                    pass  # gone already
        until = time.monotonic() + _STOP_S
        for hand in hands:
            hand.process.join(max(0.0, until - time.monotonic()))
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.pipe.close()
            self._hands.remove(hand)

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self.close(now=kind is not None)


class _Stopped(BaseException):
    """Raised in a worker that is told to stop, so that it cleans up."""


def _serve(pipe: Connection, setup: Setup) -> None:
    """A worker's life. It ends when it is told to, or when nobody is at the pipe's other end."""
    # Ctrl-C, Ctrl-Break and a terminal's end reach all that runs there; the parent decides.
    for name in ("SIGINT", "SIGBREAK", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.getLogger("headstream").setLevel(logging.ERROR)  # warnings are in the results
    from headstream.batch.worker import Worker  # whoever is told to stop before it is here has nothing to clean up

    last = 0.0

    def tell(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > _TELL_EVERY_S:
            last = time.monotonic()
            pipe.send(fraction)

    try:
        _heed()
        with unswallowed(_Stopped, _heed):
            try:
                with Worker(setup) as worker:
                    while (item := pipe.recv()) is not None:
                        pipe.send(worker.cut(item, tell))
            except HeadstreamError as error:  # there is no room to work in
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends of itself
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError, _Stopped):
        pass


def _heed() -> None:
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def _ready(handles: list[Any], timeout_s: float) -> list[Any]:
    """Those something has happened to. More than can be waited for at once take turns."""
    groups = [handles[at : at + _MOST_HANDLES] for at in range(0, len(handles), _MOST_HANDLES)] or [handles]
    return [handle for group in groups for handle in wait(group, timeout_s / len(groups))]


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its worker ended with status {code}"


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Processes begin with Ctrl-C blocked, so that it does not end them before they can say that they ignore it."""
    if sys.platform == "win32":
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # the first process would start it, and it lets Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(threads: int | None) -> Iterator[None]:
    """Tell libraries that read their share of threads when they load, in the environment a process starts with."""
    before = {key: os.environ.get(key) for key in _THREADS}
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class InProcess:
    """One worker in this very process: for paths that other processes cannot see (memory://)."""

    workers = 1

    def __init__(self, setup: Setup) -> None:
        from headstream.batch.worker import Worker

        self._worker = Worker(setup)
        self._item: Item | None = None

    @property
    def idle(self) -> int:
        """How many inputs could be taken at once."""
        return int(self._item is None)

    def grow(self, workers: int) -> None:
        """There is this one."""

    def submit(self, item: Item) -> None:
        """Take an input; it is cut in ``wait``."""
        self._item = item

    def wait(self, timeout_s: float) -> list[Event]:
        """Cut it."""
        if self._item is None:
            time.sleep(timeout_s)
            return []
        item, self._item = self._item, None
        return [Event(item.number, outcome=self._worker.cut(item))]

    def close(self, *, now: bool = False) -> None:
        """Free what is loaded. Safe to call again."""
        self._worker.close()
