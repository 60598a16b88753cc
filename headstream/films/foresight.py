"""Several frames in one run of the network, for files on a GPU, where a run for one crop leaves most of the device idle.

Where a head's crop lies depends on the mattes before it, so the next crops are guessed: a second tracker goes ahead over
the frames to come and takes it that mattes move along with their faces. When a frame's turn comes, the first tracker
says where its crops really lie. What was asked of that very square is taken; if the guess was wrong, it is asked
again, alone. So heads and crops are those of one frame at a time, and the mattes too, as far as the network's answer does
not depend on what else is in the run. This is speculative execution (as in Leviathan et al., 2023, for language models),
with the exact crop for a test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headstream.pipeline import Answers, Begun, CutOptions, HeadCutter
from headstream.segment.places import looked_at
from headstream.shared.state import pack, unpack
from headstream.track.boxes import centre
from headstream.track.faces import Face
from headstream.track.followed import REMEMBERED
from headstream.track.terms import Evidence, Finder, found_lying, looked, turns_of
from headstream.track.tracker import Tracker
from headstream.types import Box, Float32Array, Frame, Head, Part, Region, Segmenter, UInt8Array

_MOST_CROPS = 32  # of one run: frames times heads

_Look = tuple[int, Region | tuple[Box, ...] | None, int]  # a frame's identity, where or what not, and how it is turned
_View = tuple[Region, int]  # a square of a frame, and how the head in it leans


def _view(head: Head) -> _View:
    return head.crop_px, head.roll_deg


def file_cutter(segmenter: Segmenter, finder: Finder, options: CutOptions | None = None) -> HeadCutter:
    """The cutter for a file's frames: of as many at once as the segmenter's device is good at, one where it does not tell."""
    at_once = getattr(segmenter, "at_once", 1)
    if at_once <= 1:
        return HeadCutter(segmenter, finder, options)
    return BatchCutter(segmenter, finder, options, at_once=at_once)


@dataclass(frozen=True)
class _Answer:
    """A crop (S, S, 3), and what the network says of it."""

    crop: UInt8Array
    planes: dict[Part, Float32Array]


class BatchCutter(HeadCutter):
    """A ``HeadCutter`` that asks the network about several frames in one run where it gets them by ``begin_together``.

    The cut-outs are those of a ``HeadCutter``, to the bit where the network's answer does not depend on what else is in
    the run.  asked, missed: crops the network was asked about, and frames that were foreseen wrongly.
    """

    def __init__(
        self, segmenter: Segmenter, finder: Finder, options: CutOptions | None = None, *, at_once: int = 8
    ) -> None:
        if at_once < 1:
            raise ValueError(f"at_once must be at least 1, got {at_once}")
        self._seen = _SeenFaces(finder)
        super().__init__(segmenter, self._seen, options)
        self.at_once, self._reach = at_once, at_once
        self._lot: dict[int, Frame] = {}  # by identity, and held, so that no other frame can have the same
        self._told: dict[tuple[int, _View, tuple[Part, ...]], _Answer] = {}
        self._asked_of: set[int] = set()
        self._last: dict[int, tuple[Box, Evidence]] = {}
        self.asked = self.missed = 0

    def begin_together(self, frames: Sequence[Frame]) -> Generator[Begun, None, None]:
        """The next frames, one after the other; each is begun when it is asked for."""
        self._take(frames)
        try:
            for frame in frames:
                yield self.begin(frame)
        finally:
            self._take(())

    def _begun(self, frame: Frame, carry: bool) -> Begun:
        if id(frame) not in self._lot:
            self._take([frame])
        return super()._begun(frame, carry)

    def _take(self, frames: Sequence[Frame]) -> None:
        """Another lot of frames: what was told of others is forgotten."""
        self._lot = {id(frame): frame for frame in frames}
        self._told.clear()
        self._asked_of.clear()
        self._seen.forget()

    def _answers(self, frame: Frame, heads: list[Head], *, once_more: bool = False) -> Answers:
        parts = self._planes
        keys = [(id(frame), _view(head), parts) for head in heads]
        if any(key not in self._told for key in keys):
            self._ask(frame, heads, once_more=once_more)
        found = [self._told[key] for key in keys]
        planes = {part: np.stack([answer.planes[part] for answer in found]) for part in parts}
        return np.stack([answer.crop for answer in found]), planes

    def _observe(
        self, people: tuple[Head, ...], evidence: dict[int, Evidence], *, once_more: bool = False
    ) -> frozenset[int]:
        boxes = {head.track_id: head.box_px for head in people}
        self._last = {track_id: last for track_id, last in self._last.items() if track_id in boxes}
        self._last |= {track_id: (boxes[track_id], seen) for track_id, seen in evidence.items()}
        return super()._observe(people, evidence, once_more=once_more)

    def _ask(self, frame: Frame, heads: list[Head], *, once_more: bool) -> None:
        """Run the network on the heads of this frame and, as far as they can be foreseen, of those to come."""
        if id(frame) in self._asked_of and not once_more:  # foreseen wrongly: look less far, until it goes well again
            self.missed += 1
            self._asked_of.clear()
            self._reach = 1
        elif not once_more:
            self._reach = min(self.at_once, 2 * self._reach)
        places = [(frame, _view(head)) for head in heads]
        self._asked_of.add(id(frame))
        # Of a second look nothing can be foreseen: how far the heads reach is known when it is answered.
        for coming, views in () if once_more else self._foreseen(frame, heads):
            if len(places) + len(views) > _MOST_CROPS:
                break
            places += [(coming, view) for view in views]
            self._asked_of.add(id(coming))
        new = {id(where) for where, _ in places} - {frame_id for frame_id, *_ in self._told}
        parts = self._planes
        shown = [(where.picture, region) for where, (region, _) in places]
        rolls = [roll for _, (_, roll) in places]
        crops, planes = looked_at(self._segmenter, shown, parts, self.times, len(new), rolls)
        self.asked += len(places)
        for k, (where, view) in enumerate(places):
            answer = _Answer(crops[k], {part: planes[part][k] for part in parts})
            self._told[id(where), view, parts] = answer

    def _foreseen(self, frame: Frame, heads: list[Head]) -> Iterator[tuple[Frame, list[_View]]]:
        """The frames after ``frame``, each with the views that are likely to be wanted of it."""
        frames = list(self._lot.values())
        here = list(self._lot).index(id(frame))
        coming = frames[here + 1 : here + self._reach]
        if not coming or any(head.track_id not in self._last for head in heads):
            return  # a newcomer's second crop is not where the first one was
        tracker = Tracker(self._seen, self.options.track)
        tracker.restore(unpack(pack(self._tracker.snapshot(), REMEMBERED), REMEMBERED))
        choice = replace(self._choice)
        for later in coming:
            tracker.observe({head.track_id: self._likely(head) for head in heads})
            with self.times.stage("foresee"):
                people = tracker.update(later)
            if tracker.cut_before:
                return  # of another shot nothing is known yet
            heads = choice.of(people, self.options.heads, later.pts) if people else []
            yield later, [_view(head) for head in heads]

    def _likely(self, head: Head) -> Evidence:
        """What a head's matte will say if it moves along with the face."""
        cx, cy = centre(head.box_px)
        if head.track_id not in self._last:
            return Evidence(1.0, (cx, cy))
        box, last = self._last[head.track_id]
        was_x, was_y = centre(box)
        scale = (head.box_px[2] - head.box_px[0]) / (box[2] - box[0])

        def x(value: float) -> float:
            return cx + scale * (value - was_x)

        def y(value: float) -> float:
            return cy + scale * (value - was_y)

        seen = last.seen_px and (x(last.seen_px[0]), y(last.seen_px[1]), x(last.seen_px[2]), y(last.seen_px[3]))
        return Evidence(last.fill, (x(last.centre_px[0]), y(last.centre_px[1])), seen)


class _SeenFaces:
    """A finder that looks at each place of a frame once: the second tracker's looks are the first one's, a moment later."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._found: dict[_Look, list[Face]] = {}
        self._quarters: dict[tuple[int, Box, int], int] = {}

    def scan(self, frame: Frame) -> list[Face]:
        """Faces anywhere in a frame."""
        return self._once((id(frame), None, 0), lambda: self._finder.scan(frame))

    def scan_lying(self, frame: Frame, turns: int, known: Sequence[Box]) -> list[Face]:
        """Faces anywhere in a frame turned."""
        key = (id(frame), tuple(known), turns)
        return self._once(key, lambda: found_lying(self._finder, frame, turns, known))

    def look(self, frame: Frame, region: Region, roll_deg: int = 0) -> list[Face]:
        """Faces in a square region of a frame."""
        return self._once((id(frame), region, roll_deg), lambda: looked(self._finder, frame, region, roll_deg))

    def quarters(self, frame: Frame, face: Face, turns: int = 0) -> int:
        """Which way up a face is."""
        key = (id(frame), face.box_px, turns)
        if key not in self._quarters:
            self._quarters[key] = turns_of(self._finder, frame, face, turns)
        return self._quarters[key]

    def forget(self) -> None:
        """What was seen: frames are known by their identity, which ends with them."""
        self._found.clear()
        self._quarters.clear()

    def _once(self, key: _Look, find: Callable[[], list[Face]]) -> list[Face]:
        if key not in self._found:
            self._found[key] = find()
        return list(self._found[key])
