"""One video file from end to end: what `headstream video` does, for any caller."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from headstream.capture.file import FileSource
from headstream.errors import SinkError, SourceError, UsageError
from headstream.fixes.read import Film, Fix, read_fixes
from headstream.fixes.spread import Outcome, with_fixes
from headstream.lookahead import with_look_ahead
from headstream.pipeline import CutOptions, HeadCutter, cut_stream
from headstream.review.collect import Review, reviewed
from headstream.review.page import write_page
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import open_background, parse_background
from headstream.sinks.formats import OutputFormat, output_format
from headstream.sinks.partial import check_writable
from headstream.sinks.threaded import TeeSink, ThreadedSink
from headstream.sinks.video import ClipInfo, VideoSink, give_up
from headstream.track.finder import FaceFinder
from headstream.types import Cutout

_MATTE_LAYOUTS = {"planes", "prores", "opaque"}


@dataclass(frozen=True)
class VideoJob:
    """What to cut and where to. background: "transparent", "blur", "#rrggbb" or a file's name. matte: a second output.

    look_ahead: fill in heads from frames to come.  fixes: corrections made by hand.  review: a page with the frames the
    tool itself doubts.
    """

    source: Path
    out: Path
    background: str = "transparent"
    matte: Path | None = None
    codec: str | None = None
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"
    review: Path | None = None
    fixes: Path | None = None
    look_ahead: bool = True


@dataclass
class VideoReport:
    """What became of a job. heads: person's number -> frames they are in.  notes: sound, subtitles, chapters, warnings.

    doubts: where a review was asked for, what it found.
    """

    frames_in: int = 0
    frames_out: int = 0
    frames_with_head: int = 0
    heads: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    device: str = ""
    model: str = ""
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    viewers: str = ""
    interrupted: bool = False
    doubts: Review | None = None

    @property
    def fps(self) -> float:
        """Frames a second, from the first frame to the finished file."""
        return self.frames_out / self.seconds if self.seconds else 0.0


def cut_video_file(job: VideoJob, progress: Callable[[int, int], None] | None = None) -> VideoReport:
    """Run a job. ``progress`` gets frames done and frames expected (0 if unknown) after each frame.

    Everything that can be refused is refused before work starts: UsageError, SourceError, ModelError, SinkError. On
    KeyboardInterrupt the outputs are finished with the frames done so far and the report says ``interrupted``. When the
    source breaks off, they are finished as NAME.partial.EXT and SourceError tells so.
    """
    kind, matte_kind = check_job(job)
    with FileSource(job.source) as source:
        film = Film(source.size_px, source.rate, source.frames_expected)
        fixes = read_fixes(job.fixes, film) if job.fixes is not None else []
        segmenter = load_segmenter(job.model, device=job.device, fast=True)
        report = VideoReport(device=segmenter.device, model=segmenter.card.name, viewers=kind.viewers)
        report.doubts = Review(job.options.part) if job.review is not None else None
        with FaceFinder(models_dir()) as finder:
            cutter = HeadCutter(segmenter, finder, job.options)
            sinks = _open_sinks(job, source, kind, matte_kind)
            try:
                with closing(_finished(cut_stream(source, cutter), job, fixes, source, report)) as cutouts:
                    _run(source, cutouts, sinks, report, progress)
            except SourceError:
                _write_review(job, report)  # of what there was
                raise
        _write_review(job, report)
        report.stages_ms = cutter.times.mean_ms()
        report.notes += [note for sink in sinks for note in sink.notes] + source.warnings
    return report


def _write_review(job: VideoJob, report: VideoReport) -> None:
    if job.review is not None and report.doubts is not None and report.doubts.frames:
        write_page(job.review, job.source.name, report.doubts)


def check_job(job: VideoJob) -> tuple[OutputFormat, OutputFormat | None]:
    """The formats of a job's outputs. Raises UsageError for what cannot be, before anything is opened."""
    background = parse_background(job.background)
    kind = output_format(job.out, codec=job.codec, transparent=background == "transparent")
    if background != "transparent" and kind.layout != "opaque":
        raise UsageError(
            f"{job.out}: a background needs an opaque output; name it .mp4, or use --codec h264 in .mov or .mkv"
        )
    matte_kind = None
    if job.matte is not None:
        matte_kind = output_format(job.matte, transparent=False)
        if matte_kind.layout not in _MATTE_LAYOUTS and matte_kind.container != "image2":
            raise UsageError(f"{job.matte}: a matte is written as .mov, .mkv, .webm, .mp4 or a folder of PNG")
    if job.review is not None and job.review.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"{job.review}: a review is a page; name it .html")
    if job.review is not None:
        check_writable(job.review)
    outputs = [path for path in (job.out, job.matte, job.review) if path is not None]
    places = [path.resolve() for path in [job.source, *outputs]]
    if len(set(places)) < len(places):
        raise UsageError(f"{job.out}: input and outputs must be different files")
    return kind, matte_kind


def _open_sinks(
    job: VideoJob, source: FileSource, kind: OutputFormat, matte_kind: OutputFormat | None
) -> list[VideoSink]:
    clip = ClipInfo(
        source.size_px,
        source.rate,
        source.time_base,
        source.sample_aspect_ratio,
        source.first_pts_s - source.start_s,
        source.path,
        source.start_s,
    )
    background = open_background(parse_background(job.background), FileSource)
    sinks = [VideoSink(job.out, kind, clip, background=background)]
    if job.matte is not None and matte_kind is not None:
        try:
            sinks.append(VideoSink(job.matte, matte_kind, clip, what="matte"))
        except BaseException:
            sinks[0].discard()
            raise
    return sinks


def _finished(
    cutouts: Iterator[Cutout], job: VideoJob, fixes: list[Fix], source: FileSource, report: VideoReport
) -> Generator[Cutout, None, None]:
    """What happens to cut-outs before they are written. Each step looks at a bounded number of neighbours."""
    outcome = Outcome(report.notes)
    if job.look_ahead:
        cutouts = with_look_ahead(cutouts, several=job.options.heads == "all", part=job.options.part)
    if fixes:
        cutouts = with_fixes(cutouts, fixes, source.rate, outcome)
    if report.doubts is not None:
        report.doubts.settled = outcome.settled
        cutouts = reviewed(cutouts, report.doubts)
    yield from cutouts


def _run(
    source: FileSource,
    cutouts: Iterator[Cutout],
    sinks: list[VideoSink],
    report: VideoReport,
    progress: Callable[[int, int], None] | None,
) -> None:
    started = time.monotonic()
    sink = ThreadedSink(TeeSink(sinks))
    try:
        for cutout in cutouts:
            report.frames_in += 1
            sink.write(cutout)
            report.frames_with_head += bool(cutout.heads)
            report.heads.update(head.track_id for head in cutout.heads)
            if progress is not None:
                progress(report.frames_in, source.frames_expected)
    except KeyboardInterrupt:
        report.interrupted = True
    except SourceError as error:
        for part in sinks:
            part.incomplete()
        sink.close()
        raise SourceError(_with_rest(error, sinks)) from error
    except BaseException as error:
        give_up(sink, sinks)
        raise error
    try:
        sink.close()
    except SinkError:
        give_up(sink, sinks)
        raise
    report.frames_out = sinks[0].frames
    report.outputs = [part.final_path for part in sinks if part.frames]
    report.seconds = time.monotonic() - started


def _with_rest(error: SourceError, sinks: list[VideoSink]) -> str:
    if not sinks[0].frames:
        return f"{error}; nothing was written"
    return f"{error}; the {sinks[0].frames} frames before that are in {sinks[0].final_path}"
