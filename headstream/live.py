"""Cutting what happens now: newest frame first, as fast as the machine can, into outputs that cannot hold it up."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from headstream.channel import Producer
from headstream.errors import SinkError
from headstream.interrupts import held_interrupts
from headstream.pace import Pace
from headstream.pipeline import HeadCutter
from headstream.sinks.threaded import ThreadedSink
from headstream.threads import JoinedThread
from headstream.types import Cutout, Frame, Sink, Source

log = logging.getLogger(__name__)

_IDLE_S = 0.2
_PATIENCE_S = 5.0  # of those who press Ctrl-C while outputs are finished, which takes a second
_WINDOW = 120  # frames that the current figures are of


@dataclass
class LiveStatus:
    """How it goes. fps, latency_ms: of the last frames, from capture until the cut-out is handed to the outputs.
    dropped: frames that were too late to be cut, since the start.  every: on every which frame the network runs.
    seconds: from the start to the last cut-out.  stages_ms: mean milliseconds of each stage, known at the end.
    device, model: what cuts, source_error: why the source broke off, where whoever runs it tells."""

    frames: int = 0
    frames_with_head: int = 0
    dropped: int = 0
    every: int = 1
    heads: tuple[int, ...] = ()
    seconds: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    device: str = ""
    model: str = ""
    source_error: str | None = None
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    @property
    def fps(self) -> float:
        """Frames a second of late."""
        times = list(self.times_s)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    @property
    def latency_ms(self) -> float:
        """Median latency of late."""
        return 1000 * float(np.median(list(self.latencies_s))) if self.latencies_s else 0.0


@dataclass
class Controls:
    """What may be changed while it runs, from any thread.

    mirror: left and right exchanged, before anything else.  frozen: the outputs keep the last picture.
    paused: the outputs show the background alone.
    """

    mirror: bool = False
    frozen: bool = False
    paused: bool = False

    def before(self, frame: Frame) -> Frame:
        """The frame to cut."""
        return mirrored(frame) if self.mirror else frame

    def after(self, cutout: Cutout, last: Cutout | None) -> Cutout:
        """What the outputs get; ``last`` is what they got before."""
        if self.frozen and last is not None:  # shown on, at the times of now: a recording lasts as long as it did
            now = cutout.frame
            return replace(last, frame=last.frame.timed(index=now.index, pts=now.pts, captured_s=now.captured_s))
        return Cutout(cutout.frame) if self.paused else cutout


def mirrored(frame: Frame) -> Frame:
    """Left and right exchanged."""
    alpha = None if frame.alpha is None else cv2.flip(frame.alpha, 1)
    if frame.planes is None:
        turned = Frame(cv2.flip(frame.rgb, 1), alpha=alpha, duration_s=frame.duration_s)
    else:
        planes = frame.planes
        own = None if planes.alpha is None else cv2.flip(planes.alpha, 1)
        flipped = replace(planes, y=cv2.flip(planes.y, 1), u=cv2.flip(planes.u, 1), v=cv2.flip(planes.v, 1), alpha=own)
        turned = Frame(planes=flipped, alpha=alpha, duration_s=frame.duration_s)
    return turned.timed(index=frame.index, pts=frame.pts, captured_s=frame.captured_s)


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


class LiveCutter:
    """Runs a live source through a cutter, newest frame first, with the network as often as there is time for.

    Iterating gives (cut-out, status) for every frame that was cut; the status is one object, kept up to date. Leaving the
    iteration stops the capture. idle: called while nothing comes; False ends the iteration.  clock: the seconds that frames
    tell when they were captured in.  lingers_s: for how long the source is still read when somebody ends the iteration, Ctrl-C
    included, for what comes later than its picture.
    """

    def __init__(
        self,
        source: Source,
        cutter: HeadCutter,
        *,
        pace: Pace | None = None,
        controls: Controls | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._source, self.cutter, self._clock = source, cutter, clock
        self.controls = controls or Controls()
        self.pace = pace or Pace(1 / float(source.rate))
        self.status = LiveStatus()
        self.idle: Callable[[], bool] = lambda: True
        self.lingers_s: Callable[[], float] = lambda: 0.0
        self._frames: Producer[Frame] | None = None

    def stop(self) -> None:
        """End the iteration, from any thread, even while the source gives nothing."""
        if self._frames is not None:
            self._frames.stop()

    def __iter__(self) -> Generator[tuple[Cutout, LiveStatus], None, None]:
        status, pace = self.status, self.pace
        stop = self._source.close
        frames = Producer(
            self._source, name="headstream-grab", capacity=1, policy="newest", on_stop=stop, patience_s=0.7
        )
        self._frames = frames
        began = self._clock()
        with frames, self._stages_told(), self._lingering():
            for frame in frames.ticking(_IDLE_S):
                if frame is None:
                    if not self.idle():
                        return
                    continue
                carried = pace.carries(frame.captured_s)
                started = self._clock()
                cutout = self.cutter.cut(self.controls.before(frame), carry=carried)
                now = self._clock()
                pace.spent(now - started, carried=carried)
                status.frames += 1
                status.frames_with_head += bool(cutout.heads)
                status.dropped, status.every = frames.dropped, pace.every
                status.heads = tuple(head.track_id for head in cutout.heads)
                status.seconds = now - began
                status.times_s.append(now)
                status.latencies_s.append(now - frame.captured_s)
                yield cutout, status

    @contextmanager
    def _lingering(self) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            time.sleep(self.lingers_s())
            raise

    @contextmanager
    def _stages_told(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.status.stages_ms = self.cutter.times.mean_ms()


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
    with _closing(outputs, notice), closing(iter(cutter)) as cut:
        for cutout, status in cut:
            shown = cutter.controls.after(cutout, shown)
            _write(shown, outputs, notice)
            if not each(shown, status):
                break
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
            thread.join(_IDLE_S)
            if came:
                until_s = min(until_s, time.monotonic() + _PATIENCE_S)
        if thread.is_alive():
            output.leave()


def describe_line(status: LiveStatus) -> str:
    """The status as a line of text."""
    often = "" if status.every == 1 else f"  network on every {('2nd', '3rd')[status.every - 2]} frame"
    who = "no head" if not status.heads else "head " + " ".join(map(str, status.heads))
    return f"{status.fps:.1f} frames/s  {status.latency_ms:.0f} ms  {status.dropped} dropped  {who}{often}"
