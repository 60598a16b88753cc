"""A live cut into outputs that cannot hold it up: a slow one loses frames, a broken one leaves, the rest go on."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headstream.errors import SinkError
from headstream.live.cutting import LiveCutter, LiveStatus
from headstream.shared.interrupts import held_interrupts
from headstream.shared.threads import JoinedThread
from headstream.sinks.threaded import ThreadedSink
from headstream.types import Cutout, Sink

log = logging.getLogger(__name__)

_WAKE_S = 0.2  # between two looks whether somebody has had enough
_PATIENCE_S = 5.0  # of those who press Ctrl-C while outputs are finished, which takes a second


@dataclass
class Output:
    """One place cut-outs go to, in a thread of its own: a slow one loses frames, a broken one leaves, the rest go on.

    growing: where what it keeps is until it is finished, if that is a file.
    """

    name: str
    sink: Sink
    growing: Path | None = None
    threaded: ThreadedSink = field(init=False)
    error: SinkError | None = None

    def __post_init__(self) -> None:
        self.threaded = ThreadedSink(self.sink, capacity=2, policy="newest")

    @property
    def dropped(self) -> int:
        """Cut-outs this output was too slow for."""
        return self.threaded.dropped

    @property
    def reason(self) -> str:
        """The error, without the name if it begins with that."""
        return str(self.error).removeprefix(f"{self.name}: ")

    def write(self, cutout: Cutout) -> None:
        """Hand over one cut-out."""
        if self.error is None:
            self._attempt(lambda: self.threaded.write(cutout))

    def close(self) -> None:
        """Finish. Safe to call again."""
        self._attempt(self.threaded.close)

    def leave(self) -> None:
        """Wait no longer for it to be finished."""
        where = "" if self.growing is None else f"; what there is of it is in {self.growing}"
        self.error = self.error or SinkError(f"it takes too long{where}")

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SinkError as error:
            self.error = self.error or error
        except Exception as error:  # a background that cannot be read on, a driver's own: of this output alone
            self.error = self.error or SinkError(f"{self.name}: {error}")


def run_live(
    cutter: LiveCutter,
    outputs: Sequence[Output],
    *,
    each: Callable[[Cutout, LiveStatus], bool] = lambda cutout, status: True,
    notice: Callable[[str], None] = log.warning,
) -> LiveStatus:
    """Cut until the source ends, ``each`` returns False, or KeyboardInterrupt, which is raised again when all is closed. Where
    more interrupts come meanwhile, outputs that are not closed within seconds are left, and the user is told.

    each: called with every cut-out, as it is shown, in the calling thread (a preview window has to be). notice: gets a line
    for the user when an output fails; the others go on, and when none is left of those there were, SinkError is raised.
    """
    shown: Cutout | None = None
    handed = 0, 0
    try:
        with _closing(outputs, notice), closing(iter(cutter)) as cut:
            for cutout, status in cut:
                shown = cutter.controls.after(cutout, shown)
                with held_interrupts():
                    _write(shown, outputs, notice)
                    handed = status.frames, status.frames_with_head
                if not each(shown, status):
                    break
    finally:  # a frame that was cut, but given to nobody any more, is in no output
        cutter.status.frames, cutter.status.frames_with_head = handed
    return cutter.status


def _write(cutout: Cutout, outputs: Sequence[Output], notice: Callable[[str], None]) -> None:
    """Raises the last one's SinkError when none is left; whoever catches it tells it."""
    lost: list[Output] = []
    for output in outputs:
        was_well = output.error is None
        output.write(cutout)
        if was_well and output.error is not None:
            lost.append(output)
    last = lost.pop() if lost and all(output.error is not None for output in outputs) else None
    for output in lost:
        notice(f"{output.name} has failed and is left out: {output.reason}")
    if last is not None:
        raise SinkError(str(last.error))


@contextmanager
def _closing(outputs: Sequence[Output], notice: Callable[[str], None]) -> Iterator[None]:
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        well = [output for output in outputs if output.error is None]
        try:
            with held_interrupts(second_waits=True) as came:  # a recording is finished whole, or it has no name
                _close(outputs, came)
                for output in well:
                    if output.error is not None:
                        notice(f"{output.name} could not be finished: {output.reason}")
        except KeyboardInterrupt:
            if not failed:  # else it ends anyway, and says why
                raise


def _close(outputs: Sequence[Output], came: Sequence[int]) -> None:
    """Finish all, each in a thread of its own: one that is stuck keeps no other from it, nor, once somebody has had enough
    (``came``: interrupts), the program from its end."""
    threads = [JoinedThread(target=output.close, name="headstream-finish", daemon=True) for output in outputs]
    for thread in threads:
        thread.start()
    until_s = math.inf
    for output, thread in zip(outputs, threads, strict=True):
        while thread.is_alive() and time.monotonic() < until_s:
            thread.join(_WAKE_S)
            if came:
                until_s = min(until_s, time.monotonic() + _PATIENCE_S)
        if thread.is_alive():
            output.leave()
