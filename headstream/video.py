"""One video file from end to end: what `headstream video` does, for any caller."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.file import FileSource
from headstream.errors import SinkError, SourceError, UsageError
from headstream.journal import fingerprint, identity_of
from headstream.lock import locked
from headstream.pipeline import CutOptions, HeadCutter, cut_stream
from headstream.resume import LongCut, Tally, work_folder
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import open_background, parse_background
from headstream.sinks.formats import OutputFormat, output_format
from headstream.sinks.segments import can_be_segmented, segment_sink
from headstream.sinks.threaded import TeeSink, ThreadedSink
from headstream.sinks.video import ClipInfo, VideoSink
from headstream.track.finder import FaceFinder
from headstream.types import Cutout

_MATTE_LAYOUTS = {"planes", "prores", "opaque"}


@dataclass(frozen=True)
class VideoJob:
    """What to cut and where to. background: "transparent", "blur", "#rrggbb" or a file's name. matte: a second output.

    segment_s: films of at least two such lengths are made in segments, of which at most one is lost; 0 for one piece.
    """

    source: Path
    out: Path
    background: str = "transparent"
    matte: Path | None = None
    codec: str | None = None
    options: CutOptions = field(default_factory=CutOptions)
    model: str = "default"
    device: str = "auto"
    segment_s: float = 30


@dataclass
class VideoReport:
    """What became of a job. heads: person's number -> frames they are in.  notes: sound, subtitles, chapters, warnings.

    Counts are of the whole film; resumed_from_frame: how many frames of it an earlier run had done.  seconds: of this run.
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
    resumed_from_frame: int = 0

    @property
    def fps(self) -> float:
        """Frames a second, from this run's first frame to the finished file."""
        return (self.frames_out - self.resumed_from_frame) / self.seconds if self.seconds else 0.0


def cut_video_file(job: VideoJob, progress: Callable[[int, int], None] | None = None) -> VideoReport:
    """Run a job. ``progress`` gets frames done and frames expected (0 if unknown) after each frame.

    Everything that can be refused is refused before work starts: UsageError, SourceError, ModelError, SinkError. On
    KeyboardInterrupt the outputs are finished with the frames done so far and the report says ``interrupted``. When the
    source breaks off, they are finished as NAME.partial.EXT and SourceError tells so.
    """
    kind, matte_kind = check_job(job)
    with FileSource(job.source) as source:
        segmenter = load_segmenter(job.model, device=job.device, fast=True)
        report = VideoReport(device=segmenter.device, model=segmenter.card.name, viewers=kind.viewers)
        with FaceFinder(models_dir()) as finder, locked([p for p in (job.out, job.matte) if p is not None]):
            cutter = HeadCutter(segmenter, finder, job.options)
            outputs = _open_outputs(job, source, segmenter, kind, matte_kind)
            outputs.take_up(source, cutter)
            _run(source, cutter, outputs, report, progress or (lambda done, total: None))
        report.stages_ms = cutter.times.mean_ms()
        report.notes = outputs.notes + [note for sink in outputs.sinks for note in sink.notes] + source.warnings
        if report.interrupted and (hint := outputs.hint()):
            report.notes.append(hint)
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


class DirectCut:
    """The outputs of a film that is made in one go. See ``LongCut``, which is what long films have in its place."""

    first = 0

    def __init__(self, sinks: list[VideoSink]) -> None:
        self.sinks, self._tee = sinks, TeeSink(sinks)
        self.tally, self.notes = Tally(), list[str]()

    def take_up(self, source: FileSource, cutter: HeadCutter) -> None:
        """There is nothing to go on from."""

    def cutouts(self, source: FileSource, cutter: HeadCutter) -> Iterator[Cutout]:
        """All cut-outs to be made."""
        return cut_stream(source, cutter)

    def write(self, cutout: Cutout) -> None:
        """Write to each output."""
        self._tee.write(cutout)
        self.tally.add(cutout)

    def close(self) -> None:
        """Finish all outputs with what there is."""
        self._tee.close()

    def stop(self) -> None:
        """``close`` finishes the outputs with what there is at any time."""

    def incomplete(self) -> None:
        """Outputs go under another name."""
        for sink in self.sinks:
            sink.incomplete()

    def discard(self) -> None:
        """Nothing is kept."""
        for sink in self.sinks:
            sink.discard()

    @property
    def joined(self) -> list[Path]:
        """The outputs there are after ``close``."""
        return [sink.final_path for sink in self.sinks if sink.frames]

    def hint(self) -> str:
        """Nothing is kept to go on from."""
        return ""


def _open_outputs(
    job: VideoJob, source: FileSource, segmenter: CropSegmenter, kind: OutputFormat, matte_kind: OutputFormat | None
) -> DirectCut | LongCut:
    """Outputs in segments where the film is long enough for two and all formats allow it."""
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
    wanted: list[tuple[Path, OutputFormat, dict[str, Any]]] = [(job.out, kind, {"background": background})]
    if job.matte is not None and matte_kind is not None:
        wanted.append((job.matte, matte_kind, {"what": "matte"}))
    every = round(Fraction(job.segment_s) * source.rate)
    folder = work_folder(job.out)
    long = every > 0 and (source.frames_expected or 2 * every) >= 2 * every
    if not long or not all(can_be_segmented(kind) for _, kind, _ in wanted):
        return DirectCut(_opened(wanted, lambda path, kind, more: VideoSink(path, kind, clip, **more)))
    sinks = _opened(wanted, lambda path, kind, more: segment_sink(path, kind, clip, folder, **more))
    return LongCut(folder, _identity(job, segmenter, [kind for _, kind, _ in wanted], every), sinks, every=every)


def _opened(wanted: list[tuple[Path, OutputFormat, dict[str, Any]]], opened: Callable[..., Any]) -> list[Any]:
    """A sink for each output; none stays open where one cannot be opened."""
    sinks: list[Any] = []
    try:
        for path, kind, more in wanted:
            sinks.append(opened(path, kind, more))
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise
    return sinks


def _identity(job: VideoJob, segmenter: CropSegmenter, kinds: list[OutputFormat], every: int) -> dict[str, Any]:
    """All that decides what comes out."""
    card = segmenter.card
    weights = card.sha256 or (fingerprint(card.file) if card.file.exists() else "")
    model = {"name": card.name, "weights": weights, "device": segmenter.device}
    options = dataclasses.asdict(job.options) | {"background": job.background, "codec": job.codec}
    options |= {"outputs": [dataclasses.asdict(kind) for kind in kinds], "segment": every}
    behind = parse_background(job.background)
    return identity_of(job.source, options, model, [behind] if isinstance(behind, Path) else [])


def _run(
    source: FileSource,
    cutter: HeadCutter,
    outputs: DirectCut | LongCut,
    report: VideoReport,
    progress: Callable[[int, int], None],
) -> None:
    started = time.monotonic()
    done = copy.deepcopy(outputs.tally)
    report.resumed_from_frame = outputs.first
    sink = ThreadedSink(outputs)
    try:
        if outputs.first:
            progress(outputs.first, source.frames_expected)
        for cutout in outputs.cutouts(source, cutter):
            sink.write(cutout)
            if cutout.frame.index >= outputs.first:
                done.add(cutout)
                progress(done.frames, source.frames_expected)
    except KeyboardInterrupt:
        report.interrupted = True
        outputs.stop()
    except SourceError as error:
        outputs.incomplete()
        sink.close()
        raise SourceError(_with_rest(error, outputs)) from error
    except BaseException as error:
        _give_up(sink, outputs)
        raise _with_hint(error, outputs) from error
    try:
        sink.close()
    except KeyboardInterrupt:
        report.interrupted = True
    except SinkError as error:
        _give_up(sink, outputs)
        raise _with_hint(error, outputs) from error
    report.frames_in, report.frames_with_head, report.heads = done.frames, done.with_head, done.heads
    report.frames_out = outputs.tally.frames
    report.outputs = outputs.joined
    report.seconds = time.monotonic() - started


def _give_up(sink: ThreadedSink, outputs: DirectCut | LongCut) -> None:
    outputs.discard()
    try:
        sink.close()
    except SinkError:
        pass  # the first error is on its way already


def _with_hint(error: BaseException, outputs: DirectCut | LongCut) -> BaseException:
    return SinkError(f"{error}; {hint}") if isinstance(error, SinkError) and (hint := outputs.hint()) else error


def _with_rest(error: SourceError, outputs: DirectCut | LongCut) -> str:
    if not outputs.joined:
        return f"{error}; nothing was written"
    hint = outputs.hint()
    rest = f"{error}; the {outputs.tally.frames} frames before that are in {outputs.joined[0]}"
    return f"{rest}; if it can be read again, {hint}" if hint else rest
