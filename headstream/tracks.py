"""One film's track from end to end: what `headstream track` does, for any caller."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np

from headstream.capture.file import FileSource
from headstream.dub.smooth import FloatArray, smoothed
from headstream.dub.trackfile import TrackedFrame, TrackedHead, TrackHeader, TrackReader, TrackWriter
from headstream.errors import UsageError
from headstream.pipeline import CutOptions, HeadCutter, cut_stream
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.partial import PartialFile, sink_error
from headstream.sinks.photo import save_png
from headstream.track.finder import FaceFinder
from headstream.track.tracker import TrackOptions
from headstream.types import Cutout, Head, UInt8Array

# Seconds: how far around a frame its faces and its crop are smoothed. The crop's size may breathe, but not flutter.
_FACE_WIDTH_S, _CROP_WIDTH_S = 0.09, 0.35
_REACH = 3.0  # kernel widths that matter
_COLOURS = ((255, 200, 40), (70, 200, 255), (255, 90, 160), (120, 230, 90), (190, 140, 255))
_GUESS = 0.1  # weight of a frame in which no detector saw the face


@dataclass
class TrackReport:
    """What was found. heads: person's number -> frames they are in."""

    frames: int = 0
    frames_with_head: int = 0
    cuts: int = 0
    heads: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    device: str = ""
    model: str = ""


@dataclass(frozen=True)
class _Raw:
    """One frame as the tracker saw it. shot: number of the shot it lies in."""

    index: int
    pts: Fraction
    shot: int
    cut: bool
    heads: dict[int, Head]


def track_file(
    source: Path,
    out: Path,
    *,
    model: str = "default",
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> TrackReport:
    """Write the track of a film; the faces are looked for in every frame. Constant memory. Raises UsageError, SourceError,
    ModelError, SinkError; then, and on KeyboardInterrupt, nothing is written."""
    if source.resolve() == out.resolve():
        raise UsageError(f"{out}: input and output must be different files")
    started = time.monotonic()
    segmenter = load_segmenter(model, device=device, fast=True)
    report = TrackReport(device=segmenter.device, model=segmenter.card.name)
    options = CutOptions(heads="all", track=TrackOptions(look_every=1))
    with FileSource(source) as film, FaceFinder(models_dir()) as finder:
        header = TrackHeader(source.name, film.size_px, film.rate)
        cutter = HeadCutter(segmenter, finder, options)
        with _finished_or_nothing(out) as file:
            writer = TrackWriter(file, header)
            smoother = _Smoother(lambda frame: _count(writer, frame, report))
            for cutout in cut_stream(film, cutter):
                smoother.take(cutout, cut=cutter.cut_before)
                if progress is not None:
                    progress(cutout.frame.index + 1, film.frames_expected)
            smoother.finish()
    report.seconds = time.monotonic() - started
    return report


@contextmanager
def _finished_or_nothing(out: Path) -> Iterator[TextIO]:
    """A text file beside its place, which it takes when the block ends well. Raises SinkError."""
    part = PartialFile(out)
    try:
        with part.path.open("w", encoding="utf-8") as file:
            yield file
        part.keep()
    except OSError as error:
        raise sink_error(out, error) from error
    finally:
        part.discard()


def _count(writer: TrackWriter, frame: TrackedFrame, report: TrackReport) -> None:
    writer.write(frame)
    report.frames += 1
    report.frames_with_head += bool(frame.heads)
    report.cuts += frame.cut
    report.heads.update(head.id for head in frame.heads)


class _Smoother:
    """Holds the frames around the one being smoothed, and hands it on when its future is known."""

    def __init__(self, done: Callable[[TrackedFrame], None]) -> None:
        self._done = done
        self._frames: deque[_Raw] = deque()
        self._at = 0  # of the frame to hand on next
        self._shot = 0

    def take(self, cutout: Cutout, *, cut: bool) -> None:
        frame = cutout.frame
        self._shot += cut
        heads = {head.track_id: head for head in cutout.heads}
        self._frames.append(_Raw(frame.index, frame.pts, self._shot, cut, heads))
        reach = Fraction(_REACH * _CROP_WIDTH_S)
        while self._frames[self._at].pts + reach < frame.pts:
            self._hand_on()
        while self._frames[self._at].pts - self._frames[0].pts > reach:
            self._frames.popleft()
            self._at -= 1

    def finish(self) -> None:
        """Hand on the rest."""
        while self._at < len(self._frames):
            self._hand_on()

    def _hand_on(self) -> None:
        now = self._frames[self._at]
        heads = tuple(self._head(now, id_) for id_ in sorted(now.heads))
        self._done(TrackedFrame(now.index, now.pts, now.cut, heads))
        self._at += 1

    def _head(self, now: _Raw, id_: int) -> TrackedHead:
        around = [frame for frame in self._frames if frame.shot == now.shot and id_ in frame.heads]
        at = next(k for k, frame in enumerate(around) if frame is now)
        seen = [frame.heads[id_] for frame in around]
        times = np.array([float(frame.pts) for frame in around])
        weights = np.array([head.score if head.unseen_frames == 0 else _GUESS * head.score for head in seen])
        faces = np.stack([np.concatenate([head.box_px, head.landmarks_px.ravel()]) for head in seen]).astype(float)
        face = smoothed(times, faces, weights, at, _FACE_WIDTH_S)
        box, landmarks = face[:4], face[4:].reshape(-1, 2)
        unit = max(box[2] - box[0], box[3] - box[1])
        framing = smoothed(times, np.stack([_framing(head) for head in seen]), weights, at, _CROP_WIDTH_S)
        middle = (box[:2] + box[2:]) / 2 + framing[:2] * unit
        head = now.heads[id_]
        return TrackedHead(
            id_,
            (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            landmarks,
            (float(middle[0]), float(middle[1])),
            float(framing[2] * unit),
            roll_deg(landmarks),
            head.score,
            head.unseen_frames == 0,
        )


def _framing(head: Head) -> FloatArray:
    """The crop in sides of the face box: offset of its middle, and its side."""
    x0, y0, x1, y1 = head.crop_px
    bx0, by0, bx1, by1 = head.box_px
    unit = max(bx1 - bx0, by1 - by0)
    return np.array([(x0 + x1 - bx0 - bx1) / 2 / unit, (y0 + y1 - by0 - by1) / 2 / unit, (x1 - x0) / unit])


def roll_deg(landmarks: FloatArray) -> float:
    """How far a head leans, degrees clockwise as seen, from the line of the eyes. landmarks: (6, 2)."""
    across = landmarks[1] - landmarks[0]  # from the person's right eye, on the left as seen, to the left one
    return float(np.degrees(np.arctan2(across[1], across[0])))


def plot_track(source: Path, track: Path, out: Path) -> None:
    """A picture for each shot, below one another: its middle frame, the boxes in it, the path of every head. Raises
    SourceError, SinkError."""
    shots: list[list[TrackedFrame]] = [[]]
    for frame in TrackReader(track):
        if frame.cut:
            shots.append([])
        shots[-1].append(frame)
    wanted = {shot[len(shot) // 2].index: shot for shot in shots if shot}
    pictures = []
    with FileSource(source) as film:
        for picture in film:
            if picture.index in wanted:
                pictures.append(_drawn(picture.rgb.copy(), wanted[picture.index], picture.index))
    save_png(out, np.vstack(pictures))


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
