"""A look at the frames to come, for files: heads that were lost for a moment, or found a moment late, are filled in.

The frames are held back for a moment. Where somebody is missing in a few of them and there before and after, the matte comes
from both sides, along the motion of the picture; where somebody is new, it is taken back to the frames in which they were
there already. It is drawn only where the picture still looks like the head: what passes in front stays in front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from headstream.matte.motion import Motion
from headstream.matte.patch import alpha_in, repainted
from headstream.matte.refine import within_own_alpha
from headstream.matte.trail import Trail, square_around
from headstream.review.doubts import fill
from headstream.shared.regions import around, even_region, index_in, laid_over
from headstream.shared.window import through
from headstream.track.cuts import another_shot, thumbnail
from headstream.track.evidence import FACE_SHARE
from headstream.types import Cutout, Float32Array, Frame, Head, Part, Region, UInt8Array

# How far ahead: a newcomer beside others is found by the next scan of the whole picture, 15 frames on at most.
FRAMES = 14
_HELD_BYTES = 192 << 20  # pictures held back: 14 frames of 4K, 8 bits; of larger ones fewer
_FEWEST = 3
_MIN_FILL = 0.5  # a head whose matte does not fill its face was not found, whatever its box says
_SURE = 0.6  # a detector's score that a newcomer needs to be taken back: mistakes must not become longer
_ALIKE = 0.75  # share of a head that must still look as it did


def with_look_ahead(cutouts: Iterator[Cutout], *, several: bool = False, part: Part = "head") -> Iterator[Cutout]:
    """The cut-outs, heads filled in, in the same order. several: whether more than one head may be in a frame.  part: what
    is cut.

    A cut-out depends on those at most ``FRAMES`` before and after it.
    """
    return through(_Window(several, _MIN_FILL * FACE_SHARE.get(part, 0.0)), cutouts)


@dataclass
class _Held:
    """A cut-out as it came, and as it goes out."""

    came: Cutout
    goes: Cutout
    found: frozenset[int]  # the heads whose mattes are believed


class _Window:
    """The frames held back, all of one shot."""

    def __init__(self, several: bool, min_fill: float) -> None:
        self._several, self._min_fill = several, min_fill
        self._held: deque[_Held] = deque()
        self._shot: Float32Array | None = None
        self._motion = Motion()

    def take(self, cutout: Cutout) -> Iterator[Cutout]:
        """The next cut-out; gives those that nothing can change any more."""
        before, self._shot = self._shot, thumbnail(cutout.frame)
        if another_shot(before, self._shot):
            yield from self.rest()
        found = frozenset(head.track_id for head in cutout.heads if fill(cutout, head) >= self._min_fill)
        before_found = self._held[-1].found if self._held else found
        for head in cutout.heads:
            if head.track_id in found - before_found:
                self._fill_in(cutout, head)
        self._held.append(_Held(cutout, cutout, found))
        room = max(_FEWEST, min(FRAMES, _HELD_BYTES // cutout.frame.nbytes))
        while len(self._held) > room:
            yield self._held.popleft().goes

    def rest(self) -> Iterator[Cutout]:
        """What is still held back."""
        while self._held:
            yield self._held.popleft().goes

    def _fill_in(self, after: Cutout, head: Head) -> None:
        """Somebody is there now and was not in the last frame: fill the frames since they were there last."""
        gap: list[_Held] = []
        last: _Held | None = None
        for held in reversed(self._held):
            if head.track_id in held.found:
                last = held
                break
            gap.insert(0, held)
        if not self._several and any(held.found for held in gap):
            return  # somebody else was cut
        if last is None and head.score < _SURE:
            return
        back = self._trail(after, head, [held.came.frame for held in reversed(gap)])[::-1]
        forth: list[_Side | None] = [None] * len(gap)
        if last is not None:
            then = next(h for h in last.came.heads if h.track_id == head.track_id)
            forth = list(self._trail(last.came, then, [held.came.frame for held in gap]))
        for k, held in enumerate(gap):
            share = 1.0 if last is None else (k + 1) / (len(gap) + 1)
            sides = [(side, w) for side, w in ((forth[k], 1 - share), (back[k], share)) if side is not None]
            if sides:
                held.goes = _filled(held.goes, sides)

    def _trail(self, cutout: Cutout, head: Head, frames: list[Frame]) -> list[_Side | None]:
        """The head brought to each of the frames, one after the other, as far as the picture looks like it."""
        region = even_region(head.crop_px, cutout.frame.size_px)
        sides: list[_Side | None] = [None] * len(frames)
        if not region[2]:
            return sides
        matte, area = alpha_in(cutout, region), square_around(region)
        trail = Trail(cutout.frame, area, laid_over(matte, region, area), self._motion)
        for k, frame in enumerate(frames):
            trail.step(frame)
            if trail.trust < _ALIKE:
                break
            where, (alpha,), trust = trail.brought([matte], region, frame)
            if not where[2]:
                break
            sides[k] = _Side(_moved(head, area, trail.area_px, k + 1), where, alpha, _decided(trust))
        return sides


def _decided(trust: Float32Array) -> Float32Array:
    """Steeper: a head is there or behind something, seldom half."""
    return np.clip(3 * trust - 0.3, 0, 1)


@dataclass(frozen=True)
class _Side:
    """A head as it comes to a frame from one side: alpha and trust over a region."""

    head: Head
    region_px: Region
    alpha: UInt8Array
    trust: Float32Array


def _filled(cutout: Cutout, sides: list[tuple[_Side, float]]) -> Cutout:
    """The cut-out with a head that comes from one or two sides, weighted."""
    total = sum(weight for _, weight in sides)
    region = around(*(side.region_px for side, _ in sides))
    x0, y0, x1, y1 = region
    drawn, trusted = np.zeros((y1 - y0, x1 - x0), np.float32), np.zeros((y1 - y0, x1 - x0), np.float32)
    for side, weight in sides:
        part = index_in(side.region_px, region)
        share = side.trust * np.float32(weight / total)
        drawn[part] += share * side.alpha
        trusted[part] += share
    own = alpha_in(cutout, region)
    alpha = np.rint(np.maximum(own, drawn + (1 - trusted) * own)).astype(np.uint8)
    head = max(sides, key=lambda pair: pair[1])[0].head
    others = tuple(h for h in cutout.heads if h.track_id != head.track_id)
    heads = tuple(sorted((*others, head), key=lambda h: h.track_id))
    return replace(repainted(cutout, region, within_own_alpha(alpha, cutout.frame, region)), heads=heads)


def _moved(head: Head, was: Region, now: Region, frames: int) -> Head:
    """The head where the square that was followed is now. No detector saw it there: its score is 0."""
    dx, dy = now[0] - was[0], now[1] - was[1]
    x0, y0, x1, y1 = head.box_px
    cx0, cy0, cx1, cy1 = head.crop_px
    return replace(
        head,
        box_px=(x0 + dx, y0 + dy, x1 + dx, y1 + dy),
        crop_px=(cx0 + dx, cy0 + dy, cx1 + dx, cy1 + dy),
        landmarks_px=(head.landmarks_px + np.array([dx, dy])).astype(np.float32),
        score=0.0,
        unseen_frames=frames,
    )
