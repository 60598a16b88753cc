"""Photos and videos that were dropped on the page: kept on disk while they are cut and fetched, then removed."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from headstream.capture import named
from headstream.errors import UsageError
from headstream.pipeline import CutOptions
from headstream.sinks.partial import sink_error
from headstream.web.jobs import Jobs, Upload

PHOTOS = named.PHOTOS - {".gif"}
VIDEOS = named.VIDEOS | {".gif"}  # it moves, more often than not
KINDS = sorted(PHOTOS | VIDEOS)
OUTPUTS = (".webm", ".mov", ".mkv", ".webp")
_MOST_FILES = 20
_KEEP_S = 3600.0
_STALL_S = 60.0  # without a byte of an upload: its sender is gone, and would keep its place for ever


class Refused(UsageError):
    """An upload that is not taken. status: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Uploads:
    """Takes files, has them cut one after the other, and keeps what comes of it.

    Results stay for as long as a page that shows them is open (it asks for the list), and an hour longer. ``all``, ``remove``
    and ``sweep`` delete files, which takes its time: they are for threads.
    model, device: as of ``load_segmenter``.
    """

    def __init__(self, folder: Path, *, max_mb: int = 2048, model: str = "default", device: str = "auto") -> None:
        self._folder, self._max_bytes = folder, max_mb << 20
        self._uploads: dict[str, Upload] = {}  # threads take out of it and copy it; only the event loop counts and adds
        self._jobs = Jobs(model, device)

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
        self._jobs.add(upload)
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
        if len(self._uploads) >= _MOST_FILES:
            raise Refused(429, f"there are {_MOST_FILES} files here already; remove some first, or come back later")
        id_ = secrets.token_urlsafe(12)
        folder = self._folder / id_
        result = folder / ("result.png" if is_photo(name) else f"result{output}")
        upload = Upload(id_, shown, folder, folder / f"source{suffix}", result, options)
        self._uploads[id_] = upload
        return upload

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
        if upload.state != "running":  # else the thread that cuts it does
            shutil.rmtree(upload.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what was done, and nobody has asked for, for an hour."""
        now = time.monotonic()
        for upload in list(self._uploads.values()):
            if upload.wanted_s and now - upload.wanted_s > _KEEP_S:
                self._drop(upload)

    def close(self) -> None:
        """Cancel everything and delete it. Safe to call again."""
        for upload in list(self._uploads.values()):
            upload.cancel.set()
        self._jobs.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def is_photo(name: str) -> bool:
    """Whether a file of that name is cut as a photo; all others are films."""
    return Path(_shown(name)).suffix.lower() in PHOTOS


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
