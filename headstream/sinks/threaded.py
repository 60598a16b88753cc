"""Sinks made of sinks: one that writes in a thread of its own, one that writes to several."""

from __future__ import annotations

from collections.abc import Sequence

from headstream.shared.channel import Channel, Policy
from headstream.shared.threads import JoinedThread
from headstream.types import Cutout, Sink


class ThreadedSink:
    """Writes to another sink in a thread of its own, behind a bounded queue.

    policy: "every" makes the writer wait for room; "newest" drops the oldest waiting cut-out and counts it.
    An error of the inner sink is raised by the next ``write`` or by ``close``, once. ``close`` waits until all is
    written, closes the inner sink and is safe to call again.
    """

    def __init__(self, inner: Sink, *, capacity: int = 4, policy: Policy = "every") -> None:
        self._inner = inner
        self._channel: Channel[Cutout] = Channel(capacity, policy)
        self._error: BaseException | None = None
        self._ended = False
        self._thread = JoinedThread(target=self._run, name="headstream-sink", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Cut-outs lost to the newest policy."""
        return self._channel.dropped

    def _run(self) -> None:
        try:
            for cutout in self._channel:
                self._inner.write(cutout)
        except BaseException as error:  # raised again where somebody can act on it
            self._error = error
        finally:
            self._channel.close()

    def write(self, cutout: Cutout) -> None:
        """Queue one cut-out."""
        if not self._channel.put(cutout):
            self._raise_error()

    def close(self) -> None:
        """Finish what is queued, then close the inner sink."""
        if self._ended:
            return
        self._channel.finish()
        self._thread.join()
        self._ended = True  # not before: a close that Ctrl-C breaks off can be asked for again
        try:
            self._inner.close()
        finally:
            self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class TeeSink:
    """Writes to several sinks in turn. ``close`` closes them all, whatever any of them raises, then raises the first."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def write(self, cutout: Cutout) -> None:
        """Write to each."""
        for sink in self._sinks:
            sink.write(cutout)

    def close(self) -> None:
        """Close each."""
        errors: list[BaseException] = []
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
