"""A long film in segments: what is done stays done, whatever becomes of the process that is doing it.

    cut_stream -> watched (a snapshot before each border) -> ... -> write -> segments -> journal -> join

At each border the outputs' encoders end and begin anew, always, so that the result does not depend on where a run was
broken off (as far as the network's answers do not; on a GPU their last bits may). A border is in the journal once its segments
are on the disk; a run taken up there has the cutter, the source and the outputs in the very state they had when it was passed.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from headstream.capture.file import FileSource
from headstream.capture.marks import TRAIL, Mark, Trail
from headstream.errors import HeadstreamError, SinkError
from headstream.films.journal import Journal, Segment, difference, read_journal
from headstream.pipeline import HeadCutter
from headstream.shared.disk import remove
from headstream.shared.state import Packed, pack, unpack
from headstream.sinks.clipfile import beside
from headstream.sinks.partial import is_refusal, sink_error
from headstream.sinks.segments import SegmentSink
from headstream.stream import cut_stream
from headstream.types import Cutout, Frame

log = logging.getLogger(__name__)

_KEPT = (Packed, Mark)


@dataclass
class Tally:
    """Frames so far, those with a head, and person's number -> frames they are in."""

    frames: int = 0
    with_head: int = 0
    heads: Counter[int] = field(default_factory=Counter)

    def add(self, cutout: Cutout) -> None:
        """One more."""
        self.frames += 1
        self.with_head += bool(cutout.heads)
        self.heads.update(head.track_id for head in cutout.heads)


class LongCut:
    """The outputs of a long film: a Sink, and the keeper of the journal.

    ``take_up`` first, then ``cutouts`` to its end, each of them to ``write``, then ``close``. ``stop`` before ``close``
    makes a playable file of what is done and keeps the rest for another time; ``discard`` makes none.
    every: frames of a segment.  first: the frame this run goes on from.  tally: of the whole film, this run or before.
    lead: how many frames before a border whatever stands between ``cutouts`` and ``write`` has to see; they come out of
    ``cutouts`` again, with a number below ``first``, and ``write`` leaves them alone.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], sinks: Sequence[SegmentSink], *, every: int, lead: int = 0
    ) -> None:
        if not 0 <= lead < every:
            raise ValueError(f"lead must be in 0..{every - 1}, got {lead}")
        self.folder, self.sinks, self._every, self._lead = folder, list(sinks), every, lead
        self._journal = Journal(folder, identity)
        self._borders: dict[int, tuple[Packed, Mark]] = {}
        self._last_pts = Fraction(0)
        self._warnings: list[str] = []
        self._ending = "whole"
        self._known = True  # what an earlier run has left: not thrown away before it was looked at
        self._failed = False  # whatever is asked for then, no file is made
        self._refused = False  # by an encoder or a muxer, which would do it again
        self._closed = False
        self.first = 0
        self.tally = Tally()
        self.joined: list[Path] = []
        self.notes: list[str] = []

    # ---- before

    def take_up(self, source: FileSource, cutter: HeadCutter) -> None:
        """Go on where an earlier run of the same job was broken off, or begin. Raises SinkError."""
        self._known = not self.folder.exists()
        reason = "" if self._known else self._taken_up(source, cutter)
        self._known = True
        if reason:
            self._say(f"what {self.folder} holds of an earlier run is of no use here: {reason}; starting anew")
        if not self._journal.segments:
            self._clear()
        elif self._journal.complete:
            self._say("all frames were done by an earlier run; putting them together")
        else:
            self._say(f"going on from frame {self.first}, where an earlier run was broken off")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sink_error(self.folder, error) from error

    def _taken_up(self, source: FileSource, cutter: HeadCutter) -> str:
        """Restore everything. Returns why not, "" where there is nothing or all is well."""
        untouched = cutter.snapshot()
        try:
            found = read_journal(self.folder)
            if found is None:
                return ""
            if different := difference(found.identity, self._journal.identity):
                return different
            if not all(sink.final_path.exists() for sink in self.sinks[: found.joined]):
                return "an output it had finished is gone"
            if missing := self._missing(found):
                return f"its segment {missing} is missing or damaged"
            cut, mark, outputs, counts = unpack(found.saved_state(), _KEPT)
            if not found.complete:
                cutter.restore(cut)
        except (ValueError, TypeError, OSError) as error:
            cutter.restore(untouched)
            return str(error)
        for sink, snapshot in zip(self.sinks, outputs, strict=True):
            sink.restore(snapshot)
        self._journal, self.first = found, found.frames
        self.tally = Tally(counts[0], counts[1], Counter(counts[2]))
        if found.complete:
            source.warnings[:] = mark.warnings
        else:
            source.begin_at(mark)
        return ""

    def _missing(self, journal: Journal) -> str:
        """The first segment that is not there, or not whole; "" if all are."""
        for segment in journal.segments:
            needed = list(zip(self.sinks, segment.sizes, strict=True))[journal.joined :]
            if not all(sink.holds(segment.name, size) for sink, size in needed):
                return segment.name
        return ""

    # ---- the way of the frames

    def cutouts(self, source: FileSource, cutter: HeadCutter) -> Generator[Cutout, None, None]:
        """All cut-outs still to be made, with a snapshot of everything before each border."""
        if self._journal.complete:
            return
        trail, self._warnings = Trail(), source.warnings
        following = 0
        try:
            stream = cut_stream(source, cutter, on_stop=source.close, settled=lambda frame: not self._ahead(frame))
            for cutout in stream:
                following = cutout.frame.index + 1
                ahead = self._ahead(cutout.frame)
                if ahead < TRAIL:
                    trail.add(cutout.frame)
                if ahead == 0:
                    self._borders[following + self._lead] = (
                        cutter.snapshot(),
                        trail.mark(following, warnings=source.warnings),
                    )
                yield cutout
        except HeadstreamError:
            # The frames that are still held back come out now, without what they would have seen: not to be kept.
            for border in list(self._borders):
                if border > following - self._lead:
                    self._borders.pop(border, None)
            raise

    def _ahead(self, frame: Frame) -> int:
        """Frames from this one until the next snapshot is taken."""
        return -(frame.index + 1 + self._lead) % self._every

    def write(self, cutout: Cutout) -> None:
        """Take one cut-out; before the first of a new segment, the last one is put on the disk. Raises SinkError."""
        if cutout.frame.index < self.first:
            return
        try:
            border = self._borders.pop(cutout.frame.index, None)
            if border is not None and self._unfinished:  # without one, what follows is no more than the rest
                self._finish_segment(border)
            for sink in self.sinks:
                sink.write(cutout)
        except BaseException as error:
            self._failed, self._refused = True, is_refusal(error.__cause__)
            raise
        self.tally.add(cutout)
        self._last_pts = cutout.frame.pts

    @property
    def _unfinished(self) -> int:
        """Frames in the current segment."""
        return self.tally.frames - self._journal.frames

    def _finish_segment(self, border: tuple[Packed, Mark], *, complete: bool = False) -> None:
        name = self._next_name()
        sizes = [sink.finish(name) for sink in self.sinks]
        counts = (self.tally.frames, self.tally.with_head, dict(self.tally.heads))
        outputs = [sink.snapshot() for sink in self.sinks]
        state = pack((*border, outputs, counts), _KEPT)
        segment = Segment(name, self._unfinished, str(self._last_pts), sizes)
        self._noted(lambda: self._journal.add(segment, state, complete=complete))

    def _next_name(self) -> str:
        return f"{self._journal.frames:07d}-{self.tally.frames:07d}"

    # ---- the end

    def stop(self) -> None:
        """The film was not seen to its end, on a person's wish: ``close`` makes a file of what there is."""
        self._ending = "stopped"

    def incomplete(self) -> None:
        """The film breaks off: ``close`` makes a file of what there is, under another name."""
        self._ending = "stopped"
        for sink in self.sinks:
            sink.incomplete()

    def discard(self) -> None:
        """``close`` makes no file; finished segments stay."""
        self._ending = "discarded"

    def close(self) -> None:
        """End as told. Safe to call again. Raises SinkError; finished segments stay then."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failed or not self.tally.frames:
                return
            if self._ending == "whole":
                self._close_whole()
            elif self._ending == "stopped":
                self._close_early()
        except SinkError as error:
            self._refused = is_refusal(error.__cause__)
            raise
        finally:
            for sink in self.sinks:
                sink.close()
            if self._known and self._missing(self._journal):  # spent in a join for want of room, or found damaged there
                self._journal.segments = []
            if self._known and not self._journal.segments:
                self._clear()

    def _close_whole(self) -> None:
        if self._unfinished:
            self._finish_segment(
                (Packed(None), Mark(self.tally.frames, (), False, tuple(self._warnings))), complete=True
            )
        names = [segment.name for segment in self._journal.segments]
        for number, sink in enumerate(self.sinks):
            if number >= self._journal.joined:
                sink.join(names, whole=True)
                self._noted(self._journal.add_joined)
                sink.forget(names)
            self.joined.append(sink.final_path)
        self._journal.segments = []  # nothing to go on from: the folder goes

    def _noted(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise sink_error(self.folder, error) from error

    def _close_early(self) -> None:
        names = [segment.name for segment in self._journal.segments]
        rest = [self._next_name()] if self._unfinished else []
        try:
            for sink in self.sinks:
                for name in rest:
                    sink.finish(name)
                sink.join(names + rest, whole=False)
                self.joined.append(sink.final_path)
        finally:
            for sink in self.sinks:
                sink.forget(rest)

    def hint(self) -> str:
        """How to go on, in words; "" where nothing is kept."""
        if not self._journal.segments:
            return ""
        if self._refused:
            return f"the finished frames stay in {self.folder}; to start anew, remove it"
        further = f"goes on from frame {self._journal.frames}"
        if self._journal.complete:
            further = "puts the finished frames together"
        return f"the same command {further} (to start anew, remove the folder {self.folder})"

    def _clear(self) -> None:
        """Remove what is kept."""
        remove(self.folder / "journal.json")  # first: what is left without it is of no meaning
        shutil.rmtree(self.folder, ignore_errors=True)
        for sink in self.sinks:
            sink.wipe()

    def _say(self, line: str) -> None:
        self.notes.append(line)
        log.warning(line)


def work_folder(output: Path) -> Path:
    """Where the segments of an output are kept."""
    return beside(output, "work")
