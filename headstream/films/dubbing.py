"""A head clip back into its film: what `headstream paste` does, for any caller."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from headstream.apart import check_apart, model_files
from headstream.capture.file import FileSource
from headstream.capture.named import PHOTOS
from headstream.capture.photo import pictures_in
from headstream.capture.survey import counted
from headstream.dub.blend import ColourShift, blended, like_film
from headstream.dub.match import colour_shifts
from headstream.dub.pairing import Length, Paired, pairing_rule
from headstream.dub.path import Placed, Square, Stabilise, chosen_head, head_path
from headstream.dub.regions import HeadRegion, region_mask, tightened
from headstream.dub.trackfile import TrackedHead, TrackReader
from headstream.dub.warp import put_back, region_of
from headstream.errors import UsageError
from headstream.films.alongtrack import (
    NOTHING,
    DubReport,
    Progress,
    TrackMattes,
    along,
    check_sound,
    check_track,
    open_along,
    open_sinks,
    partly,
    rate_along,
    write_all,
)
from headstream.films.outputs import hides_fields, lost
from headstream.matte.refine import Layer
from headstream.pipeline import CutOptions
from headstream.segment.load import load_segmenter
from headstream.shared.regions import laid_over
from headstream.sinks.clipfile import check_output
from headstream.sinks.formats import OutputFormat, film_format
from headstream.sinks.lock import locked
from headstream.timing import StageTimes
from headstream.types import Cutout, Float32Array, Frame, Plane, Region, UInt8Array

_NO_ALPHA = "the film's own transparency is left out"


@dataclass(frozen=True)
class PasteJob:
    """A clip to put back. head, stabilise: as its crop was made.  region: which part of the head takes it.

    audio: new sound, before the film's own if ``old_audio``, else instead of it.  feather_px: None is 1.5 % of the head.
    match_colour: bring the clip's colours to the film's.  grain: give it the film's grain where it lost it.
    """

    source: Path
    track: Path
    clip: Path
    out: Path
    _: KW_ONLY
    head: int | None = None
    stabilise: Stabilise = "full"
    region: HeadRegion = "head"
    audio: Path | None = None
    old_audio: bool = False
    feather_px: float | None = None
    match_colour: bool = False
    grain: bool = True
    codec: str | None = None
    model: str = "default"
    device: str = "auto"


def paste_film(job: PasteJob, progress: Progress | None = None) -> DubReport:
    """Put a clip back into its film. Raises as ``crop_film`` does, and UsageError for a clip of another length or shape."""
    kind = film_format(job.out, codec=job.codec)
    reads = [job.source, job.track, job.clip, *model_files(job.model)]
    check_apart(reads if job.audio is None else [*reads, job.audio], [job.out])
    if job.audio is not None:
        check_sound(job.audio)
        if not kind.streams:
            raise UsageError(f"--audio: {kind.name} has no place for sound; name the output .mov, .mkv, .mp4 or .webm")
    if job.old_audio and job.audio is None:
        raise UsageError("--keep-audio: only means something with --audio; without it the film's sound stays anyway")
    if job.feather_px is not None and not 0 <= job.feather_px <= 500:
        raise UsageError(f"--feather {job.feather_px:g}: expected 0 to 500 pixels")
    track = TrackReader(job.track)
    head = chosen_head(track, job.head)
    path = head_path(track, head, job.stabilise)
    _check_clip(job.clip)
    with open_along(job.source, track) as film, open_along(job.clip, track) as clip:
        check_track(track, film, job.track)
        width, height = clip.size_px
        if width != height or width % 2:
            raise UsageError(
                f"{job.clip}: is {width}x{height}; a head clip is square with an even side, as crop made it"
            )
        length = Length(len(path), path[-1].time_s + 1 / film.rate)
        own_length = Length(*counted(job.clip, rate_along(job.clip, track)))
        rule = _rule(job, track, length, own_length)
        segmenter = load_segmenter(job.model, device=job.device, fast=True)
        CutOptions().planes_of(segmenter)
        check_output(job.out)
        passes = 2 if job.match_colour else 1
        shifts = _shifts(job, path, rule, partly(progress, 0, passes)) if job.match_colour else None
        report = DubReport(head=head, device=segmenter.device, model=segmenter.card.name)
        report.notes += _cautions(film, kind)
        if rule == "by time":
            late = "; if its first picture is in it twice, lips are late: leave one out"
            report.notes.append(
                f"the clip has {own_length.frames} frames, the film {length.frames}: each frame of the film takes the clip's "
                f"nearest in time{late if own_length.frames > length.frames else ''}"
            )
        if clip.hides_alpha:
            report.notes.append("the clip's transparency (VP9) cannot be read here; the film's own matte is used")
        mattes = TrackMattes(segmenter, report.times)
        frames = _pasted(job, film, path, Paired(iter(clip), rule, job.clip), mattes, shifts, report)
        with locked([job.out]):
            sinks = open_sinks(film, [(job.out, kind, "film")], film.size_px, sound=job.audio, old_sound=job.old_audio)
            write_all(frames, sinks, report, len(path), partly(progress, passes - 1, passes))
    return report


def _cautions(film: FileSource, kind: OutputFormat) -> list[str]:
    """What of the film is not in an output of that kind."""
    notes = (film.left_out if kind.streams else []) + lost(film, kind)
    if film.hides_alpha:
        notes.append(_NO_ALPHA)
    if hides_fields(film, kind):
        notes.append("the film is marked as interlaced, which the output does not tell")
    return notes


def _rule(job: PasteJob, track: TrackReader, length: Length, own_length: Length) -> str:
    """How the clip's frames are paired with those the track knows. Where the film itself fits the clip, the track is at fault."""
    try:
        return pairing_rule(length, own_length, job.clip)
    except UsageError as error:
        whole = Length(*counted(job.source, rate_along(job.source, track)))
        nearer = abs(own_length.seconds - whole.seconds) < abs(own_length.seconds - length.seconds)
        if whole.frames > length.frames and (nearer or own_length.frames == whole.frames):
            known = f"knows {length.frames} frames, but {job.source} has {whole.frames}"
            raise UsageError(f"{job.track}: {known}; it is cut off, make it anew") from error
        raise


def _check_clip(clip: Path) -> None:
    """Raise UsageError for a single picture."""
    suffix = clip.suffix.lower()
    moving = suffix in {".gif", ".avif"} or (suffix == ".png" and pictures_in(clip) > 1)
    if clip.is_file() and suffix in PHOTOS and not moving:
        raise UsageError(f"{clip}: is one picture; a clip is a video file, or numbered pictures: name their folder")


def _pasted(
    job: PasteJob,
    film: FileSource,
    path: list[Placed],
    clip: Paired,
    mattes: TrackMattes,
    shifts: list[ColourShift | None] | None,
    report: DubReport,
) -> Generator[Cutout, None, None]:
    for frame, placed in along(film, path, job.track, report.times):
        other = clip.frame(placed.index, placed.time_s)
        result = frame
        if frame.index == 0 and _own_alpha(frame) is not None:
            report.notes.append(_NO_ALPHA)
        if placed.square is not None and placed.head is not None:
            report.with_head += 1
            layer = NOTHING if _own_alpha(other) is not None else mattes.update(frame, placed)
            region, mask = _where(job, placed.square, placed.head, frame, other, layer)
            if mask.size:
                shift = None if shifts is None else shifts[placed.index]
                like = like_film(other, frame)
                with report.times.stage("blend"):
                    result = blended(frame, like, placed.square, region, mask, shift=shift, grain=job.grain)
        report.changed += result is not frame
        yield Cutout(result)


def _where(
    job: PasteJob, square: Square, head: TrackedHead, frame: Frame, clip: Frame, layer: Layer
) -> tuple[Region, Float32Array]:
    """Where the clip goes in a frame, and how much of it."""
    region = region_of(square, frame.size_px)
    if region == (0, 0, 0, 0):
        return region, np.zeros((0, 0), np.float32)
    feather = 0.015 * square.side if job.feather_px is None else job.feather_px
    return tightened(region, region_mask(head, job.region, region, _matte_of(clip, layer, square, region), feather))


def _matte_of(clip: Frame, layer: Layer, square: Square, region: Region) -> UInt8Array:
    """(h, w) uint8 over ``region``: the clip's own transparency if it brings one, else the film's matte."""
    own = _own_alpha(clip)
    if own is not None:
        peak = 255 if clip.planes is None else (1 << clip.planes.bits) - 1
        back = put_back(own.astype(np.float32) * (255 / peak), square, region, (1, 1))
        return np.clip(np.rint(back), 0, 255).astype(np.uint8)
    matte: UInt8Array = laid_over(layer.alpha, layer.region_px, region)
    return matte


def _own_alpha(frame: Frame) -> Plane | None:
    return frame.alpha if frame.planes is None else frame.planes.alpha


def _shifts(job: PasteJob, path: list[Placed], rule: str, progress: Progress) -> list[ColourShift | None]:
    """A pass over both before the one that writes: what colours they have."""

    def triples(film: FileSource, paired: Paired) -> Iterator[tuple[Frame, Placed, Frame]]:
        for frame, placed in along(film, path, job.track, StageTimes()):
            yield frame, placed, paired.frame(placed.index, placed.time_s)
            progress(placed.index + 1, len(path))

    track = TrackReader(job.track)
    with open_along(job.source, track) as film, open_along(job.clip, track) as clip:
        return colour_shifts(triples(film, Paired(iter(clip), rule, job.clip)))
