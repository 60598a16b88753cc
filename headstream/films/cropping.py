"""A head clip out of a film: what `headstream crop` does, for any caller."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from headstream.apart import check_apart, model_files
from headstream.dub.path import Placed, Stabilise, chosen_head, head_path
from headstream.dub.trackfile import TrackReader
from headstream.dub.warp import clip_frame, clip_matte
from headstream.errors import UsageError
from headstream.films.alongtrack import (
    NOTHING,
    DubReport,
    Progress,
    TrackMattes,
    along,
    check_track,
    open_along,
    open_sinks,
    write_all,
)
from headstream.films.outputs import lost
from headstream.matte.refine import Layer
from headstream.pipeline import CutOptions
from headstream.segment.load import load_segmenter
from headstream.sinks.formats import OutputFormat, film_format, output_format
from headstream.sinks.lock import locked
from headstream.sinks.video import What
from headstream.types import Cutout, Frame

_SIZES = (64, 4096)
_WITH_ALPHA = ".mov, .mkv, .webm, a folder or %06d.png"


@dataclass(frozen=True)
class CropJob:
    """A head clip to make. head: None for the only one.  alpha: the matte as the clip's transparency.  matte: a video of it."""

    source: Path
    track: Path
    out: Path
    _: KW_ONLY
    head: int | None = None
    size: int = 512
    stabilise: Stabilise = "full"
    alpha: bool = False
    matte: Path | None = None
    codec: str | None = None
    model: str = "default"
    device: str = "auto"


def crop_film(job: CropJob, progress: Progress | None = None) -> DubReport:
    """Write the clip of one head: every frame of the film, at its own time, with its sound. Raises UsageError, SourceError,
    ModelError, SinkError; on KeyboardInterrupt the clip is finished with the frames done so far."""
    if job.size % 2 or not _SIZES[0] <= job.size <= _SIZES[1]:
        raise UsageError(f"--size {job.size}: expected an even number from {_SIZES[0]} to {_SIZES[1]}")
    kinds = _crop_kinds(job)
    track = TrackReader(job.track)
    report = DubReport(head=chosen_head(track, job.head))
    mattes: TrackMattes | None = None
    if job.alpha or job.matte is not None:
        segmenter = load_segmenter(job.model, device=job.device, fast=True)
        CutOptions().planes_of(segmenter)  # refuses a network without heads before any work
        mattes = TrackMattes(segmenter, report.times)
        report.device, report.model = mattes.segmenter.device, mattes.segmenter.card.name
    path = head_path(track, report.head, job.stabilise)
    with open_along(job.source, track) as film:
        check_track(track, film, job.track)
        report.notes += lost(film, kinds[0][1])

        def clips() -> Generator[Cutout, None, None]:
            for frame, placed in along(film, path, job.track, report.times):
                report.with_head += placed.head is not None
                layer = mattes.update(frame, placed) if mattes else NOTHING
                with report.times.stage("clip"):
                    clip = _clip(frame, placed, layer, job.size)
                yield clip

        with locked([path for path, _, _ in kinds]):
            sinks = open_sinks(film, kinds, (job.size, job.size), own=True)
            write_all(clips(), sinks, report, len(path), progress)
    return report


def _crop_kinds(job: CropJob) -> list[tuple[Path, OutputFormat, What]]:
    if job.alpha:
        kind = output_format(job.out, codec=job.codec, opaque="leave out --alpha", known=_WITH_ALPHA)
        if not kind.streams and kind.container != "image2":
            raise UsageError(f"{job.out}: a clip is written as .mov, .mkv, .webm or a folder of PNG")
        kinds: list[tuple[Path, OutputFormat, What]] = [(job.out, kind, "clip")]
    else:
        kinds = [(job.out, film_format(job.out, codec=job.codec), "film")]
    if job.matte is not None:
        kinds.append((job.matte, _matte_format(job.matte), "matte"))
    check_apart([job.source, job.track, *model_files(job.model)], [path for path, _, _ in kinds])
    return kinds


def _matte_format(path: Path) -> OutputFormat:
    film_format(path)  # refuses what is no film
    return output_format(path, transparent=False)


def _clip(frame: Frame, placed: Placed, layer: Layer, size: int) -> Cutout:
    clip = clip_frame(frame, placed.square, size)
    alpha = np.zeros((size, size), np.uint8)
    if placed.square is not None:
        alpha = clip_matte(layer.alpha, layer.region_px, placed.square, size)
    return Cutout(clip, (), (0, 0, size, size), alpha)
