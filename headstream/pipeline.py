"""The life of a frame. Start reading here.

    source -> [grab thread] -> tracker -> segmenter -> [matte thread] -> matte -> Cutout -> [sink thread] -> sink

``HeadCutter.cut`` is one frame's way through the middle rooms; ``cut_stream``, in ``stream.py``, runs a whole source through it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from headstream.choice import Choice, Heads
from headstream.errors import UsageError
from headstream.matte.neighbour import alone
from headstream.matte.refine import HeadMatte, Layer, MatteOptions, merged
from headstream.matte.temporal import MatteState
from headstream.segment.places import looked_at, side_of
from headstream.shared.colour import crop_resized
from headstream.shared.state import Packed, pack, unpack
from headstream.timing import StageTimes
from headstream.track import followed
from headstream.track.evidence import cut_sides, evidence_of
from headstream.track.terms import Evidence, Finder, TrackOptions
from headstream.track.tracker import Tracker
from headstream.types import PARTS, Cutout, Float32Array, Frame, Head, Part, Region, Segmenter, UInt8Array

_REMEMBERED = (*followed.REMEMBERED, MatteState)
_LOOKS = 2  # at heads whose first crop did not suit them, besides the first

Answers = tuple[UInt8Array, dict[Part, Float32Array]]


@dataclass(frozen=True)
class CutOptions:
    """What to cut. heads: "largest", "all" or a person's number (1, 2, ...).  part: one of ``PARTS`` that the network knows.
    matte: how mattes are finished.  track: how heads are followed.

    Raises UsageError for other values of the first two.
    """

    heads: Heads = "largest"
    part: Part = "head"
    matte: MatteOptions = field(default_factory=MatteOptions)
    track: TrackOptions = field(default_factory=TrackOptions)

    def __post_init__(self) -> None:
        numbered = isinstance(self.heads, (int, np.integer)) and not isinstance(self.heads, bool) and self.heads > 0
        if not numbered and not (isinstance(self.heads, str) and self.heads in ("largest", "all")):
            raise UsageError(f"heads is {self.heads!r}; expected 'largest', 'all' or a person's number (1, 2, ...)")
        if isinstance(self.heads, np.integer):
            object.__setattr__(self, "heads", int(self.heads))
        if self.part not in PARTS:
            raise UsageError(f"part is {self.part!r}; expected one of {', '.join(PARTS)}")
        if self.matte.strands and self.matte.hair_color is not None:
            raise UsageError("hair strand by strand keeps its own colour; choose one: that, or another colour")

    def planes_of(self, segmenter: Segmenter) -> tuple[Part, ...]:
        """What the network is asked for: the head where it knows it, to tell who is there; what is cut; the hair where it
        is coloured, or cut strand by strand. Raises UsageError for what it does not know. One that does not tell what it knows is
        asked all."""
        known: tuple[str, ...] | None = getattr(segmenter, "parts", None)
        hair = self.matte.hair_color is not None or self.matte.strands
        wanted = (self.part, "hair") if hair else (self.part,)
        for part in wanted:
            if known is not None and part not in known:
                name = getattr(segmenter, "name", type(segmenter).__name__)
                raise UsageError(f"model {name} knows {', '.join(known)}, not {part!r}")
        evidence = ("head",) if known is None or "head" in known else ()
        return tuple(dict.fromkeys((*evidence, *wanted)))


@dataclass(frozen=True)
class Begun:
    """A frame whose heads are known; what is left is to make their layers. people: all that were seen, cut or not."""

    frame: Frame
    heads: tuple[Head, ...]
    people: tuple[Head, ...]
    cut_before: bool
    layers: tuple[Callable[[], Layer], ...]
    stage: str


class HeadCutter:
    """Cuts the heads out of the frames of one clip, in order. Not safe to share between threads.

    times: mean milliseconds of each stage.  people: the heads in the last frame, cut or not.  cut_before: whether the
    picture changed as a whole before it: another shot.  at_once: how many frames ``begin_together`` is best given.
    """

    at_once = 1

    def __init__(self, segmenter: Segmenter, finder: Finder, options: CutOptions | None = None) -> None:
        self.options = options or CutOptions()
        self._segmenter = segmenter
        self._planes = self.options.planes_of(segmenter)
        self._tracker = Tracker(finder, self.options.track)
        self._mattes: dict[int, HeadMatte] = {}
        self._choice = Choice()
        self.times = StageTimes()
        self.people: tuple[Head, ...] = ()
        self.cut_before = False
        self._under_way = 0

    def choose(self, heads: Heads) -> None:
        """Whose head is cut from the next frame on."""
        self.options = replace(self.options, heads=heads)

    def configure(self, options: CutOptions) -> None:
        """Go on with other options from the next frame on; who is followed stays so. Raises UsageError, with all as it was,
        for a part the network does not know."""
        self._planes = options.planes_of(self._segmenter)
        if (options.matte, options.part) != (self.options.matte, self.options.part):
            self._mattes.clear()
        self.options = options
        self._tracker.options = options.track

    def snapshot(self) -> Packed:
        """All that is remembered of the frames so far, put away: who is where, their mattes, whose head is cut. Raises
        RuntimeError while there are frames that were begun and did not come out yet."""
        if self._under_way:
            raise RuntimeError(f"{self._under_way} frames are under way; see settled of cut_stream")
        mattes = {track_id: matte.snapshot() for track_id, matte in self._mattes.items()}
        remembered = (self._tracker.snapshot(), mattes, self._choice.largest, self._choice.rival)
        return pack(remembered, _REMEMBERED)

    def restore(self, snapshot: Packed) -> None:
        """Go on where a ``snapshot`` was taken of a cutter with the same options: the next frames come out the same, to
        the bit; until then, ``people`` is empty. Raises ValueError if it is not one; then the cutter must not be used."""
        tracks, mattes, self._choice.largest, self._choice.rival = unpack(snapshot, _REMEMBERED)
        self._tracker.restore(tracks)
        self.people, self.cut_before, self._under_way = (), self._tracker.cut_before, 0
        self._mattes = {track_id: self._new_matte() for track_id in mattes}
        for track_id, matte in self._mattes.items():
            matte.restore(mattes[track_id])

    def cut(self, frame: Frame, *, carry: bool = False) -> Cutout:
        """One frame with its heads cut out; ``heads`` is empty if there are none. Raises UsageError for what is no ``Frame``.

        carry: move the last mattes along with the picture instead of running the network, where there are such mattes.
        Costs about half; mattes age, so run the network again in a frame or two.
        """
        begun = self._begun(frame, carry)
        cutout = self.finish(begun)
        self.people, self.cut_before = begun.people, begun.cut_before
        return cutout

    def begin(self, frame: Frame) -> Begun:
        """The first half of ``cut``: find the heads of the next frame and ask the network about them."""
        begun = self._begun(frame, carry=False)
        self._under_way += 1
        return begun

    def begin_together(self, frames: Sequence[Frame]) -> Generator[Begun, None, None]:
        """The next frames, one after the other; each is begun when it is asked for."""
        for frame in frames:
            yield self.begin(frame)

    def finish(self, begun: Begun) -> Cutout:
        """The second half: finish the mattes. May be called in another thread than ``begin`` is for the next frames, one at a
        time, in their order; ``given`` is told of it in the first thread."""
        layers = []
        if begun.layers:
            with self.times.stage(begun.stage):
                layers = [make() for make in begun.layers]
        layer = merged(layers, begun.frame)
        return Cutout(begun.frame, begun.heads, layer.region_px, layer.alpha, layer.foreground)

    def given(self, begun: Begun, cutout: Cutout) -> Cutout:
        """The cut-out comes out now: from here on, the last frame is this one."""
        self._under_way -= 1
        self.people, self.cut_before = begun.people, begun.cut_before
        return cutout

    def give_up(self, frames: int) -> None:
        """So many frames that were begun will not come out: what is remembered is ahead of what was given by them."""
        self._under_way -= frames

    def _begun(self, frame: Frame, carry: bool) -> Begun:
        if not isinstance(frame, Frame):
            got = type(frame).__name__
            raise UsageError(f"a frame is a headstream.Frame, got {got}; wrap it: headstream.Frame(array, pts=seconds)")
        with self.times.stage("track"):
            people = self._tracker.update(frame)
        cut_before = self._tracker.cut_before
        if cut_before:
            self._mattes.clear()
        carried = self._carried(frame, people) if carry else None
        layers, kept = carried or self._segmented(frame, people)
        self._forget(kept)
        return Begun(frame, tuple(kept), people, cut_before, tuple(layers), "carry" if carried else "matte")

    def _segmented(self, frame: Frame, candidates: tuple[Head, ...]) -> tuple[list[Callable[[], Layer]], list[Head]]:
        layers: list[Callable[[], Layer]] = []
        kept: list[Head] = []
        people = candidates
        while candidates and (wanted := self._choice.of(candidates, self.options.heads, frame.pts)):
            crops, planes = self._answers(frame, wanted)
            planes = alone(planes, wanted, _others(people, wanted))
            refused = self._observe(people, evidence_of(planes, self.options.part, wanted))
            self._look_again(frame, people, wanted, (crops, planes), refused)
            believed = [k for k, head in enumerate(wanted) if head.track_id not in refused]
            alphas, hair = planes[self.options.part], planes.get("hair", [None] * len(wanted))
            layers += [self._to_finish(alphas[k], crops[k], wanted[k], frame, hair[k]) for k in believed]
            kept += [wanted[k] for k in believed]
            if not refused or self.options.heads == "all":
                break
            candidates = tuple(h for h in candidates if h.track_id not in refused)  # the next largest may be real
        return layers, kept

    def _look_again(
        self, frame: Frame, people: tuple[Head, ...], heads: list[Head], answers: Answers, refused: frozenset[int]
    ) -> None:
        """Ask once more, in this very frame, about newcomers, in crops that suit their mattes, and about heads that go on beyond
        their crops, in wider ones; ``heads`` and ``answers`` are changed in place."""
        crops, planes = answers
        for looks in range(_LOOKS):
            shown = planes.get("head", planes[self.options.part])
            better: dict[int, Region] = {}
            for k, head in enumerate(heads):
                cut = cut_sides(shown[k], head.crop_px, frame.size_px)
                wanted = self._tracker.better_crop(head, cut, anew=looks == 0)
                if wanted is not None and head.track_id not in refused:
                    better[k] = wanted
            if not better:
                return
            again = [replace(heads[k], crop_px=crop_px) for k, crop_px in better.items()]
            more, more_planes = self._answers(frame, again, once_more=True)
            more_planes = alone(more_planes, again, _others(people, heads))
            for n, k in enumerate(better):
                heads[k], crops[k] = again[n], more[n]
                for part, alphas in planes.items():
                    alphas[k] = more_planes[part][n]
            self._observe(people, evidence_of(more_planes, self.options.part, again), once_more=True)

    def _carried(
        self, frame: Frame, candidates: tuple[Head, ...]
    ) -> tuple[list[Callable[[], Layer]], list[Head]] | None:
        """None if a head is wanted that has no matte yet: the network must see it."""
        wanted = self._choice.of(candidates, self.options.heads, frame.pts) if candidates else []
        mattes = [self._mattes.get(head.track_id) for head in wanted]
        if any(m is None or not m.can_carry(h.crop_px) for m, h in zip(mattes, wanted, strict=True)):
            return None
        if not wanted:
            return [], []
        crops = self._crops(frame, wanted)
        self._tracker.still([head.track_id for head in wanted])
        layers: list[Callable[[], Layer]] = [
            partial(m.carry, c, h.crop_px, frame, h.roll_deg)
            for m, c, h in zip(mattes, crops, wanted, strict=True)
            if m
        ]
        return layers, wanted

    def _answers(self, frame: Frame, heads: list[Head], *, once_more: bool = False) -> Answers:
        """The crops (N, S, S, 3) of heads, and what the network says of them: part -> alpha (N, S, S). once_more: whether it
        said something of these heads before, in other crops of this frame."""
        places = [(frame.picture, head.crop_px) for head in heads]
        rolls = [head.roll_deg for head in heads]
        return looked_at(self._segmenter, places, self._planes, self.times, rolls_deg=rolls)

    def _observe(
        self, people: tuple[Head, ...], evidence: dict[int, Evidence], *, once_more: bool = False
    ) -> frozenset[int]:
        """Tell the tracker what there is to say of ``people``. Returns the numbers of heads that are not believed."""
        return self._tracker.observe(evidence, once_more=once_more)

    def _crops(self, frame: Frame, heads: list[Head]) -> UInt8Array:
        with self.times.stage("crop"):
            side = side_of(self._segmenter)
            return np.stack([crop_resized(frame.picture, head.crop_px, side) for head in heads])

    def _to_finish(
        self, alpha: Float32Array, crop: Any, head: Head, frame: Frame, hair: Float32Array | None
    ) -> Callable[[], Layer]:
        matte = self._mattes.setdefault(head.track_id, self._new_matte())
        tinted = hair if self.options.matte.hair_color else None
        return partial(matte.update, alpha, crop, head.crop_px, frame, tinted, head.roll_deg)

    def _new_matte(self) -> HeadMatte:
        return HeadMatte(self.options.matte, solid=self.options.part == "head")

    def _forget(self, heads: list[Head]) -> None:
        present = {head.track_id for head in heads}
        for track_id in [t for t in self._mattes if t not in present]:
            del self._mattes[track_id]


def _others(people: tuple[Head, ...], heads: list[Head]) -> list[Head]:
    """Whose heads are not among these. By number: a head that was looked at again is another object."""
    wanted = {head.track_id for head in heads}
    return [head for head in people if head.track_id not in wanted]
