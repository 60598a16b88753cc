"""Live cutting for the page: of the frames it sends, or of this machine's own camera."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from headstream.capture.cameras import LiveTarget
from headstream.capture.live import LiveSource
from headstream.errors import HeadstreamError
from headstream.live.cutting import Controls, LiveCutter, LiveStatus
from headstream.live.pace import Pace
from headstream.pipeline import HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.threads import JoinedThread
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Frame, Head
from headstream.web.heap import give_back
from headstream.web.settings import Settings
from headstream.web.stage import Stage
from headstream.web.wire import frame_of

_PATIENCE_S = 3.0  # with a camera that is stuck in its driver
_PAGE_RATE = 30  # frames a second that a page sends at most


def people_of(heads: tuple[Head, ...]) -> list[dict[str, Any]]:
    """The heads in view as the page needs them: number and face box in pixels."""
    return [{"id": head.track_id, "box": [round(v) for v in head.box_px]} for head in heads]


class PageSession:
    """Cuts the frames one page sends, in a thread of its own; the page keeps a frame or two on the way, never more."""

    def __init__(self, segmenter: CropSegmenter, models: Path) -> None:
        self._segmenter, self._models = segmenter, models
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="headstream-page")
        self._cutter: HeadCutter | None = None
        self._finder: FaceFinder | None = None
        self._settings = Settings()
        self._pace = Pace(1 / _PAGE_RATE)
        self._frames, self._began_s = 0, 0.0
        self._times_ms: deque[float] = deque(maxlen=60)
        self._closed = False

    async def cut(self, message: bytes) -> tuple[int, Cutout]:
        """The page's number for a frame, and the frame cut. Raises SourceError for what is no frame."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._cut, message)

    def _cut(self, message: bytes) -> tuple[int, Cutout]:
        number, rgb = frame_of(message)
        started = time.perf_counter()
        if self._cutter is None:
            self._finder = FaceFinder(self._models)
            self._cutter = HeadCutter(self._segmenter, self._finder, self._settings.options())
            self._began_s = started
        pts = Fraction(started - self._began_s).limit_denominator(1_000_000)
        frame = Frame(rgb, index=self._frames, pts=pts, captured_s=started)
        self._frames += 1
        carried = self._pace.carries(started)
        cutout = self._cutter.cut(Controls(mirror=self._settings.mirror).before(frame), carry=carried)
        took_s = time.perf_counter() - started
        self._pace.spent(took_s, carried=carried)
        self._times_ms.append(1000 * took_s)
        return number, cutout

    async def configure(self, settings: Settings) -> None:
        """Use other settings from the next frame on."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._configure, settings)

    def _configure(self, settings: Settings) -> None:
        self._settings = settings
        if self._cutter is not None:
            self._cutter.configure(settings.options())

    def status(self) -> dict[str, Any]:
        """Who is in view, and how long cutting takes."""
        people = people_of(self._cutter.people) if self._cutter is not None else []
        cut_ms = round(float(np.median(list(self._times_ms))), 1) if self._times_ms else 0.0
        return {"people": people, "cut_ms": cut_ms, "device": self._segmenter.device, "frames": self._frames}

    def close(self) -> None:
        """Free the detectors, once what is being cut is done. Safe to call again; does not wait."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._free)
            self._thread.shutdown(wait=False)

    def _free(self) -> None:
        if self._finder is not None:
            self._finder.close()
        self._cutter = self._finder = None
        threading.Thread(target=give_back, daemon=True).start()  # nobody who ends a session waits for it


class OwnCamera:
    """This machine's camera, cut in a thread of its own and published, for as long as it is started."""

    def __init__(self, target: LiveTarget, segmenter: CropSegmenter, models: Path, overlay: Stage) -> None:
        self.target, self._segmenter, self._models, self._overlay = target, segmenter, models, overlay
        self.stage = Stage(whole=True)  # its own: pages that watch it must not see what another page sends
        self._thread: JoinedThread | None = None
        self._source: LiveSource | None = None
        self._cutter: LiveCutter | None = None
        self._settings = Settings()
        self._lock = threading.Lock()
        self._users = 0
        self._notices: deque[tuple[int, str]] = deque(maxlen=20)
        self.said = 0  # how many notices there have been

    def start(self) -> None:
        """Open the camera unless it is open. Raises SourceError, ModelError. Every start needs a ``stop``."""
        with self._lock:
            if self._source is None or self._thread is None or not self._thread.is_alive():
                self._release()
                self._source = LiveSource(self.target, loop=True, notice=self._say)
                for stage in (self.stage, self._overlay):
                    stage.enter(self)
                run = self._run
                self._thread = JoinedThread(target=run, args=(self._source,), name="headstream-camera", daemon=True)
                self._thread.start()
            self._users += 1

    def _run(self, source: LiveSource) -> None:
        try:
            with FaceFinder(self._models) as finder:
                used = self._settings
                cutter = HeadCutter(self._segmenter, finder, used.options())
                live = self._cutter = LiveCutter(source, cutter, controls=Controls(mirror=used.mirror))
                for cutout, _ in live:
                    self.stage.publish(cutout, self)
                    self._overlay.publish(cutout, self)
                    if self._settings is not used:  # changed here, between two frames, and nowhere else
                        used = self._settings
                        live.controls.mirror = used.mirror
                        cutter.configure(used.options())
        except HeadstreamError as error:
            self._say(str(error))
        except Exception as error:  # a thread's error would reach nobody
            self._say(f"internal error: {type(error).__name__}: {error}")
        finally:
            if self._source is source:  # else somebody has started it anew
                self._overlay.leave(self)

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next frame on."""
        self._settings = settings

    def status(self) -> dict[str, Any]:
        """Who is in view, and how it goes."""
        cutter = self._cutter
        status = cutter.status if cutter is not None else LiveStatus()
        people = people_of(cutter.cutter.people) if cutter is not None else []
        return {
            "people": people,
            "cut_ms": round(status.latency_ms, 1),
            "fps": round(status.fps, 1),
            "device": self._segmenter.device,
            "frames": status.frames,
            "dropped": status.dropped,
        }

    def _say(self, line: str) -> None:
        self._notices.append((self.said + 1, line))
        self.said += 1

    def news(self, since: int) -> tuple[int, str]:
        """The first notice after that many, and which it is; or nothing new. Every page goes through them by itself."""
        return next((notice for notice in list(self._notices) if notice[0] > since), (since, ""))

    def stop(self, *, all_users: bool = False) -> None:
        """One user less; the last one closes the camera."""
        with self._lock:  # to the end: who starts meanwhile must find the device free, and keep what it shows
            self._users = 0 if all_users else max(0, self._users - 1)
            if not self._users:
                self._release()
                give_back()

    def _release(self) -> None:
        """Have the thread let go of the device, and forget what it showed."""
        if self._source is not None:
            self._source.close()
        if self._cutter is not None:
            self._cutter.stop()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
            self.stage.leave(self)
            self._overlay.leave(self)
            if not self._thread.is_alive():
                self._thread = None
        self._source = self._cutter = None
