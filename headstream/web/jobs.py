"""Dropped photos and videos cut, one after the other, in a thread of their own."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headstream.capture.photo import read_photo
from headstream.errors import HeadstreamError
from headstream.films.video import Tools, VideoJob, cut_video_file
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.shared.threads import JoinedThread
from headstream.sinks.photo import save_picture
from headstream.track.finder import FaceFinder

State = Literal["uploading", "waiting", "running", "done", "failed"]


class _Cancelled(Exception):
    """Raised in the middle of a job to end it."""


@dataclass
class Upload:
    """One dropped file. name: what its owner calls it, for showing only; on disk nothing is named after it.

    owner: whose browser sent it.  wanted_s: when it was done, or a page last asked for the list since; 0 before.
    """

    id: str
    name: str
    folder: Path
    source: Path
    result: Path
    options: CutOptions
    owner: str = ""
    state: State = "uploading"
    done: int = 0
    total: int = 0
    error: str = ""
    wanted_s: float = 0.0
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def result_name(self) -> str:
        """What the result is called when it is fetched."""
        return f"{Path(self.name).stem}-head{self.result.suffix}"

    def belongs_to(self, owner: str | None) -> bool:
        """Whether this owner (None: anybody) has it; nobody has what was removed."""
        return owner in {None, self.owner} and not self.cancel.is_set()

    def words(self, error: Exception) -> str:
        """An error in its owner's words: nothing of where it lies here."""
        return str(error).replace(str(self.source), self.name).replace(str(self.result), self.result_name)

    def as_dict(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "error": self.error,
            "result_name": self.result_name,
        }


class _Loaded:
    """What cuts: loaded with the first file that needs it and kept for the others. One thread only; a context manager."""

    def __init__(self, model: str, device: str) -> None:
        self._model, self._device = model, device
        self._networks: dict[bool, CropSegmenter] = {}
        self._finder: FaceFinder | None = None

    def cut_photo(self, path: Path, result: Path, options: CutOptions) -> None:
        """Write a photo's heads. Raises HeadstreamError; the next photo may go well."""
        photo = read_photo(path)
        cut = PhotoCutter(self._network(fast=False), self._faces(), options).cut(photo.rgb, photo.alpha)
        if not cut.heads:
            raise HeadstreamError("no head was found")
        save_picture(result, cut.cutout.rgba(), photo.icc)

    def for_films(self) -> Tools:
        """What ``cut_video_file`` takes. Raises UsageError, ModelError."""
        return Tools(self._network(fast=True), self._faces())

    def _network(self, *, fast: bool) -> CropSegmenter:
        if fast not in self._networks:
            self._networks[fast] = load_segmenter(self._model, device=self._device, fast=fast)
        return self._networks[fast]

    def _faces(self) -> FaceFinder:
        self._finder = self._finder or FaceFinder(models_dir())
        return self._finder

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._finder is not None:
            self._finder.close()


class Jobs:
    """Cuts uploads in a thread of its own, in the order they are added. model, device: as of ``load_segmenter``."""

    def __init__(self, model: str, device: str) -> None:
        self._model, self._device = model, device
        self._queue: queue.Queue[Upload | None] = queue.Queue()
        self._thread = JoinedThread(target=self._work, name="headstream-uploads", daemon=True)
        self._thread.start()

    def add(self, upload: Upload) -> None:
        """Have it cut; its ``state`` tells how far that is. Who cancels one that is running leaves its folder to this thread."""
        self._queue.put(upload)

    def close(self) -> None:
        """End once what was added is done or cancelled. Safe to call again."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        with _Loaded(self._model, self._device) as loaded:
            self._work_with(loaded)

    def _work_with(self, loaded: _Loaded) -> None:
        while (upload := self._queue.get()) is not None:
            if upload.cancel.is_set():
                continue
            upload.state = "running"
            try:
                self._cut(upload, loaded)
                upload.state = "done"
            except _Cancelled:
                pass  # nobody has it any more
            except HeadstreamError as error:
                upload.state, upload.error = "failed", upload.words(error)
            except Exception as error:  # one file must not end the others
                upload.state, upload.error = "failed", f"internal error: {type(error).__name__}"
            upload.wanted_s = time.monotonic()
            upload.source.unlink(missing_ok=True)
            if upload.cancel.is_set():
                shutil.rmtree(upload.folder, ignore_errors=True)

    def _cut(self, upload: Upload, loaded: _Loaded) -> None:
        if upload.result.suffix == ".png":
            loaded.cut_photo(upload.source, upload.result, upload.options)
            upload.done = upload.total = 1
            return

        def progress(done: int, total: int) -> None:
            upload.done, upload.total = done, total
            if upload.cancel.is_set():
                raise _Cancelled

        job = VideoJob(upload.source, upload.result, options=upload.options, model=self._model, segment_s=0)
        if not cut_video_file(job, progress, tools=loaded.for_films()).frames_with_head:
            raise HeadstreamError("no head was found in any frame")
