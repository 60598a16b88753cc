"""One film cut in pieces, by whoever is free, and put together without encoding again.

    survey -> plan_pieces -> cut_piece, cut_piece, ... -> join_pieces

A piece begins at a key frame. Cutting begins a run-up before it, so that a head is followed and its matte has settled when
the piece begins, and looks ahead past its end. So a piece depends on the film and its plan alone, not on who cuts it, where,
or after what. All that a plan takes for granted is checked: the times of a piece's frames, and at each border that both
sides see the very same pictures there and cut the same head. Where anything differs, ``Indivisible`` tells so: the film is
to be cut whole.
"""

from __future__ import annotations

import bisect
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from headstream.backdrop import backdrop, is_still
from headstream.capture.file import FileSource
from headstream.capture.marks import Span, checksum
from headstream.capture.survey import survey
from headstream.errors import HeadstreamError, SourceError
from headstream.films.foresight import file_cutter
from headstream.films.lookahead import FRAMES, with_look_ahead
from headstream.films.outputs import WHOLE_ONLY, clip_of
from headstream.films.video import Tools, VideoJob, cautions, check_job
from headstream.sinks.background import handed_over, parse_background
from headstream.sinks.film_segments import FilmSegments
from headstream.sinks.packets import DamagedError, suffix_for
from headstream.sinks.threaded import ThreadedSink
from headstream.stream import cut_stream
from headstream.track.boxes import overlap
from headstream.track.terms import TrackOptions
from headstream.types import Box, Cutout

_RUN_UP_S = TrackOptions().hold_s + 1  # a head unseen since before it is given up by then, in the whole film too
_COMPARED = 8  # frames on each side of a border
_SAME_HEAD = 0.3  # overlap of the boxes of one head, found anew
_SAME_BY_MANY = {"prores_aw", "ffv1"}  # encoders that give the same bytes whatever their threads; others get one


class Indivisible(HeadstreamError):
    """A film that has to be cut whole; the text is why."""


@dataclass(frozen=True)
class Piece:
    """A part of a film. begin, end: the frames from one to before the other.  span: those to read for it.
    times: CRC-32 of its frames' times."""

    begin: int
    end: int
    span: Span
    times: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.begin:07d}-{self.end:07d}"


@dataclass
class Made:
    """A piece that was cut. size: bytes of its file.  pix_fmt, tags: what its first cut-out settled.  device, model: of the
    network.  stages_ms: mean milliseconds a frame.

    starts, follows: CRC-32 of its first pictures, and of the first ones after it.  heads_first, heads_after: the boxes of
    the heads cut in these, in whole pixels.
    """

    frames: int = 0
    frames_with_head: int = 0
    size: int = 0
    pix_fmt: str = ""
    tags: dict[str, int] = field(default_factory=dict)
    device: str = ""
    model: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    follows: list[int] = field(default_factory=list)
    heads_first: list[list[Box]] = field(default_factory=list)
    heads_after: list[list[Box]] = field(default_factory=list)


def check_divisible(job: VideoJob) -> None:
    """Raise Indivisible for a job of which the pieces cannot be joined, or are not what the whole would be."""
    kind, _ = check_job(job)
    if kind.container in WHOLE_ONLY or kind.container == "image2":
        raise Indivisible(f"{kind.name} is not joined from pieces")
    if job.matte is not None:
        raise Indivisible("its matte is written beside it")
    if isinstance(job.options.heads, int):
        raise Indivisible("people are numbered from the film's start")
    behind = parse_background(job.background)
    if isinstance(behind, Path) and not is_still(behind):
        raise Indivisible("a video behind runs from the film's start")


def plan_pieces(path: Path, split_s: float, *, threads: int | None = None) -> list[Piece]:
    """Two or more pieces of about ``split_s`` seconds.

    Borders are the first key frames at or after the multiples of ``split_s``; a piece of less than half that length is left
    with the one before it. threads: of the decoder. Raises Indivisible, SourceError.
    """
    found = survey(path)
    if found.fault:
        raise Indivisible(found.fault)
    with FileSource(path, threads=threads) as source:
        first = source.first_pts_s / found.time_base
    if int(first) != first or int(first) not in found.ticks:
        raise Indivisible("its first frame is not where its packets say")
    known = found.ticks >= int(first)  # pictures before the first key frame's are in the file, but cannot be decoded
    ticks = [int(tick) for tick in found.ticks[known]]
    keys = [int(k) for k in np.flatnonzero(found.keys[known])]
    every, borders, last = split_s / found.time_base, [0], ticks[-1]
    due = every
    for key in keys:  # not over the multiples: one wild time would make them endless
        since = ticks[key] - ticks[0]
        if since < due:
            continue
        if min(ticks[key] - ticks[borders[-1]], last - ticks[key]) >= every / 2:
            borders.append(key)
        due = (since // every + 1) * every
    if len(borders) < 2:
        raise Indivisible("its key frames are too rare")
    ends = [*borders[1:], len(ticks)]
    return [
        _piece(begin, end, ticks, keys, int(_RUN_UP_S / found.time_base))
        for begin, end in zip(borders, ends, strict=True)
    ]


def _piece(begin: int, end: int, ticks: list[int], keys: list[int], run_up: int) -> Piece:
    first = min(bisect.bisect_left(ticks, ticks[begin] - run_up), max(0, begin - FRAMES))
    first -= first % TrackOptions().scan_every  # detectors then look at the frames they would look at in the whole film
    key = keys[bisect.bisect_right(keys, first) - 1] if first >= keys[0] else 0
    return Piece(begin, end, Span(first, min(len(ticks), end + FRAMES), key, ticks[key]), _times(ticks[begin:end]))


def _times(ticks: Sequence[int]) -> int:
    return zlib.crc32(np.array(ticks, "<i8").tobytes())


def cut_piece(
    job: VideoJob,
    piece: Piece,
    folder: Path,
    *,
    tools: Tools,
    progress: Callable[[float], None] | None = None,
    watch: Callable[[Cutout], None] | None = None,
) -> Made:
    """Cut a piece into ``folder``, under the name of ``piece_file``. ``progress`` gets how much of it is done, 0..1; ``watch``
    is shown its cut-outs. Raises Indivisible; SourceError where the film cannot even be opened; SinkError. Nothing is left
    then."""
    options, span = job.options, piece.span
    with (
        FileSource(job.source, threads=tools.threads) as source,
        closing(_segments(job, source, folder, tools.threads)) as film,
    ):
        source.only(span)
        part = _Part(film, piece)
        cutter = file_cutter(tools.segmenter, tools.finder, options)
        stream = cut_stream(source, cutter, on_stop=source.close)
        try:
            with closing(stream), closing(ThreadedSink(part)) as sink:
                for cutout in with_look_ahead(stream, several=options.heads == "all", part=options.part):
                    sink.write(cutout)
                    if watch is not None and piece.begin <= cutout.frame.index < piece.end:
                        watch(cutout)
                    if progress is not None:
                        progress((cutout.frame.index + 1 - span.first) / (span.end - span.first))
        except SourceError as error:
            raise Indivisible(str(error)) from error
        if source.warnings:
            raise Indivisible(source.warnings[0])
        ticks = [(when + source.first_pts_s) / source.time_base for when in part.times_s]
        if any(tick.denominator != 1 for tick in ticks) or _times([int(tick) for tick in ticks]) != piece.times:
            raise Indivisible(f"frames {piece.begin} to {piece.end - 1} are not those its packets promise")
        part.made.size = film.finish(piece.name)
        (part.made.pix_fmt, part.made.tags), *_ = film.snapshot()
        part.made.device, part.made.model, part.made.stages_ms = tools.device, tools.model, cutter.times.mean_ms()
        return part.made


class _Part:
    """A Sink: the frames of a piece into a film's segment; of others only what has to be known."""

    def __init__(self, film: FilmSegments, piece: Piece) -> None:
        self._film, self._piece = film, piece
        self.made, self.times_s = Made(), list[Fraction]()

    def write(self, cutout: Cutout) -> None:
        """Take one cut-out. Raises SinkError."""
        frame, made = cutout.frame, self.made
        if frame.index < self._piece.begin:
            self._film.skip(cutout)
            return
        inside = frame.index < self._piece.end
        pictures, heads = (made.starts, made.heads_first) if inside else (made.follows, made.heads_after)
        if len(pictures) < _COMPARED:
            pictures.append(checksum(frame))
            heads.append([_whole_px(head.box_px) for head in cutout.heads])
        if inside:
            self._film.write(cutout)
            self.times_s.append(frame.pts)
            made.frames += 1
            made.frames_with_head += bool(cutout.heads)

    def close(self) -> None:
        """The film is closed by who opened it."""


def join_pieces(
    job: VideoJob, pieces: Sequence[Piece], made: Sequence[Made], folder: Path, *, threads: int | None = None
) -> list[str]:
    """Make the film of its pieces in ``folder``; returns what became of sound, subtitles and chapters. Where the disk has no
    room for both, pieces go as they are joined. Raises Indivisible, SourceError, SinkError."""
    for before, after in pairwise(made):
        if (before.pix_fmt, before.tags) != (after.pix_fmt, after.tags):
            raise Indivisible("its colours or pixel format change on the way")
        if before.device != after.device:
            raise Indivisible(f"it was cut on {before.device} and on {after.device}, which may draw other pixels")
        both = min(len(before.follows), len(after.starts))
        if not both or before.follows[:both] != after.starts[:both]:
            raise Indivisible("its key frames do not start from nothing")
        if _others(before.heads_after, after.heads_first):
            raise Indivisible("another head is cut after a border")
    with FileSource(job.source, threads=threads) as source, closing(_segments(job, source, folder)) as film:
        for piece, known in zip(pieces, made, strict=True):
            if not film.holds(piece.name, known.size):
                raise Indivisible(f"its piece {piece.name} is damaged")
        film.restore(((made[0].pix_fmt, made[0].tags), -1, None))
        try:
            film.join([piece.name for piece in pieces], whole=True)
        except DamagedError as error:
            raise Indivisible(str(error)) from error
        return film.notes + cautions(source, check_job(job)[0])


def _whole_px(box: Box) -> Box:
    x0, y0, x1, y1 = box
    return round(x0), round(y0), round(x1), round(y1)


def _others(before: Sequence[list[Box]], after: Sequence[list[Box]]) -> bool:
    """Whether in most of the same frames none of the heads on one side of a border is one of those on the other."""
    frames = list(zip(before, after, strict=False))
    apart = [any((a, b)) and all(overlap(x, y) <= _SAME_HEAD for x in a for y in b) for a, b in frames]
    return 2 * sum(apart) > len(frames)


def piece_file(job: VideoJob, piece: Piece, folder: Path) -> Path:
    """Where a piece is kept."""
    return folder / f"{piece.name}.cutout{suffix_for(check_job(job)[0])}"


def _segments(job: VideoJob, source: FileSource, folder: Path, threads: int | None = 1) -> FilmSegments:
    kind, _ = check_job(job)
    kind = kind.with_threads(threads if kind.codec in _SAME_BY_MANY else 1)
    with handed_over(backdrop(job.background)) as background:
        return FilmSegments(job.out, kind, clip_of(source), folder, background=background)
