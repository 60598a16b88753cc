"""What a worker does with an input, wherever it runs: fetch it, cut it, put the result in its place, write it down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2

from headstream.batch.job import FORMATS, MATTE_FORMATS, Item, Join, Kind, Outcome, Setup, Wish
from headstream.batch.ledger import not_made, write_result
from headstream.batch.patience import may_pass, patiently
from headstream.batch.piecework import look_at, piece_name, record, video_job
from headstream.batch.places import is_numbered, is_remote, open_storage
from headstream.batch.thumbnail import Thumbnail, thumbnail
from headstream.capture.photo import read_photo
from headstream.errors import HeadstreamError, SourceError, UsageError
from headstream.failures import NoSuchNetworkError, ends_all, in_words
from headstream.films.pieces import Indivisible, Piece, cut_piece, join_pieces, piece_file
from headstream.films.video import Tools, check_job, cut_video_file
from headstream.photos.album import only_first, write_cut
from headstream.photos.cutter import PhotoCutter
from headstream.photos.picture import HeadPictures
from headstream.segment.load import MOST_THREADS, load_segmenter
from headstream.segment.registry import models_dir
from headstream.shared.interrupts import held_interrupts
from headstream.sinks.background import parse_background
from headstream.sinks.partial import make_parents
from headstream.timing import mean_of
from headstream.track.finder import FaceFinder
from headstream.words import cut_options

_T = TypeVar("_T")


def check_wish(wish: Wish, kind: Kind) -> None:
    """Raise UsageError for a wish that cannot be granted, before any work."""
    if wish.format not in FORMATS:
        raise UsageError(f"--format {wish.format}: unknown; known: {', '.join(FORMATS)}")
    if wish.matte is not None and wish.matte not in MATTE_FORMATS:
        raise UsageError(f"--matte {wish.matte}: expected the format of the mattes: {', '.join(MATTE_FORMATS)}")
    cut_options(wish.heads, wish.part, wish.hair_color, hq=wish.hq and kind == "photo")
    parse_background(wish.background)
    if kind == "video":
        check_job(video_job(wish, Path("in"), Path("STEM")))


class Worker:
    """Cuts one input after the other. The network is loaded with the first one of its kind. Not safe to share between
    threads; a context manager."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._storage = open_storage(setup.out)
        self._own = self._storage.work_folder()
        self._folder = self._own / "made"  # emptied after every input
        self._fetched_last: tuple[tuple[str, int, str], Path] | None = None
        self._stack = ExitStack()
        self._finder: FaceFinder | None = None
        self._tools: dict[Kind, Tools] = {}
        self._pictures: tuple[tuple[str, bool], HeadPictures] | None = None
        if setup.threads is not None:
            cv2.setNumThreads(setup.threads)

    def cut(self, item: Item, progress: Callable[[float], None] | None = None) -> Outcome:
        """One input from end to end, or a part of one; its failure is an outcome, too. ``progress`` gets how much of it is
        done, 0..1."""
        outcome = Outcome(item.input, item.kind, item.place, "failed", tries=item.tries, identity=item.identity)
        started = time.monotonic()
        with ExitStack() as stack:
            try:
                self._make_room()
                self._do(item, self._fetched(item), outcome, progress)
                if not outcome.plan and not outcome.made:
                    stack.enter_context(self._held())  # until it is written down, too
                    self._publish(item, outcome)
                    for name, files in not_made(item, outcome).items():
                        self._remove(name, range(1, files + 1))
                    outcome.former = {}
                outcome.state = "done" if outcome.frames_with_head or outcome.plan or outcome.made else "no_head"
            except Exception as error:  # whatever one odd file brings about, the others go on
                self._failed(item, outcome, error)
                outcome.former = not_made(item, outcome)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
            before = item.task.seconds if isinstance(item.task, Join) else 0.0
            outcome.seconds = round(before + time.monotonic() - started, 3)
            if not (outcome.plan or outcome.whole or isinstance(item.task, Piece)):  # else there is no result yet
                self._write_down(outcome)
        return outcome

    def _write_down(self, outcome: Outcome) -> None:
        try:
            self._patiently(lambda: write_result(self._storage, outcome))
        except HeadstreamError as error:
            outcome.state, outcome.reason, outcome.again = "failed", str(error), may_pass(error)

    def _held(self) -> AbstractContextManager[object]:
        """Whoever is told to stop ends what is a matter of renaming, whole; uploads take too long for that."""
        return nullcontext() if is_remote(self._setup.out) else held_interrupts()

    def _do(self, item: Item, source: Path, outcome: Outcome, progress: Callable[[float], None] | None) -> None:
        if isinstance(item.task, Piece):
            self._cut_piece(item, item.task, source, outcome, progress)
        elif item.task is not None:
            self._join(item, item.task, source, outcome)
        elif item.kind == "photo":
            self._cut_photo(item, source, outcome)
        else:
            self._cut_video(item, source, outcome, progress)

    def _fetched(self, item: Item) -> Path:
        """The input as a local file. The last one that was fetched is kept: the next piece may be of the same film."""
        if not is_remote(item.input):
            return Path(item.input)
        from headstream.batch.remote import fetch

        wanted = (item.input, item.size, item.mark)
        if self._fetched_last is None or self._fetched_last[0] != wanted:
            self._fetched_last = None
            shutil.rmtree(self._own / "fetched", ignore_errors=True)
            (self._own / "fetched").mkdir(parents=True)
            local = self._patiently(lambda: fetch(item.input, self._own / "fetched", item.size))
            self._fetched_last = (wanted, local)
        return self._fetched_last[1]

    def _loaded(self, kind: Kind) -> Tools:
        """The network for a kind of input, and the detectors."""
        if self._finder is None:
            self._finder = self._stack.enter_context(FaceFinder(models_dir()))
        if kind not in self._tools:
            model, device, threads = self._setup.model, self._setup.device, self._setup.threads
            if threads is not None:
                threads = min(threads, MOST_THREADS)  # a share of the cores, of which there may be more
            try:
                segmenter = load_segmenter(model, device=device, threads=threads, fast=kind == "video")
            except UsageError as error:
                raise NoSuchNetworkError(str(error)) from error
            self._tools[kind] = Tools(segmenter, self._finder, threads)
        return self._tools[kind]

    def _cut_video(self, item: Item, source: Path, outcome: Outcome, progress: Callable[[float], None] | None) -> None:
        job = video_job(item.wish, source, self._folder / "out")
        outcome.length_s, plan, whole = look_at(item, job, self._setup.threads)
        outcome.notes = [f"cut whole: {self._plain(whole, item)}"] if whole else []  # also where that fails
        tools = self._loaded("video")
        outcome.device, outcome.model = tools.device, tools.model
        if plan:
            outcome.plan = plan
            return
        watcher = Thumbnail()
        report = cut_video_file(
            job,
            lambda done, expected: progress(min(1.0, done / expected)) if progress and expected else None,
            tools=tools,
            watch=watcher.watch,
        )
        if report.interrupted:
            raise KeyboardInterrupt
        outcome.frames, outcome.frames_with_head = report.frames_out, report.frames_with_head
        outcome.stages_ms = report.stages_ms
        outcome.notes = [self._plain(note, item) for note in report.notes] + outcome.notes
        outcome.thumbnail = watcher.uri

    def _cut_piece(
        self, item: Item, piece: Piece, source: Path, outcome: Outcome, progress: Callable[[float], None] | None
    ) -> None:
        job = video_job(item.wish, source, self._folder / "out")
        watcher, tools = Thumbnail(piece.begin), self._loaded("video")
        made = cut_piece(job, piece, self._folder, tools=tools, progress=progress, watch=watcher.watch)
        file, name = piece_file(job, piece, self._folder), piece_name(item, piece)
        self._patiently(lambda: self._storage.put([(file, name)]))
        self._patiently(lambda: self._storage.write(*record(item, piece, made, watcher.uri)))
        outcome.made, outcome.thumbnail = made, watcher.uri

    def _join(self, item: Item, task: Join, source: Path, outcome: Outcome) -> None:
        job = video_job(item.wish, source, self._folder / "out")
        for piece, made in zip(task.pieces, task.made, strict=True):
            fetched = partial(self._storage.fetch, piece_name(item, piece), self._folder, made.size)
            folder = self._patiently(fetched)
        outcome.length_s = task.length_s
        notes = join_pieces(job, task.pieces, task.made, folder, threads=self._setup.threads)
        outcome.notes = [self._plain(note, item) for note in notes]
        outcome.notes.append(f"put together from {len(task.pieces)} pieces")
        outcome.frames = sum(made.frames for made in task.made)
        outcome.frames_with_head = sum(made.frames_with_head for made in task.made)
        outcome.device, outcome.model = task.made[0].device, task.made[0].model
        outcome.stages_ms = mean_of((made.frames, made.stages_ms) for made in task.made)
        outcome.thumbnail = task.thumbnail

    def _cut_photo(self, item: Item, source: Path, outcome: Outcome) -> None:
        pictures, photo = self._pictures_of(item.wish), read_photo(source)
        if note := only_first(photo):
            outcome.notes.append(note)
        options = cut_options(item.wish.heads, item.wish.part, item.wish.hair_color, hq=item.wish.hq)
        tools = self._loaded("photo")
        outcome.device, outcome.model = tools.device, tools.model
        cutter = PhotoCutter(tools.segmenter, tools.finder, options)
        result = cutter.cut(photo.rgb, photo.alpha)
        outcome.frames, outcome.frames_with_head = 1, int(bool(result.heads))
        outcome.stages_ms = cutter.times.mean_ms()
        if result.heads:
            write_cut(self._folder / "out", photo, result, pictures, stages=item.wish.stages, times=cutter.times)
            outcome.thumbnail = thumbnail(result.cutout)

    def _pictures_of(self, wish: Wish) -> HeadPictures:
        """The last ones are kept: most photos of a batch have one background."""
        wanted = (wish.background, wish.trim)
        if self._pictures is None or self._pictures[0] != wanted:
            self._pictures = wanted, HeadPictures(wish.background, trim=wish.trim)
        return self._pictures[1]

    def _publish(self, item: Item, outcome: Outcome) -> None:
        """Move what was made to its place, and note it. Before that it is written down as what a failure leaves: where this is
        broken off, the next run must not take a part of it for somebody's own."""
        made = self._made(item)
        names = {out["name"]: max(out["files"], item.former.get(out["name"], 0)) for _, out in made}
        outcome.former = item.former | names
        if made:
            half = replace(outcome, reason=f"{item.input}: broken off while its result was put in its place")
            self._patiently(lambda: write_result(self._storage, half))
        for path, out in made:
            for file, name in self._parts(path, out["name"]):
                self._patiently(partial(self._storage.put, [(file, name)]))
            if path.is_dir():
                self._remove(out["name"], range(out["files"] + 1, item.former.get(out["name"], 0) + 1))
        outcome.outputs = [out for _, out in made]

    def _made(self, item: Item) -> list[tuple[Path, dict[str, Any]]]:
        """What there is to be put in its place: files, and folders of frames; and how it is noted."""
        found: list[tuple[Path, str]] = []
        paths = (path for path in self._folder.iterdir() if path.name.startswith("out"))
        for path in sorted(paths, key=lambda path: (".matte" in path.name, path.name)):
            name = item.stem + path.name.removeprefix("out")
            several = path.is_dir() and not all(is_numbered(file.name) for file in path.iterdir())
            found += self._parts(path, name) if several else [(path, name)]
        made = []
        for path, name in found:
            sizes = [file.stat().st_size for file, _ in self._parts(path, name)]
            made.append((path, {"name": name, "files": len(sizes), "bytes": sum(sizes)}))
        return made

    @staticmethod
    def _parts(path: Path, name: str) -> list[tuple[Path, str]]:
        """A file, or those of a folder, and their names."""
        return [(path, name)] if path.is_file() else [(file, f"{name}/{file.name}") for file in sorted(path.iterdir())]

    def _remove(self, name: str, frames: range) -> None:
        """A file of an earlier result, or these of its frames."""
        if frames:
            self._patiently(lambda: self._storage.remove(name, frames))

    def _failed(self, item: Item, outcome: Outcome, error: BaseException) -> None:
        outcome.outputs = []
        outcome.again, outcome.fatal = may_pass(error), ends_all(error)
        if isinstance(error, Indivisible) and not outcome.again and not outcome.fatal:
            outcome.whole = self._plain(in_words(error, item.input), item)
            return
        if item.task is None and isinstance(error, SourceError) and not outcome.again:
            try:
                self._publish(item, outcome)  # what a file that breaks off has left, as NAME.partial.EXT
            except (HeadstreamError, OSError):
                outcome.outputs = []
        outcome.reason = self._plain(in_words(error, item.input), item)

    def _plain(self, text: str, item: Item) -> str:
        """A message that names the input and the output, not the files they are for the moment."""
        text = text.replace(str(self._folder / "out"), self._storage.locate(item.stem))
        if is_remote(item.input):
            text = text.replace(str(self._own / "fetched" / ("in" + Path(item.input).suffix)), item.input)
        return " ".join(text.split())

    def _patiently(self, action: Callable[[], _T]) -> _T:
        return patiently(action, self._setup.wait_s / 4)

    def _make_room(self) -> None:
        """A folder to make results in, with nothing in it. Raises SinkError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        make_parents(self._folder / "x")

    def close(self) -> None:
        """Free the networks and remove the work folder. Safe to call again."""
        self._stack.close()
        shutil.rmtree(self._own, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
