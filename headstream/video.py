"""One video file from end to end: what `headstream video` does, for any caller."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headstream.capture.file import FileSource
from headstream.errors import SinkError, SourceError, UsageError
from headstream.pipeline import CutOptions, HeadCutter, cut_stream
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import open_background, parse_background
from headstream.sinks.formats import OutputFormat, output_format
from headstream.sinks.threaded import TeeSink, ThreadedSink
from headstream.sinks.video import ClipInfo, VideoSink
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Segmenter

_MATTE_LAYOUTS = {"planes", "prores", "opaque"}


@dataclass(frozen=True)
class VideoJob:
    """What to cut and where to. background: "transparent", "blur", "#rrggbb" or a file's name. matte: a second output."""

    source: Path
    out: Path
    background: str = "transparent"
    matte: Path | None = None
    codec: str | None = None
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"


@dataclass
class VideoReport:
    """What became of a job. heads: person's number -> frames they are in.  notes: sound, subtitles, chapters, warnings."""

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

    @property
    def fps(self) -> float:
        """Frames a second, from the first frame to the finished file."""
        return self.frames_out / self.seconds if self.seconds else 0.0


@dataclass
class Tools:
    """What is loaded once for many files. Not safe to share between threads.

    threads: how many each of the decoder, the network and the encoder may use; None for what suits the machine.
    """

    segmenter: Segmenter
    finder: FaceFinder
    device: str
    model: str
    threads: int | None = None


@contextmanager
def _open_tools(model: str, device: str) -> Iterator[Tools]:
    segmenter = load_segmenter(model, device=device, fast=True)
    with FaceFinder(models_dir()) as finder:
        yield Tools(segmenter, finder, segmenter.device, segmenter.card.name)


def cut_video_file(
    job: VideoJob,
    progress: Callable[[int, int], None] | None = None,
    *,
    tools: Tools | None = None,
    watch: Callable[[Cutout], None] | None = None,
) -> VideoReport:
    """Run a job. ``progress`` gets frames done and frames expected (0 if unknown) after each frame.

    tools: loaded before, instead of what the job names.  watch: is shown every cut-out before it is written.

    Everything that can be refused is refused before work starts: UsageError, SourceError, ModelError, SinkError. On
    KeyboardInterrupt the outputs are finished with the frames done so far and the report says ``interrupted``. When the
    source breaks off, they are finished as NAME.partial.EXT and SourceError tells so.
    """
    kind, matte_kind = check_job(job)
    threads = tools.threads if tools else None
    with FileSource(job.source, threads=threads) as source, ExitStack() as stack:
        tools = tools or stack.enter_context(_open_tools(job.model, job.device))
        report = VideoReport(device=tools.device, model=tools.model, viewers=kind.viewers)
        cutter = HeadCutter(tools.segmenter, tools.finder, job.options)
        sinks = _open_sinks(job, source, kind.with_threads(threads), matte_kind and matte_kind.with_threads(threads))
        _run(source, cutter, sinks, report, progress, watch)
        report.stages_ms = cutter.times.mean_ms()
        report.notes = [note for sink in sinks for note in sink.notes] + source.warnings
    return report


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
    outputs = [path for path in (job.out, job.matte) if path is not None]
    places = [path.resolve() for path in [job.source, *outputs]]
    if len(set(places)) < len(places):
        raise UsageError(f"{job.out}: input, output and matte must be different files")
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


def _run(
    source: FileSource,
    cutter: HeadCutter,
    sinks: list[VideoSink],
    report: VideoReport,
    progress: Callable[[int, int], None] | None,
    watch: Callable[[Cutout], None] | None,
) -> None:
    started = time.monotonic()
    sink = ThreadedSink(TeeSink(sinks))
    try:
        for cutout in cut_stream(source, cutter):
            report.frames_in += 1
            if watch is not None:
                watch(cutout)
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
        _give_up(sink, sinks)
        raise error
    try:
        sink.close()
    except SinkError:
        _give_up(sink, sinks)
        raise
    report.frames_out = sinks[0].frames
    report.outputs = [part.final_path for part in sinks if part.frames]
    report.seconds = time.monotonic() - started


def _give_up(sink: ThreadedSink, sinks: list[VideoSink]) -> None:
    for part in sinks:
        part.discard()
    try:
        sink.close()
    except SinkError:
        pass  # the first error is on its way already


def _with_rest(error: SourceError, sinks: list[VideoSink]) -> str:
    if not sinks[0].frames:
        return f"{error}; nothing was written"
    return f"{error}; the {sinks[0].frames} frames before that are in {sinks[0].final_path}"
