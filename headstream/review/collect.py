"""Doubtful frames of a whole film as a list that stays short: neighbours are one entry, and only the worst are kept."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from headstream.review.doubts import Doubter, Doubts, Reason
from headstream.review.picture import pictures_of
from headstream.types import Cutout, Frame, Part, Region

_JOIN = 8  # fine frames between two doubtful ones that are still one entry
_LONGEST_GAP_S = 3.0  # who is away for longer has left
_REMEMBERED = 400  # frames: more than the longest gap has
_ANEW = 1.15  # how much worse than the picture at hand a frame must be for another: pictures take a millisecond


@dataclass
class Entry:
    """Neighbouring doubtful frames. first, last, worst: (frame number, seconds).

    reasons: reason -> frames.  score: of the worst frame, 0..1, the one ``whole`` and ``near`` (JPEG) show.  near_px: where
    ``near`` lies in the frame.
    """

    first: tuple[int, float]
    last: tuple[int, float]
    worst: tuple[int, float] = (0, 0.0)
    frames: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    score: float = -1.0
    whole: bytes = b""
    near: bytes | None = None
    near_px: Region | None = None

    def add(self, cutout: Cutout, reasons: dict[Reason, float], near_px: Region | None) -> None:
        """One more frame."""
        self.last = place(cutout.frame)
        self.frames += 1
        self.reasons.update(reasons.keys())
        worst = max(reasons.values())
        if worst > self.score * _ANEW:
            self.worst, self.score = self.last, worst
            self.near_px = near_px
            self.whole, self.near = pictures_of(cutout, near_px)

    def join(self, other: Entry) -> None:
        """Take in an entry that lies inside of this one or follows it."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.frames += other.frames
        self.reasons.update(other.reasons)
        if other.score > self.score:
            self.worst, self.score = other.worst, other.score
            self.whole, self.near, self.near_px = other.whole, other.near, other.near_px

    @property
    def rank(self) -> tuple[float, int, int]:
        """The worse, the larger; of equals the longer, then the earlier."""
        return (round(self.score, 3), self.frames, -self.first[0])


def place(frame: Frame) -> tuple[int, float]:
    """A frame's number and time in seconds."""
    return frame.index, float(frame.pts)


@dataclass
class _Away:
    """Somebody who was in the shot a moment ago and is not now."""

    gap: Entry
    since_s: float


class Review:
    """Takes every cut-out of a film, in order, and keeps the ``limit`` worst places.

    part: what is cut.
    settled: numbers of frames somebody has corrected by hand, as far as is known by now; they are not doubted.
    frames: looked at.  doubtful: frames with a doubt.  counts: reason -> frames.  places: entries, kept or not.
    Memory does not grow with the film.
    """

    def __init__(self, part: Part = "head", limit: int = 50) -> None:
        self.frames = self.doubtful = self.places = 0
        self.end_s = 0.0
        self.counts: Counter[Reason] = Counter()
        self._limit = limit
        self.settled: Collection[int] = ()
        self._kept: list[tuple[tuple[float, int, int], Entry]] = []
        self._doubter = Doubter(part)
        self._open: Entry | None = None
        self._away: dict[int, _Away] = {}
        self._present: dict[int, Region] = {}
        self._counted: set[int] = set()

    def add(self, cutout: Cutout) -> None:
        """The next frame."""
        self.frames += 1
        self.end_s = float(cutout.frame.pts)
        doubts = self._doubter.look(cutout)
        if doubts.cut:
            self._end_shot()
        self._follow_gaps(cutout)
        if doubts.reasons and cutout.frame.index not in self.settled:
            self._doubt(cutout, doubts)
        elif self._open is not None and cutout.frame.index - self._open.last[0] > _JOIN and not self._away:
            self._close_open()

    def entries(self) -> list[Entry]:
        """The worst places, the worst first. Call at the end."""
        self._end_shot()
        return [entry for _, entry in sorted(self._kept, key=lambda pair: pair[0], reverse=True)]

    def _doubt(self, cutout: Cutout, doubts: Doubts) -> None:
        here = place(cutout.frame)
        if self._open is not None and here[0] - self._open.last[0] > _JOIN + 1:
            self._close_open()
        if self._open is None:
            self._open = Entry(here, here)
        self._open.add(cutout, doubts.reasons, doubts.near_px)
        self._count(range(here[0], here[0] + 1), doubts.reasons)

    def _follow_gaps(self, cutout: Cutout) -> None:
        """Heads that are missing now, and those that are back: only who comes back was lost."""
        now_s = float(cutout.frame.pts)
        present = {head.track_id: head.crop_px for head in cutout.heads}
        for track_id in [k for k in self._away if k in present]:
            self._lost(self._away.pop(track_id).gap)
        lost = set(self._present) - set(present)
        # Where all are others at once, it is the choice that fell on somebody else.
        if lost and (len(present) < len(self._present) or set(present) & set(self._present)):
            here = place(cutout.frame)
            for track_id in lost:
                self._away.setdefault(track_id, _Away(Entry(here, here), now_s))
        for track_id, away in list(self._away.items()):
            if now_s - away.since_s > _LONGEST_GAP_S:
                del self._away[track_id]
            elif cutout.frame.index not in self.settled:
                away.gap.add(cutout, {"head_lost": 1.0}, self._present.get(track_id))
        self._present = present

    def _lost(self, gap: Entry) -> None:
        if not gap.frames:
            return
        self._count(range(gap.first[0], gap.last[0] + 1), ("head_lost",))
        if self._open is not None and gap.first[0] - self._open.last[0] > _JOIN + 1:
            self._close_open()
        if self._open is None:
            self._open = gap
        else:
            self._open.join(gap)

    def _count(self, numbers: range, reasons: Iterable[Reason]) -> None:
        """A frame may be doubted for one head at once and for another, who comes back, later."""
        self._counted = {number for number in self._counted if number > numbers[-1] - _REMEMBERED}
        self.doubtful += len(set(numbers) - self._counted)
        self._counted.update(numbers)
        for reason in reasons:
            self.counts[reason] += len(numbers)

    def _end_shot(self) -> None:
        self._away.clear()
        self._present = {}
        self._close_open()

    def _close_open(self) -> None:
        if self._open is None:
            return
        self.places += 1
        heapq.heappush(self._kept, (self._open.rank, self._open))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)
        self._open = None


def reviewed(cutouts: Iterator[Cutout], review: Review) -> Iterator[Cutout]:
    """The same cut-outs, each shown to ``review`` on the way."""
    for cutout in cutouts:
        review.add(cutout)
        yield cutout
