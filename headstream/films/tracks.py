"""One film's track from end to end: what `headstream track` does, for any caller."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from headstream.apart import check_apart, model_files
from headstream.capture.file import FileSource
from headstream.dub.motion import Motion, face_motion
from headstream.dub.steady import Smoother
from headstream.dub.trackfile import TrackedFrame, TrackHeader, TrackReader, TrackWriter
from headstream.films.alongtrack import open_along
from headstream.films.foresight import file_cutter
from headstream.pipeline import CutOptions
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.lock import locked
from headstream.sinks.partial import whole_file
from headstream.sinks.photo import save_picture
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder
from headstream.track.terms import TrackOptions
from headstream.types import Cutout, UInt8Array

log = logging.getLogger(__name__)

_COLOURS = ((255, 200, 40), (70, 200, 255), (255, 90, 160), (120, 230, 90), (190, 140, 255))
_PLOTTED, _PLOT_WIDTH_PX = 40, 960  # shots at most, and how wide each is


@dataclass
class TrackReport:
    """What was found. heads: person's number -> frames they are in.  stages_ms: mean milliseconds a frame of each stage."""

    frames: int = 0
    frames_with_head: int = 0
    cuts: int = 0
    heads: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    device: str = ""
    model: str = ""


def track_file(
    source: Path,
    out: Path,
    *,
    rate: Fraction | None = None,
    model: str = "default",
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> TrackReport:
    """Write the track of a film; the faces are looked for in every frame. Constant memory. Raises UsageError, SourceError,
    ModelError, SinkError; then, and on KeyboardInterrupt, nothing is written. rate: of numbered pictures; see ``FileSource``."""
    check_apart([source, *model_files(model)], [out])
    started = time.monotonic()
    segmenter = load_segmenter(model, device=device, fast=True)
    report = TrackReport(device=segmenter.device, model=segmenter.card.name)
    options = CutOptions(heads="all", track=TrackOptions(look_every=1))
    with FileSource(source, rate=rate) as film, FaceFinder(models_dir()) as finder, locked([out]):
        if film.assumes_rate:
            log.warning("%s: taken as %s pictures a second; --rate tells another", source, film.rate)
        header = TrackHeader(source.name, film.size_px, film.rate)
        cutter = file_cutter(segmenter, finder, options)
        with (
            whole_file(out) as part,
            part.open("w", encoding="utf-8") as file,
            closing(cut_stream(film, cutter)) as cutouts,
        ):
            writer = TrackWriter(file, header)
            smoother = Smoother(lambda frame: _count(writer, frame, report))
            last: Cutout | None = None
            for cutout in cutouts:
                motions = {} if last is None or cutter.cut_before else _motions(last, cutout)
                frame = cutout.frame
                smoother.take(frame.index, frame.pts, cutout.heads, motions, cut=cutter.cut_before)
                last = cutout
                if progress is not None:
                    progress(cutout.frame.index + 1, film.frames_expected)
            smoother.finish()
    report.seconds, report.stages_ms = time.monotonic() - started, cutter.times.mean_ms()
    return report


def _motions(last: Cutout, now: Cutout) -> dict[int, Motion]:
    """How each head that is in both frames moved."""
    before = {head.track_id: head for head in last.heads}
    return {
        head.track_id: face_motion(last.frame, now.frame, before[head.track_id].box_px, head.box_px)
        for head in now.heads
        if head.track_id in before
    }


def _count(writer: TrackWriter, frame: TrackedFrame, report: TrackReport) -> None:
    writer.write(frame)
    report.frames += 1
    report.frames_with_head += bool(frame.heads)
    report.cuts += frame.cut
    report.heads.update(head.id for head in frame.heads)


def plot_track(source: Path, track: Path, out: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """A picture for each shot (of long films for some of them), below one another: its middle frame, the boxes in it, the path
    of every head. Raises UsageError, SourceError, SinkError."""
    check_apart([source, track], [out])
    shots: list[list[TrackedFrame]] = [[]]
    reader = TrackReader(track)
    for frame in reader:
        if frame.cut:
            shots.append([])
        shots[-1].append(frame)
    shots = [shot for shot in shots if shot]
    shots = [shots[k] for k in np.linspace(0, len(shots) - 1, min(len(shots), _PLOTTED)).astype(int)]
    wanted = {shot[len(shot) // 2].index: shot for shot in shots}
    pictures = []
    with open_along(source, reader) as film:
        for picture in film:
            if picture.index in wanted:
                drawn = _drawn(picture.rgb.copy(), wanted[picture.index], picture.index)
                scale = min(1.0, _PLOT_WIDTH_PX / drawn.shape[1])
                size = (round(drawn.shape[1] * scale), round(drawn.shape[0] * scale))
                pictures.append(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA))
            if progress is not None:
                progress(picture.index + 1, film.frames_expected)
    save_picture(out, np.vstack(pictures))


def _drawn(rgb: UInt8Array, shot: list[TrackedFrame], index: int) -> UInt8Array:
    thick = max(1, rgb.shape[1] // 500)
    for id_ in sorted({head.id for frame in shot for head in frame.heads}):
        colour = _COLOURS[id_ % len(_COLOURS)]
        path = [head.centre for frame in shot for head in frame.heads if head.id == id_]
        cv2.polylines(rgb, [np.round(path).astype(np.int32)], False, colour, thick, cv2.LINE_AA)
    for head in next(frame for frame in shot if frame.index == index).heads:
        colour = _COLOURS[head.id % len(_COLOURS)]
        half = head.side / 2
        (cx, cy), face = head.centre, head.box
        for x0, y0, x1, y1 in (face, (cx - half, cy - half, cx + half, cy + half)):
            cv2.rectangle(rgb, (round(x0), round(y0)), (round(x1), round(y1)), colour, thick)
        for x, y in head.landmarks:
            cv2.circle(rgb, (round(x), round(y)), 2 * thick, colour, -1, cv2.LINE_AA)
        cv2.putText(
            rgb, f"#{head.id}", (round(face[0]), round(face[1]) - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, thick
        )
    return rgb
