"""Photos from file to file, one or many: what `headstream image` does, for any caller."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from headstream.capture.named import PHOTOS, VIDEOS, find_photos
from headstream.capture.photo import Photo, read_photo
from headstream.errors import HeadstreamError, SourceError, UsageError
from headstream.failures import ends_all, in_words
from headstream.photos.cutter import PhotoCutter, PhotoResult
from headstream.photos.picture import HeadPictures
from headstream.pipeline import CutOptions
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import parse_background
from headstream.sinks.partial import check_named
from headstream.sinks.photo import (
    RESULT,
    check_folder,
    picture_kinds,
    result_folder,
    save_picture,
    stages_figure,
    write_photo,
)
from headstream.timing import StageTimes
from headstream.track.finder import FaceFinder
from headstream.types import Region


@dataclass(frozen=True)
class PhotosJob:
    """What to cut and where to. inputs: photos, folders of photos, patterns.  out: a folder, in which each photo gets one of its
    own; of a single photo also a file, the head alone.  stages: also write a figure of all stages.  background, trim: as of
    ``HeadPictures``."""

    inputs: tuple[str, ...]
    out: Path
    _: KW_ONLY
    stages: bool = False
    background: str = "transparent"
    trim: bool = False
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"


@dataclass(frozen=True)
class CutPhoto:
    """A photo with heads, how many were cut, the files that were written, and which part of it head_only shows."""

    path: Path
    heads: int
    outputs: tuple[Path, ...]
    box_px: Region


@dataclass
class PhotosReport:
    """What became of a job. total: how many photos there are.  notes: on what was not cut of those that could be read.

    failed: photos and what is wrong with them.  unreadable: whether none failed for another reason than that it cannot be read.
    stopped: one failed in a way in which all others would.  left: how many were not tried then, or for an interrupt.
    seconds: of loading the network and cutting.
    """

    total: int = 0
    done: list[CutPhoto] = field(default_factory=list)
    without_head: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: bool = True
    stopped: bool = False
    interrupted: bool = False
    left: int = 0
    seconds: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    device: str = ""
    model: str = ""


def cut_photos(job: PhotosJob, progress: Callable[[int, int], None] | None = None) -> PhotosReport:
    """Cut the heads out of photos. One that fails is told of in the report; the rest goes on.

    progress: called with the number of photos that were tried, and how many there are. On KeyboardInterrupt what is done stays
    done, and the report says ``interrupted``. Raises UsageError, SinkError, ModelError before the first photo.
    """
    opaque = parse_background(job.background) != "transparent"
    alone = _names_a_file(job.out, opaque=opaque)
    if not alone:
        check_folder(job.out, f", or a {_said(picture_kinds(opaque=opaque))}")
    photos, problems = find_photos(list(job.inputs), job.out)
    if alone:
        _check_alone(photos, job)
    report = PhotosReport(len(photos) + len(problems), failed=list(problems))
    started = time.monotonic()
    pictures = HeadPictures(job.background, trim=job.trim)
    segmenter = load_segmenter(job.model, device=job.device)
    with FaceFinder(models_dir()) as finder:
        run = _Run(job, PhotoCutter(segmenter, finder, job.options), pictures, report, alone=alone)
        run.cut_all(photos, progress)
    report.seconds = time.monotonic() - started
    report.stages_ms = run.cutter.times.mean_ms()
    report.device, report.model = segmenter.device, segmenter.card.name
    return report


def write_cut(
    folder: Path, photo: Photo, result: PhotoResult, pictures: HeadPictures, *, stages: bool, times: StageTimes
) -> tuple[list[Path], Region]:
    """Write what was cut of a photo, which has heads, into a folder of its own, see ``write_photo``; returns the files, and which
    part of the photo head_only shows.

    stages: also a figure of all stages.  times: gets the stage "write". Raises SinkError.
    """
    cutout, heads = result.cutout, list(result.heads)
    crops = [stage.crop_alpha for stage in heads]
    with times.stage("write"):
        head_only = pictures.of(photo, cutout)
        shown = (photo.rgb, heads, result.searched_px, cutout.alpha, head_only.pixels)
        figure = stages_figure(*shown) if stages else None
        files = write_photo(folder, head_only.pixels, cutout.alpha, crops, icc=photo.icc, figure=figure)
    return files, head_only.box_px


def only_first(photo: Photo) -> str:
    """What to tell of a file that holds more pictures than were looked at; "" of all others."""
    return f"holds {photo.pictures} pictures; only the first was looked at" if photo.pictures > 1 else ""


def _names_a_file(out: Path, *, opaque: bool) -> bool:
    """Whether ``out`` is meant for one picture and not for a folder. Raises UsageError for one that cannot be written, or has no
    name."""
    check_named(out, PHOTOS)
    kind, kinds = out.suffix.lower(), picture_kinds(opaque=opaque)
    if kind not in PHOTOS | VIDEOS or out.is_dir() or (out.exists() and kind not in kinds):
        return False
    if kind in picture_kinds(opaque=True) and kind not in kinds:
        raise UsageError(f"--out {out}: has no transparency; name a {_said(kinds)}, or give a --background")
    if kind not in kinds:
        raise UsageError(f"--out {out}: a cut-out is a {_said(kinds)}; name one, or a folder for its masks, too")
    if kind != ".png" and out.exists():  # --out *.jpg, and a shell has made names of it
        raise UsageError(f"--out {out}: is there already, and may be somebody's photo; remove it, or name another")
    return True


def _said(kinds: tuple[str, ...]) -> str:
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def _check_alone(photos: list[Path], job: PhotosJob) -> None:
    """Raise UsageError unless one photo's head goes into the file ``out``, and nothing else."""
    out = job.out
    if len(photos) > 1:
        raise UsageError(f"--out {out} is one file, and there are {len(photos)} photos; name a folder")
    if job.stages:
        raise UsageError(f"--out {out} holds the head alone; for --stages, name a folder")
    if photos and out.exists() and out.samefile(photos[0]):
        raise UsageError(f"--out {out} is the photo itself; name another")
    behind = Path(job.background)
    if behind.is_file() and out.exists() and out.samefile(behind):
        raise UsageError(f"--out {out} is the background itself; name another")


class _Run:
    """A job on its way. alone: ``job.out`` is a file."""

    def __init__(
        self, job: PhotosJob, cutter: PhotoCutter, pictures: HeadPictures, report: PhotosReport, *, alone: bool
    ) -> None:
        self._job, self._pictures, self._report, self._alone = job, pictures, report, alone
        self.cutter = cutter
        self._taken: set[str] = set()

    def cut_all(self, photos: list[Path], progress: Callable[[int, int], None] | None) -> None:
        """One after the other, until one fails in a way in which all others would, or Ctrl-C; what is done stays done."""
        tried = 0
        try:
            for path in photos:
                self._cut_one(path)
                tried += 1
                if progress is not None:
                    progress(tried, len(photos))
                if self._report.stopped:
                    break
        except KeyboardInterrupt:
            self._report.interrupted = True
        self._report.left = len(photos) - tried

    def _cut_one(self, path: Path) -> None:
        """One photo; whatever is wrong with it is noted and the next one goes on."""
        try:
            self._cut(path)
        except Exception as error:  # whatever one odd file brings about, the others go on
            foreseen = isinstance(error, (HeadstreamError, OSError, MemoryError))
            if not foreseen and os.environ.get("HEADSTREAM_DEBUG"):
                raise
            self._report.failed.append((path, in_words(error, str(path))))
            self._report.unreadable &= isinstance(error, SourceError)
            self._report.stopped = ends_all(error) is not None

    def _cut(self, path: Path) -> None:
        folder, times = result_folder(self._job.out, path, self._taken), self.cutter.times
        for read in (path, Path(self._job.background)):
            true = Path(os.path.realpath(read))  # a link to an earlier result, too
            if RESULT.fullmatch(true.name) and true.parent == folder.resolve():
                raise SourceError(f"{read}: the result of {path} would replace it; choose another --out")
        with times.stage("decode"):
            photo = read_photo(path)
        result = self.cutter.cut(photo.rgb, photo.alpha)
        if note := only_first(photo):
            self._report.notes.append(f"{path}: {note}{_for_all(path)}")
        if not result.heads:
            self._report.without_head.append(path)
            self._note_why(path, result)
            return
        if self._alone:
            with times.stage("write"):
                head_only = self._pictures.of(photo, result.cutout)
                save_picture(self._job.out, head_only.pixels, photo.icc)
            files, box = [self._job.out], head_only.box_px
        else:
            files, box = write_cut(folder, photo, result, self._pictures, stages=self._job.stages, times=times)
        self._report.done.append(CutPhoto(path, len(result.heads), tuple(files), box))

    def _note_why(self, path: Path, result: PhotoResult) -> None:
        """What there is in a photo of which no head was cut."""
        if result.believed:
            seen = f"{result.believed} head{'s' if result.believed > 1 else ''}"
            self._report.notes.append(f"{path}: {seen} in it, numbered from the largest on")
        elif result.faces:
            part = self._job.options.part
            self._report.notes.append(f"{path}: something like a face is in it, but the network finds no {part} there")


def _for_all(path: Path) -> str:
    """How to cut the others, where the decoder of films knows the format."""
    return f"; for all: headstream video {path} --out FILE" if path.suffix.lower() in {".gif", ".apng", ".png"} else ""
