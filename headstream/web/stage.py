"""What is being cut, as those who watch are shown it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headstream.types import Cutout
from headstream.web.wire import cutout_message, jpeg_of


class Shown:
    """A cut-out on a stage. All who watch are sent the same bytes, which are made once, for the first who asks."""

    def __init__(self, number: int, cutout: Cutout, *, whole: bool) -> None:
        self.number, self.cutout, self._whole = number, cutout, whole
        self._message: bytes | None = None
        self._lock = threading.Lock()

    def message(self) -> bytes:
        """As the page reads it. Takes its time: not for the event loop."""
        with self._lock:  # who asks while it is made waits for it
            if self._message is None:
                picture = jpeg_of(self.cutout.frame) if self._whole else b""
                self._message = cutout_message(self.number & 0xFFFFFFFF, self.cutout, picture)
            return self._message


class Stage:
    """The newest cut-out, for all who watch: the overlay, and pages that show this machine's camera.

    Of several who cut, the one that began last is shown: all of them would flicker from one head to another.
    ``publish`` may be called from any thread; watchers get the newest when they are ready for one, and miss the others.
    whole: whether they are sent the whole frame, too.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._newest: Shown | None = None
        self._watchers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._cutting: list[object] = []

    def enter(self, who: object) -> None:
        """Show what this one publishes, until it leaves or another enters."""
        with self._lock:
            self._cutting.append(who)

    def publish(self, cutout: Cutout, who: object = None) -> None:
        """Show this one from now on, unless another has entered after who made it."""
        with self._lock:
            if self._cutting and self._cutting[-1] is not who:
                return
            self._count += 1
            self._newest = Shown(self._count, cutout, whole=self._whole)
            watchers = list(self._watchers.items())
        for event, loop in watchers:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                pass  # that loop has ended; its watcher goes with it

    def leave(self, who: object) -> None:
        """Forget the newest: who made it has ended, and it is not for who comes next. Safe to call again."""
        with self._lock:
            if not self._cutting or self._cutting[-1] is who:
                self._newest = None
            if who in self._cutting:
                self._cutting.remove(who)

    @property
    def watchers(self) -> int:
        """How many are watching."""
        return len(self._watchers)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Shown]]:
        """An endless iterator of the newest."""
        event = asyncio.Event()
        with self._lock:
            self._watchers[event] = asyncio.get_running_loop()
        if self._newest is not None:
            event.set()
        try:
            yield self._newest_ones(event)
        finally:
            with self._lock:
                del self._watchers[event]

    async def _newest_ones(self, event: asyncio.Event) -> AsyncIterator[Shown]:
        while True:
            await event.wait()
            event.clear()
            if (newest := self._newest) is not None:  # which may be forgotten meanwhile
                yield newest
