"""One video file from end to end: what `headstream video` does, for any caller."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headstream.apart import check_apart, model_files
from headstream.capture.file import FileSource
from headstream.capture.survey import shown_s
from headstream.errors import SourceError, UsageError
from headstream.films.foresight import file_cutter
from headstream.films.lookahead import FRAMES, with_look_ahead
from headstream.films.outputs import Outputs, frames_beyond, hides_fields, lost, open_outputs
from headstream.films.videojob import VideoJob, VideoReport
from headstream.films.writing import give_up, write_out
from headstream.fixes.read import Film, Fix, read_fixes
from headstream.fixes.spread import Outcome, reach, with_fixes
from headstream.review.collect import Review, reviewed
from headstream.review.page import write_page
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.sinks.background import parse_background
from headstream.sinks.formats import CUTOUTS, FILMS, OutputFormat, output_format
from headstream.sinks.lock import locked
from headstream.sinks.partial import check_file, is_page
from headstream.track.finder import FaceFinder
from headstream.types import Cutout

__all__ = ["Tools", "VideoJob", "VideoReport", "cautions", "check_job", "cut_video_file"]

_OPAQUE = ".mp4, or --codec h264 in .mov or .mkv"
_MATTE_LAYOUTS = {"planes", "prores", "opaque"}


@dataclass
class Tools:
    """What is loaded once for many files. Not safe to share between threads.

    threads: how many each of the decoder, the network and the encoder may use; None for what suits the machine.
    """

    segmenter: CropSegmenter
    finder: FaceFinder
    threads: int | None = None

    @property
    def device(self) -> str:
        """What the network runs on."""
        return self.segmenter.device

    @property
    def model(self) -> str:
        """The network's name."""
        return self.segmenter.name


@contextmanager
def _open_tools(model: str, device: str) -> Iterator[Tools]:
    segmenter = load_segmenter(model, device=device, fast=True)
    with FaceFinder(models_dir()) as finder:
        yield Tools(segmenter, finder)


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
    with FileSource(job.source, threads=threads, rate=job.rate) as source, ExitStack() as stack:
        times_s = shown_s(job.source) if job.fixes is not None and not source.of_pictures else []
        film = Film(source.size_px, source.rate, len(times_s) or source.frames_expected, times_s)
        fixes = read_fixes(job.fixes, film) if job.fixes is not None else []
        check_apart([fix.mask for fix in fixes if fix.mask is not None], _written(job))
        tools = tools or stack.enter_context(_open_tools(job.model, job.device))
        report = VideoReport(device=tools.device, model=tools.model, viewers=kind.viewers)
        report.doubts = Review(job.options.part) if job.review is not None else None
        kinds = (kind.with_threads(threads), matte_kind and matte_kind.with_threads(threads))
        with locked([p for p in (job.out, job.matte) if p is not None]):
            cutter = file_cutter(tools.segmenter, tools.finder, job.options)
            lead = (FRAMES if job.look_ahead else 0) + reach(fixes, film)
            outputs = open_outputs(job, source, tools.segmenter, kinds, lead=lead, fixes=fixes, threads=threads)
            try:
                outputs.take_up(source, cutter)
            except BaseException:
                give_up(outputs, outputs)
                raise
            try:
                finished = _finished(outputs.cutouts(source, cutter), job, fixes, source, report)
                with closing(_shown(finished, watch)) as cutouts:
                    _run(source, cutouts, outputs, report, progress or (lambda done, total: None))
            except SourceError:
                _write_review(job, report)  # of what there was
                raise
        _write_review(job, report)
        report.stages_ms = cutter.times.mean_ms()
        report.notes += (
            frames_beyond(outputs)
            + outputs.notes
            + [note for sink in outputs.sinks for note in sink.notes]
            + source.warnings
            + cautions(source, kind)
        )
        if report.interrupted and (hint := outputs.hint()):
            report.notes.append(hint)
    return report


def cautions(source: FileSource, kind: OutputFormat) -> list[str]:
    """What does not look as one might expect in an output of that kind: notes for who ordered it."""
    found = (source.left_out if kind.streams else []) + lost(source, kind)
    if source.assumes_rate:
        found.append(f"assuming {source.rate} pictures a second; set another with --rate")
    if source.hides_alpha:
        found.append("the film's own transparency (VP9) cannot be read here: it is cut as if it were opaque")
    if source.interlaced:
        untold = ", which the output does not tell" if hides_fields(source, kind) else ""
        found.append(
            f"marked as interlaced: each frame is cut as it is, both fields in one{untold}; "
            "where moving edges show combs, deinterlace it first"
        )
    return found


def _write_review(job: VideoJob, report: VideoReport) -> None:
    if job.review is not None and report.doubts is not None and report.doubts.frames:
        write_page(job.review, job.source.name, report.doubts)


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


def _shown(
    cutouts: Generator[Cutout, None, None], watch: Callable[[Cutout], None] | None
) -> Generator[Cutout, None, None]:
    with closing(cutouts):
        for cutout in cutouts:
            if watch is not None:
                watch(cutout)
            yield cutout


def check_job(job: VideoJob) -> tuple[OutputFormat, OutputFormat | None]:
    """The formats of a job's outputs. Raises UsageError for what cannot be, before anything is opened."""
    background = parse_background(job.background)
    transparent = background == "transparent"
    known = CUTOUTS if transparent else _OPAQUE
    kind = output_format(job.out, codec=job.codec, transparent=transparent, known=known)
    if not transparent and kind.layout != "opaque":
        raise UsageError(f"{job.out}: a background needs an opaque output; name it {_OPAQUE}")
    matte_kind = None
    if job.matte is not None:
        matte_kind = output_format(job.matte, transparent=False, known=FILMS)
        if matte_kind.layout not in _MATTE_LAYOUTS and matte_kind.container != "image2":
            raise UsageError(f"{job.matte}: a matte is written as .mov, .mkv, .webm, .mp4 or a folder of PNG")
    if job.review is not None and not is_page(job.review):
        raise UsageError(f"{job.review}: a review is a page; name it .html")
    if job.review is not None:
        check_file(job.review)
    if not 0 <= job.segment_s < math.inf:
        raise UsageError(f"--segment {job.segment_s}: expected a number of seconds, or 0 for one piece")
    reads = [job.source, *model_files(job.model)]
    reads += [path for path in (background, job.fixes) if isinstance(path, Path)]
    check_apart(reads, _written(job))
    return kind, matte_kind


def _written(job: VideoJob) -> list[Path]:
    return [path for path in (job.out, job.matte, job.review) if path is not None]


def _run(
    source: FileSource,
    cutouts: Iterator[Cutout],
    outputs: Outputs,
    report: VideoReport,
    progress: Callable[[int, int], None],
) -> None:
    started = time.monotonic()
    done = copy.deepcopy(outputs.tally)
    report.resumed_from_frame = outputs.first
    if outputs.first:
        progress(outputs.first, source.frames_expected)

    def count(cutout: Cutout) -> None:
        if cutout.frame.index >= outputs.first:
            done.add(cutout)
            progress(done.frames, source.frames_expected)

    report.interrupted = write_out(cutouts, outputs, count)
    report.frames_in, report.frames_with_head, report.heads = done.frames, done.with_head, done.heads
    report.frames_out, report.frames_expected = outputs.tally.frames, source.frames_expected
    report.outputs = outputs.joined
    report.seconds = time.monotonic() - started
