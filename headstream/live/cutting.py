"""Cutting what happens now: newest frame first, as fast as the machine can."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from headstream.live.pace import Pace
from headstream.pipeline import HeadCutter
from headstream.shared.channel import Producer
from headstream.types import Cutout, Frame, Source

_IDLE_S = 0.2
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
    planes, alpha = frame.planes, None if frame.alpha is None else cv2.flip(frame.alpha, 1)
    if planes is None:
        return frame.showing(cv2.flip(frame.rgb, 1), alpha=alpha)
    y, u, v = (cv2.flip(plane, 1) for plane in (planes.y, planes.u, planes.v))
    own = None if planes.alpha is None else cv2.flip(planes.alpha, 1)
    return frame.showing(planes=replace(planes, y=y, u=u, v=v, alpha=own), alpha=alpha)


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


def describe_line(status: LiveStatus) -> str:
    """The status as a line of text."""
    often = "" if status.every == 1 else f"  network on every {('2nd', '3rd')[status.every - 2]} frame"
    who = "no head" if not status.heads else "head " + " ".join(map(str, status.heads))
    return f"{status.fps:.1f} frames/s  {status.latency_ms:.0f} ms  {status.dropped} dropped  {who}{often}"
