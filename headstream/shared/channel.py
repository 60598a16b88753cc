"""A bounded queue between two threads that cannot lose an error, hang on stop, or grow.

Two policies. **every**: the producer waits for room; nothing is lost (files). **newest**: the producer never waits; the
oldest item that was not taken is dropped and counted (live).
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar

from headstream.shared.threads import JoinedThread

Policy = Literal["every", "newest"]
Item = TypeVar("Item")


class Channel(Generic[Item]):
    """One producer thread, one consumer thread.

    The producer calls ``put`` and, exactly once, ``finish``, with the exception that ended it if there was one. The
    consumer iterates: it gets every item put before the end, then the exception, or the end. ``close`` is the consumer
    giving up: it empties the queue and makes the next ``put`` return False. All may be called at any time, in any order.
    """

    def __init__(self, capacity: int, policy: Policy = "every") -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._items: deque[Item] = deque()
        self._capacity, self._policy = capacity, policy
        self._changed = threading.Condition()
        self._finished = self._closed = False
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, item: Item) -> bool:
        """Hand over one item. False means nobody wants more: stop producing."""
        with self._changed:
            if self._policy == "newest":
                while len(self._items) >= self._capacity:
                    self._items.popleft()
                    self.dropped += 1
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """No more items. ``error`` is raised in the consumer after the last one."""
        with self._changed:
            self._finished, self._error = True, self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """The consumer wants no more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        return (item for item in self.ticking(None) if item is not None)

    def ticking(self, seconds: float | None) -> Iterator[Item | None]:
        """Iterate, with a None whenever nothing has come for ``seconds``: for a consumer with other things to look after."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._finished or self._closed, seconds)
                if self._closed:
                    return
                item = None
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                elif self._finished:
                    if self._error is not None:
                        raise self._error
                    return
            yield item


class Producer(Generic[Item]):
    """Runs an iterable in a thread of its own and hands its items over through a ``Channel``.

    A context manager; ``close`` stops and joins the thread, and is safe to call again. The iterable's own clean-up is
    its maker's business, after ``close``. patience_s: how long ``close`` waits for an iterable that is stuck in a read of a
    device or network; it ends by itself when that returns. None waits for as long as it takes.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        name: str,
        capacity: int = 4,
        policy: Policy = "every",
        on_stop: Callable[[], None] | None = None,
        patience_s: float | None = None,
    ) -> None:
        self._channel: Channel[Item] = Channel(capacity, policy)
        self._items, self._on_stop, self._patience_s = items, on_stop, patience_s
        self._thread = JoinedThread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _running.add(self)

    @property
    def dropped(self) -> int:
        """Items lost to the newest policy."""
        return self._channel.dropped

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._channel.put(item):
                    break
        except BaseException as raised:  # relayed, whatever it is: the consumer decides
            error = raised
        finally:
            self._channel.finish(error)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._channel)

    def ticking(self, seconds: float) -> Iterator[Item | None]:
        """See ``Channel.ticking``."""
        return self._channel.ticking(seconds)

    def stop(self) -> None:
        """End the iteration, from any thread, without waiting."""
        self._channel.close()
        if self._on_stop is not None and self._thread.is_alive():
            self._on_stop()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self.stop()
        self._thread.join(self._patience_s)

    def end(self, seconds: float) -> None:
        """Stop the thread, and wait so long for it at most."""
        self.stop()
        self._thread.join(seconds if self._patience_s is None else min(seconds, self._patience_s))

    def __enter__(self) -> Producer[Item]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_running: weakref.WeakSet[Producer[Any]] = weakref.WeakSet()
_AT_EXIT_S = 5.0


def _end_all() -> None:
    """Where the interpreter goes down with an iteration half-way: while threads still run. Later they stand still, holding what
    they hold, and whoever waits for one, as a generator does that is collected then, waits for ever."""
    for producer in list(_running):
        producer.end(_AT_EXIT_S)


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)  # they run in the parent
