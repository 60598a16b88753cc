"""Photos and videos that were dropped on the page: kept on disk while they are cut and fetched, then removed."""

from __future__ import annotations

import asyncio
import queue
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool

from headstream.capture import named
from headstream.capture.photo import read_photo
from headstream.errors import HeadstreamError, UsageError
from headstream.photos import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.partial import sink_error
from headstream.sinks.photo import save_png
from headstream.threads import Worker
from headstream.track.finder import FaceFinder
from headstream.types import UInt8Array
from headstream.video import Tools, VideoJob, cut_video_file

PHOTOS = named.PHOTOS - {".gif"}
VIDEOS = named.VIDEOS | {".gif"}  # it moves, more often than not
KINDS = sorted(PHOTOS | VIDEOS)
OUTPUTS = (".webm", ".mov", ".mkv", ".webp")
_KEEP_S = 3600.0
_STALL_S = 60.0  # without a byte of an upload: its sender is gone, and would keep its place for ever

State = Literal["uploading", "waiting", "running", "done", "failed"]


class Refused(UsageError):
    """An upload that is not taken. status: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


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

    def cut_photo(self, path: Path, options: CutOptions) -> UInt8Array:
        """(H, W, 4) uint8: the photo's heads. Raises HeadstreamError; the next photo may go well."""
        photo = read_photo(path)
        cut = PhotoCutter(self._network(fast=False), self._faces(), options).cut(photo.rgb, photo.alpha)
        if not cut.heads:
            raise HeadstreamError("no head was found")
        return cut.cutout.rgba()

    def for_films(self) -> Tools:
        """What ``cut_video_file`` takes. Raises UsageError, ModelError."""
        network = self._network(fast=True)
        return Tools(network, self._faces(), network.device, network.card.name)

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


class Uploads:
    """Takes files, cuts them one after the other in a thread of its own.

    Results stay for as long as a page that shows them is open (it asks for the list), and an hour longer. ``all``, ``remove``
    and ``sweep`` delete files, which takes its time: they are for threads.
    model, device: as of ``load_segmenter``.
    """

    def __init__(
        self, folder: Path, *, max_mb: int = 2048, max_files: int = 20, model: str = "default", device: str = "auto"
    ) -> None:
        self._folder, self._max_bytes, self._max_files = folder, max_mb << 20, max_files
        self._model, self._device = model, device
        self._uploads: dict[str, Upload] = {}  # threads take out of it and copy it; only the event loop counts and adds
        self._queue: queue.Queue[Upload | None] = queue.Queue()
        self._thread = Worker(target=self._work, name="headstream-uploads", daemon=True)
        self._thread.start()

    def all(self, owner: str | None = None) -> list[Upload]:
        """What there is (of one owner), in order of arrival. Who asks wants it kept."""
        self.sweep()
        uploads = [upload for upload in list(self._uploads.values()) if upload.belongs_to(owner)]
        for upload in uploads:
            if upload.wanted_s:  # 0 until it is done, which its thread says
                upload.wanted_s = time.monotonic()
        return uploads

    def get(self, id_: str, owner: str | None = None) -> Upload:
        """One of them, for whoever it belongs to. Raises Refused (404), also where it is somebody else's."""
        upload = self._uploads.get(id_)
        if upload is None or not upload.belongs_to(owner):
            raise Refused(404, "there is no such file here (any more)")
        return upload

    async def receive(
        self, name: str, output: str, options: CutOptions, pieces: AsyncIterator[bytes], size: int, owner: str = ""
    ) -> Upload:
        """Stream a file to disk and queue it. ``size``: what its sender says, -1 if unknown. Raises Refused."""
        await run_in_threadpool(self.sweep)
        upload = self._admit(name, output, options, size)
        upload.owner = owner
        written = 0
        try:
            upload.folder.mkdir(parents=True)
            with upload.source.open("wb") as file:
                async for piece in _without_stalls(pieces, upload.name):
                    _unless_removed(upload)
                    written += len(piece)
                    if written > self._max_bytes:
                        raise Refused(413, f"{upload.name}: larger than {self._max_bytes >> 20} MB")
                    await run_in_threadpool(file.write, piece)
            if size >= 0 and written != size:
                raise Refused(400, f"{upload.name} arrived cut off: {written} of {size} bytes")
            upload.state = "waiting"
            _unless_removed(upload)  # after that the place and the folder are for ``remove`` to free
        except OSError as error:
            await run_in_threadpool(self._drop, upload)
            raise Refused(507, upload.words(sink_error(upload.source, error))) from error
        except BaseException:
            await run_in_threadpool(self._drop, upload)
            raise
        self._queue.put(upload)
        return upload

    def _admit(self, name: str, output: str, options: CutOptions, size: int) -> Upload:
        shown = _shown(name)
        suffix = Path(shown).suffix.lower()
        if suffix not in KINDS:
            raise Refused(415, f"{shown}: no kind of photo or video that is taken ({', '.join(KINDS)})")
        if output not in OUTPUTS:
            raise Refused(400, f"output must be one of {', '.join(OUTPUTS)}")
        if size > self._max_bytes:
            raise Refused(413, f"{shown}: larger than {self._max_bytes >> 20} MB")
        if len(self._uploads) >= self._max_files:
            raise Refused(429, f"there are {self._max_files} files here already; remove some first, or come back later")
        id_ = secrets.token_urlsafe(12)
        folder = self._folder / id_
        result = folder / ("result.png" if suffix in PHOTOS else f"result{output}")
        upload = Upload(id_, shown, folder, folder / f"source{suffix}", result, options)
        self._uploads[id_] = upload
        return upload

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
            save_png(upload.result, loaded.cut_photo(upload.source, upload.options))
            upload.done = upload.total = 1
            return

        def progress(done: int, total: int) -> None:
            upload.done, upload.total = done, total
            if upload.cancel.is_set():
                raise _Cancelled

        job = VideoJob(upload.source, upload.result, options=upload.options, model=self._model, segment_s=0)
        if not cut_video_file(job, progress, tools=loaded.for_films()).frames_with_head:
            raise HeadstreamError("no head was found in any frame")

    def remove(self, id_: str, owner: str | None = None) -> None:
        """Cancel it if it is not done, and delete all of it. Raises Refused (404)."""
        upload = self.get(id_, owner)
        upload.cancel.set()
        if upload.state != "uploading":  # else who receives it does: what is still written keeps its place
            self._drop(upload)

    def _drop(self, upload: Upload) -> None:
        """Forget it, and delete all of it. Safe to call again."""
        upload.cancel.set()
        self._uploads.pop(upload.id, None)
        if upload.state != "running":  # else the thread that works on it does
            shutil.rmtree(upload.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what was done, and nobody has asked for, for an hour."""
        now = time.monotonic()
        for upload in list(self._uploads.values()):
            if upload.wanted_s and now - upload.wanted_s > _KEEP_S:
                self._drop(upload)

    def close(self) -> None:
        """Cancel everything and delete it. Safe to call again."""
        for id_ in list(self._uploads):
            self._uploads[id_].cancel.set()
        self._queue.put(None)
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _shown(name: str) -> str:
    """A file's own name without what no system has in names or nobody sees, and with its ending where it is shortened."""
    own = re.split(r"[/\\]", name)[-1]
    own = "".join("_" if letter in '<>:"|?*' or not letter.isprintable() else letter for letter in own).strip(" .")
    ending = Path(own).suffix[:20]
    return (own if len(own) <= 120 else own[: 120 - len(ending)] + ending) or "file"


def _unless_removed(upload: Upload) -> None:
    """Raises Refused (409)."""
    if upload.cancel.is_set():
        raise Refused(409, f"{upload.name} was removed while it was sent")


async def _without_stalls(pieces: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """The pieces for as long as they come. Raises Refused (408)."""
    while True:
        try:
            yield await asyncio.wait_for(anext(pieces), _STALL_S)
        except StopAsyncIteration:
            return
        except (asyncio.TimeoutError, TimeoutError) as error:  # two before Python 3.11
            raise Refused(408, f"{name}: nothing of it has come for {_STALL_S:.0f} s") from error
