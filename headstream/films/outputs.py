"""Where a job's cut-outs go: outputs made in one go, or in segments where the film is long."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Generator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.backdrop import backdrop
from headstream.capture.file import FileSource
from headstream.films.journal import fingerprint, identity_of
from headstream.films.resume import LongCut, Tally, work_folder
from headstream.films.videojob import VideoJob
from headstream.fixes.read import Fix
from headstream.pipeline import HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.threads import JoinedThread
from headstream.sinks.background import handed_over, parse_background
from headstream.sinks.encode import tells_fields
from headstream.sinks.film_segments import FilmSegments
from headstream.sinks.formats import OutputFormat, frames_from, is_sequence, sequence_place
from headstream.sinks.picture_segments import PictureSegments
from headstream.sinks.segments import SegmentSink
from headstream.sinks.threaded import TeeSink
from headstream.sinks.video import ClipInfo, VideoSink
from headstream.stream import cut_stream
from headstream.types import Cutout

_DEPTHS = {"ffv1": 16, "png": 16, "prores_aw": 10, "prores_ks": 10}
log = logging.getLogger(__name__)

WHOLE_ONLY = {"webp", "apng", "gif"}  # each picture of these is made of the ones before


class DirectCut:
    """The outputs of a film that is made in one go. See ``LongCut``, which is what long films have in its place."""

    first = 0

    def __init__(self, folder: Path, sinks: list[VideoSink]) -> None:
        self.folder, self.sinks, self._tee = folder, sinks, TeeSink(sinks)
        self.tally, self.notes = Tally(), list[str]()
        self._discarded = False
        self._closing: JoinedThread | None = None
        self._error: BaseException | None = None

    def take_up(self, source: FileSource, cutter: HeadCutter) -> None:
        """There is nothing to go on from; what a run in segments left is not left lying about."""
        if self.folder.exists():
            self.notes.append(
                f"what {self.folder} holds of an earlier run in segments is of no use here; starting anew"
            )
            log.warning(self.notes[-1])
            shutil.rmtree(self.folder, ignore_errors=True)

    def cutouts(self, source: FileSource, cutter: HeadCutter) -> Generator[Cutout, None, None]:
        """All cut-outs to be made."""
        return cut_stream(source, cutter, on_stop=source.close)

    def write(self, cutout: Cutout) -> None:
        """Write to each output. Where that fails, nothing is kept."""
        try:
            self._tee.write(cutout)
        except BaseException:
            self.discard()
            raise
        self.tally.add(cutout)

    def close(self) -> None:
        """Finish all outputs with what there is. Where an interrupt falls into it, call it again."""
        if self._closing is None:  # in a thread: interrupts do not reach into a file that is being finished
            self._closing = JoinedThread(target=self._finish, name="headstream-finish")
            self._closing.start()
        self._closing.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _finish(self) -> None:
        for sink in self.sinks:
            try:
                sink.close()
            except BaseException as error:  # raised again where somebody can act on it
                self._error = self._error or error
                self.discard()  # what comes after it takes no earlier one's place either

    def stop(self) -> None:
        """``close`` finishes the outputs with what there is."""
        for sink in self.sinks:
            sink.stop()

    def incomplete(self) -> None:
        """Outputs go under another name."""
        for sink in self.sinks:
            sink.incomplete()

    def discard(self) -> None:
        """Nothing is kept; ``close`` frees what there is."""
        self._discarded = True
        for sink in self.sinks:
            sink.abandon()

    @property
    def joined(self) -> list[Path]:
        """The outputs there are after ``close``."""
        return [] if self._discarded else [sink.final_path for sink in self.sinks if sink.frames]

    def hint(self) -> str:
        """Nothing is kept to go on from."""
        return ""


Outputs = DirectCut | LongCut


def frames_beyond(outputs: Outputs) -> list[str]:
    """Notes on folders that hold more frames than were written: an earlier, longer film's, which editors would show after it."""
    notes = []
    for path in filter(is_sequence, outputs.joined):
        folder, pattern = sequence_place(path)
        following = outputs.tally.frames + 1
        if count := sum(1 for _ in frames_from(folder, pattern, following)):
            first = pattern % following
            frames = f"{count} frame{'s' * (count > 1)}"
            notes.append(
                f"{folder} also holds {frames} of an earlier film, from {first} on; remove them, or they follow"
            )
    return notes


def lost(source: FileSource, kind: OutputFormat) -> list[str]:
    """Notes on what the picture loses on the way: bits for which an output of that kind has room, and what it cannot tell."""
    notes = []
    own, kept = source.bits
    if kept < min(own, _DEPTHS.get(kind.codec, 8)):
        notes.append(f"the picture of {source.path.name} has {own} bits, of which {kept} are kept")
    if source.hdr and kind.layout in {"rgba", "palette"}:
        notes.append(f"HDR, which {kind.name} cannot tell: its colours look flat; .mov and .mkv keep it")
    return notes


def hides_fields(source: FileSource, kind: OutputFormat) -> bool:
    """Whether the film's frames are two fields each, and an output of that kind does not say so."""
    told = source.top_field_first is not None and tells_fields(kind, source.size_px)
    return source.interlaced and not told


def clip_of(source: FileSource) -> ClipInfo:
    """What outputs must know of a file."""
    return ClipInfo(
        source.size_px,
        source.rate,
        time_base=source.time_base,
        sample_aspect_ratio=source.sample_aspect_ratio,
        video_start_s=source.first_pts_s - source.start_s,
        path=None if source.of_pictures else source.path,
        start_s=source.start_s,
        timecode=source.timecode,
        top_field_first=source.top_field_first,
        mastering=source.mastering,
        colour=source.colour,
    )


def open_outputs(
    job: VideoJob,
    source: FileSource,
    segmenter: CropSegmenter,
    kinds: tuple[OutputFormat, OutputFormat | None],
    *,
    lead: int,
    fixes: Sequence[Fix] = (),
    threads: int | None = None,
) -> Outputs:
    """Outputs in segments where the film is long enough for two and all formats allow it, and nobody wants to review it as
    a whole. kinds: of the output and of the matte's.  lead: as of ``LongCut``.  fixes: what the job's corrections say.
    threads: of the decoder of a film behind."""
    kind, matte_kind = kinds
    clip = clip_of(source)
    background = backdrop(job.background, threads=threads)
    wanted: list[tuple[Path, OutputFormat, dict[str, Any]]] = [(job.out, kind, {"background": background})]
    if job.matte is not None and matte_kind is not None:
        wanted.append((job.matte, matte_kind, {"what": "matte"}))
    every = max(1, round(Fraction(job.segment_s) * source.rate)) if job.segment_s else 0
    folder = work_folder(job.out)
    long = every > 0 and (source.frames_expected or 2 * every) >= 2 * every and job.review is None
    long = long and all(kind.container not in WHOLE_ONLY for _, kind, _ in wanted)
    if not long or every <= lead:
        direct = DirectCut(folder, _opened(wanted, lambda path, kind, more: VideoSink(path, kind, clip, **more)))
        if long:
            why = "corrections and look-ahead reach" if fixes else "look-ahead reaches"
            direct.notes.append(f"made in one piece: {why} {lead} frames, and a segment has {every}")
        return direct
    with handed_over(background):  # what decides is in files, which may be gone
        identity = _identity(job, segmenter, [kind for _, kind, _ in wanted], every, fixes)
    sinks = _opened(wanted, lambda path, kind, more: _segment_sink(path, kind, clip, folder, **more))
    return LongCut(folder, identity, sinks, every=every, lead=lead)


def _opened(wanted: list[tuple[Path, OutputFormat, dict[str, Any]]], opened: Callable[..., Any]) -> list[Any]:
    """A sink for each output; none stays open where one cannot be opened."""
    sinks: list[Any] = []
    try:
        for path, kind, more in wanted:
            with handed_over(more.get("background")):
                sinks.append(opened(path, kind, more))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _identity(
    job: VideoJob, segmenter: CropSegmenter, kinds: list[OutputFormat], every: int, fixes: Sequence[Fix]
) -> dict[str, Any]:
    """All that decides what comes out."""
    card = segmenter.card
    weights = card.mark(lambda file: card.revision or (str(fingerprint(file)) if file.exists() else ""))
    model = {"name": card.name, "weights": weights, "device": segmenter.device}
    behind = parse_background(job.background)
    # A file's name may be told in many ways; what is in it is asked for below.
    options = dataclasses.asdict(job.options) | {"background": "file" if isinstance(behind, Path) else behind}
    options |= {"codec": job.codec, "outputs": [dataclasses.asdict(kind) for kind in kinds], "segment": every}
    options |= {"look_ahead": job.look_ahead, "rate": job.rate}
    others = [path for path in (behind, job.fixes, *(fix.mask for fix in fixes)) if isinstance(path, Path)]
    return identity_of(job.source, options, model, others)


def _segment_sink(path: Path, kind: OutputFormat, clip: ClipInfo, folder: Path, **more: Any) -> SegmentSink:
    return (PictureSegments if kind.container == "image2" else FilmSegments)(path, kind, clip, folder, **more)
