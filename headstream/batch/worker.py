"""What a worker does with an input, wherever it runs: fetch it, cut it, put the result in its place, write it down."""

from __future__ import annotations

import base64
import errno
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from headstream.batch.job import FORMATS, Item, Kind, Outcome, Setup, Wish
from headstream.batch.ledger import write_result
from headstream.batch.patience import causes, may_pass, patiently
from headstream.batch.places import is_numbered, is_remote, open_storage
from headstream.capture.photo import read_photo
from headstream.errors import HeadstreamError, ModelError, SinkError, SourceError, UsageError
from headstream.photos import PhotoCutter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.photo import on_checkerboard, write_photo
from headstream.track.finder import FaceFinder
from headstream.types import Cutout
from headstream.video import Tools, VideoJob, check_job, cut_video_file
from headstream.words import cut_options

_T = TypeVar("_T")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_THUMBNAIL_PX = 96
_THUMBNAIL_AFTER = 25  # frames: people settle


def check_wish(wish: Wish, kind: Kind) -> None:
    """Raise UsageError for a wish that cannot be granted, before any work."""
    if wish.format not in FORMATS:
        raise UsageError(f"--format {wish.format}: unknown; known: {', '.join(FORMATS)}")
    cut_options(wish.heads, wish.part, wish.hair_color)
    if kind == "video":
        check_job(_video_job(wish, Path("in"), Path("out")))


def _video_job(wish: Wish, source: Path, stem: Path) -> VideoJob:
    suffix = FORMATS[wish.format]
    out = stem.with_name(stem.name + suffix) if suffix else stem / "%06d.png"
    options = cut_options(wish.heads, wish.part, wish.hair_color)
    return VideoJob(source, out, wish.background, codec=wish.codec, options=options, segment_s=0)


class Worker:
    """Cuts one input after the other. The network is loaded with the first one of its kind. Not safe to share between
    threads; a context manager."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._storage = open_storage(setup.out)
        self._folder = self._storage.work_folder()
        self._stack = ExitStack()
        self._finder: FaceFinder | None = None
        self._tools: dict[Kind, Tools] = {}
        if setup.threads is not None:
            cv2.setNumThreads(setup.threads)

    def cut(self, item: Item, progress: Callable[[float], None] | None = None) -> Outcome:
        """One input from end to end; its failure is an outcome, too. ``progress`` gets how much of it is done, 0..1."""
        outcome = Outcome(item.input, item.kind, item.place, "failed", tries=item.tries, identity=item.identity)
        started = time.monotonic()
        self._empty()
        try:
            source = self._fetched(item)
            (self._cut_photo if item.kind == "photo" else self._cut_video)(item, source, outcome, progress)
            for name in set(item.former) - {out["name"] for out in outcome.outputs}:
                self._patiently(lambda name=name: self._storage.remove(name))  # type: ignore[misc]
            outcome.state = "done" if outcome.frames_with_head else "no_head"
        except Exception as error:  # whatever one odd file brings about, the others go on
            self._failed(item, outcome, error)
        finally:
            self._empty()
        outcome.seconds = round(time.monotonic() - started, 3)
        try:
            self._patiently(lambda: write_result(self._storage, outcome))
        except HeadstreamError as error:
            outcome.state, outcome.reason, outcome.again = "failed", str(error), may_pass(error)
        return outcome

    def _fetched(self, item: Item) -> Path:
        if not is_remote(item.input):
            return Path(item.input)
        from headstream.batch.remote import fetch

        return self._patiently(lambda: fetch(item.input, self._folder, item.size))

    def _loaded(self, kind: Kind) -> Tools:
        """The network for a kind of input, and the detectors."""
        if self._finder is None:
            self._finder = self._stack.enter_context(FaceFinder(models_dir()))
        if kind not in self._tools:
            model, device, threads = self._setup.model, self._setup.device, self._setup.threads
            segmenter = load_segmenter(model, device=device, threads=threads, fast=kind == "video")
            self._tools[kind] = Tools(segmenter, self._finder, segmenter.device, segmenter.card.name, threads)
        return self._tools[kind]

    def _cut_video(self, item: Item, source: Path, outcome: Outcome, progress: Callable[[float], None] | None) -> None:
        job = _video_job(item.wish, source, self._folder / "out")
        watcher = _Thumbnail()
        report = cut_video_file(
            job,
            lambda done, expected: progress(min(1.0, done / expected)) if progress and expected else None,
            tools=self._loaded("video"),
            watch=watcher.watch,
        )
        if report.interrupted:
            raise KeyboardInterrupt
        outcome.frames, outcome.frames_with_head = report.frames_out, report.frames_with_head
        outcome.notes = [self._plain(note, item) for note in report.notes]
        outcome.thumbnail = watcher.uri
        self._publish(item, outcome)

    def _cut_photo(self, item: Item, source: Path, outcome: Outcome, progress: Callable[[float], None] | None) -> None:
        photo = read_photo(source)
        options = cut_options(item.wish.heads, item.wish.part, item.wish.hair_color, stability=0.0)
        tools = self._loaded("photo")
        result = PhotoCutter(tools.segmenter, tools.finder, options).cut(photo.rgb, photo.alpha)
        outcome.frames, outcome.frames_with_head = 1, int(bool(result.heads))
        if result.heads:
            crops = [stage.crop_alpha for stage in result.heads]
            write_photo(self._folder / "out", result.cutout, crops, icc=photo.icc)
            outcome.thumbnail = thumbnail(result.cutout)
            self._publish(item, outcome)

    def _publish(self, item: Item, outcome: Outcome) -> None:
        """Move what was made to its place, and note it."""
        made = [path for path in sorted(self._folder.iterdir()) if path.name.startswith("out")]
        whole = {"out", "out" + FORMATS[item.wish.format]}
        for path in made:
            name = item.place if path.name in whole else _partial(item.place)
            if path.is_file():
                outcome.outputs.append({"name": name, "files": 1, "bytes": path.stat().st_size})
                self._patiently(lambda path=path, name=name: self._storage.put([(path, name)]))  # type: ignore[misc]
            else:
                self._publish_folder(path, name, outcome)

    def _publish_folder(self, folder: Path, name: str, outcome: Outcome) -> None:
        files = {file.name: file for file in sorted(folder.iterdir())}
        sizes = {key: file.stat().st_size for key, file in files.items()}
        if all(is_numbered(key) for key in files):
            outcome.outputs.append({"name": name, "files": len(files), "bytes": sum(sizes.values())})
        else:
            outcome.outputs += [{"name": f"{name}/{k}", "files": 1, "bytes": size} for k, size in sizes.items()]
        for key, file in files.items():
            self._patiently(lambda key=key, file=file: self._storage.put([(file, f"{name}/{key}")]))  # type: ignore[misc]
        self._patiently(lambda: self._storage.tidy(name, set(files)))

    def _failed(self, item: Item, outcome: Outcome, error: BaseException) -> None:
        outcome.outputs = []
        outcome.again, outcome.fatal = may_pass(error), _ends_all(error)
        if isinstance(error, SourceError) and not outcome.again:
            try:
                self._publish(item, outcome)  # what a file that breaks off has left, as NAME.partial.EXT
            except (HeadstreamError, OSError):
                outcome.outputs = []
        text = str(error) if isinstance(error, HeadstreamError) else f"{item.input}: {_words(error)}"
        outcome.reason = self._plain(text, item)

    def _plain(self, text: str, item: Item) -> str:
        """A message that names the input and the output, not the files they are for the moment."""
        final = self._storage.locate(item.place)
        stem = final[: -len(FORMATS[item.wish.format])] if item.kind == "video" and FORMATS[item.wish.format] else final
        text = text.replace(str(self._folder / "out"), stem)
        if is_remote(item.input):
            text = text.replace(str(self._folder / ("in" + Path(item.input).suffix)), item.input)
        return " ".join(text.split())

    def _patiently(self, action: Callable[[], _T]) -> _T:
        return patiently(action, self._setup.wait_s / 4)

    def _empty(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Free the networks and remove the work folder. Safe to call again."""
        self._stack.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _ends_all(error: BaseException) -> type[HeadstreamError] | None:
    """What to raise where other inputs cannot fare better: no network, or a full disk."""
    if isinstance(error, ModelError):
        return ModelError
    return SinkError if any(getattr(cause, "errno", None) in _FULL for cause in causes(error)) else None


def _words(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory for it"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return f"internal error: {type(error).__name__}: {error}"


def _partial(place: str) -> str:
    folder, slash, name = place.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return f"{folder}{slash}{stem}.partial.{suffix}" if dot else f"{place}.partial"


class _Thumbnail:
    """A small picture of the first head in a video, or of who is there a second later."""

    def __init__(self) -> None:
        self.uri = ""

    def watch(self, cutout: Cutout) -> None:
        if cutout.heads and (not self.uri or cutout.frame.index == _THUMBNAIL_AFTER):
            self.uri = thumbnail(cutout)


def thumbnail(cutout: Cutout) -> str:
    """A small picture of the cut-out head as a data URI, or "" where nothing of it shows."""
    x0, y0, x1, y1 = cutout.region_px
    if x0 == x1 or y0 == y1:
        return ""
    rgba = cutout.rgba()[y0:y1, x0:x1]
    scale = _THUMBNAIL_PX / max(rgba.shape[:2])
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    rgb = on_checkerboard(np.ascontiguousarray(small), 8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return "data:image/jpeg;base64," + base64.b64encode(bytes(data)).decode()
