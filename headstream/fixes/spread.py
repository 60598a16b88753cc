"""Corrections spread from their frames to those before and after, along the motion, fading out; never across a cut."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from headstream.fixes.correct import Correction, brought_to, by_click, by_mask, square_of
from headstream.fixes.read import Film, Fix, read_mask
from headstream.fixes.wand import spared
from headstream.matte.motion import Motion
from headstream.matte.trail import Trail
from headstream.shared.window import through
from headstream.track.cuts import another_shot, thumbnail
from headstream.types import Cutout, Float32Array, Frame, Head, Region

_HELD_BYTES = 512 << 20  # pictures held back for a correction that is still to come: 40 frames of 4K, 8 bits
# Where packets tell no times, numbers are turned to times by the nominal rate: hold back from a little earlier.
_EARLY = 1.5
_LOST = 0.3  # share of what is followed that must still look as it did
_ROUNDED_S = 0.0006  # people give times in milliseconds: half of one, and what floats lose


@dataclass
class Outcome:
    """What became of corrections. notes: those that changed nothing, and why.  settled: frames that mostly follow one."""

    notes: list[str] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)


def with_fixes(
    cutouts: Iterator[Cutout], fixes: Sequence[Fix], rate: Fraction, outcome: Outcome | None = None
) -> Iterator[Cutout]:
    """The cut-outs with corrections, in the same order.

    A frame depends on cut-outs no further away than its corrections spread; only those are held back, and of very large
    pictures no more than fit into half a gigabyte.
    """
    return through(_Spreading(list(fixes), rate, outcome or Outcome()), cutouts)


def reach(fixes: Sequence[Fix], film: Film) -> int:
    """How many frames before another corrections may look at: they reach ``spread_s`` both ways, and look as far for what they
    change. Where packets tell no times, twice as many as by the nominal rate: rates vary."""
    spread_s = max((fix.spread_s for fix in fixes), default=0.0)
    times_s = np.array(film.times_s)
    there = np.searchsorted(times_s, times_s + 2 * spread_s) - np.arange(len(times_s))
    return max(math.ceil(4 * spread_s * film.rate), int(there.max(initial=0)) if spread_s else 0)


def fade(away_s: float, spread_s: float) -> float:
    """Weight of a correction that far away: 1 in its own frame, 0 from ``spread_s`` on, flat at both ends."""
    return 0.5 + 0.5 * math.cos(math.pi * away_s / spread_s) if away_s < spread_s else 0.0


@dataclass
class _Live:
    """A correction on its way forward."""

    correction: Correction
    trail: Trail
    since_s: float
    spread_s: float


@dataclass
class _Held:
    """masks: of this frame, the region of each and the head it is about: nothing that comes from another frame is drawn there."""

    cutout: Cutout
    masks: list[tuple[Region, Head | None]] = field(default_factory=list)

    def ends(self, head: Head | None) -> bool:
        """Whether a mask says anew what the head is that a correction is about."""
        return any(its is None or (head is not None and its.track_id == head.track_id) for _, its in self.masks)


class _Spreading:
    """The state of ``with_fixes``: what is held back, and what is on its way forward."""

    def __init__(self, fixes: list[Fix], rate: Fraction, outcome: Outcome) -> None:
        self._waiting, self._rate, self._outcome = fixes, rate, outcome
        self._masks = [fix for fix in fixes if fix.mask is not None]
        self._placed: dict[int, float] = {}  # corrections by number -> when the frame is shown that they belong to
        self._last: Cutout | None = None
        self._held: deque[_Held] = deque()
        self._live: list[_Live] = []
        self._shot: Float32Array | None = None
        self._motion = Motion()
        self._begun = False

    def take(self, cutout: Cutout) -> Iterator[Cutout]:
        """The next cut-out; gives those that no correction can reach any more.

        It waits for the one after it, which alone tells until when it is shown: durations in files are those of the frames as
        they were coded, or nominal.
        """
        last, self._last = self._last, cutout
        if last is not None:
            yield from self._shown(last, float(cutout.frame.pts))

    def _shown(self, cutout: Cutout, end_s: float) -> Iterator[Cutout]:
        frame, before = cutout.frame, self._shot
        if not self._begun and frame.index > 0:  # an earlier run had the frames before this one
            self._waiting = [fix for fix in self._waiting if not self._is_past(fix, frame)]
        self._begun = True
        if self._waiting or self._live:
            self._shot = thumbnail(frame)
            if another_shot(before, self._shot):
                self._live = []
                yield from self._let_go()
        now = _Held(self._carried_forward(cutout))
        # Not the first alone: where packets tell no times, frame numbers and times may be out of order.
        due = sorted((fix for fix in self._waiting if self._is_now(fix, frame, end_s)), key=lambda fix: fix.number)
        self._placed |= {fix.number: float(frame.pts) for fix in due}
        for fix in due:
            self._waiting.remove(fix)
            self._correct(now, fix)
        self._held.append(now)
        room = max(1, _HELD_BYTES // frame.nbytes)
        while self._held and (len(self._held) > room or not self._reachable(self._held[0].cutout.frame)):
            yield self._held.popleft().cutout

    def rest(self) -> Iterator[Cutout]:
        """What is still held back, at the end of the film."""
        last, self._last = self._last, None
        if last is not None:
            frame = last.frame
            yield from self._shown(last, float(frame.pts + max(frame.duration_s or 0, 1 / self._rate)))
        if self._begun:  # where an earlier run had all frames, it has told
            self._outcome.notes += [f"correction {fix.number}: the film ends before it" for fix in self._waiting]
        self._waiting.clear()
        yield from self._let_go()

    def _let_go(self) -> Iterator[Cutout]:
        while self._held:
            yield self._held.popleft().cutout

    def _is_past(self, fix: Fix, frame: Frame) -> bool:
        """Whether a correction is for a frame before this one."""
        if fix.frame is not None:
            return fix.frame < frame.index
        return float(frame.pts) - _ROUNDED_S > fix.time_s

    def _is_now(self, fix: Fix, frame: Frame, end_s: float) -> bool:
        """Whether a correction is for this frame, which is shown until ``end_s``, or for one before it."""
        if fix.frame is not None:
            return frame.index >= fix.frame
        return end_s - _ROUNDED_S > fix.time_s

    def _reachable(self, frame: Frame) -> bool:
        """Whether a correction that is still to come may change this frame."""
        for fix in self._waiting:
            if float(frame.pts) > fix.time_s - fix.spread_s:
                return True
            if fix.frame is not None and frame.index >= fix.frame - _EARLY * fix.spread_s * self._rate:
                return True
        return False

    def _carried_forward(self, cutout: Cutout) -> Cutout:
        now_s = float(cutout.frame.pts)
        self._live = [live for live in self._live if now_s - live.since_s < live.spread_s and live.trail.trust > _LOST]
        for live in self._live:
            live.trail.step(cutout.frame)
            cutout = self._brought(cutout, live.correction, live.trail, fade(now_s - live.since_s, live.spread_s))
        return cutout

    def _correct(self, now: _Held, fix: Fix) -> None:
        """Apply a correction to its own frame and to those before; the frames after it are still to come."""
        cutout = now.cutout
        head = _whose(fix, cutout)
        if fix.head is not None and head is None:
            self._outcome.notes.append(
                f"correction {fix.number}: head {fix.head} is not in frame {cutout.frame.index}; left out"
            )
            return
        if fix.mask is not None:
            now.cutout, correction = by_mask(cutout, read_mask(fix.mask), head)
            now.masks.append((square_of(cutout, head), head))
        else:
            assert fix.click is not None
            now.cutout, correction = by_click(cutout, fix.click, head)
        if correction is None:
            why = f"frame {cutout.frame.index} is already so"
            if fix.click is not None and spared(fix.click, head):
                why = "the click lies in the middle of the face, which none takes away (a mask can)"
            self._outcome.notes.append(f"correction {fix.number}: {why}; nothing changed")
            return
        self._outcome.settled.add(cutout.frame.index)
        self._carry_back(now.cutout.frame, fix, head, correction)
        spread_s = self._spread_s(fix, head, 1)
        trail = Trail(cutout.frame, correction.area_px, correction.weight(), self._motion)
        self._live.append(_Live(correction, trail, float(cutout.frame.pts), spread_s))

    def _spread_s(self, fix: Fix, head: Head | None, way: int) -> float:
        """How far a correction reaches, forward (1) or back (-1): to where a mask says anew what the head is."""
        others = [m for m in self._masks if m.head is None or (head is not None and m.head == head.track_id)]
        return min([fix.spread_s, *(d for m in others if (d := way * (self._when(m) - self._when(fix))) > 0)])

    def _when(self, fix: Fix) -> float:
        return self._placed.get(fix.number, fix.time_s)

    def _carry_back(self, frame: Frame, fix: Fix, head: Head | None, correction: Correction) -> None:
        spread_s = self._spread_s(fix, head, -1)
        trail = Trail(frame, correction.area_px, correction.weight(), self._motion)
        for held in reversed(self._held):
            weight = fade(float(frame.pts - held.cutout.frame.pts), spread_s)
            if weight == 0 or held.ends(head) or trail.trust < _LOST:
                return
            trail.step(held.cutout.frame)
            keep = [region for region, _ in held.masks]
            held.cutout = self._brought(held.cutout, correction, trail, weight, keep)

    def _brought(
        self, cutout: Cutout, correction: Correction, trail: Trail, weight: float, keep: Sequence[Region] = ()
    ) -> Cutout:
        if weight >= 0.5:
            self._outcome.settled.add(cutout.frame.index)
        return brought_to(cutout, correction, trail, weight, keep)


def _whose(fix: Fix, cutout: Cutout) -> Head | None:
    """The head a correction is about; for a click that names none, the one whose crop it lies in the middle of most."""
    if fix.head is not None or fix.click is None:
        return next((head for head in cutout.heads if head.track_id == fix.head), None)
    x, y = fix.click.x, fix.click.y

    def away(head: Head) -> float:
        x0, y0, x1, y1 = head.crop_px
        return max(abs(2 * x - x0 - x1), abs(2 * y - y0 - y1)) / (x1 - x0)

    nearest = min(cutout.heads, key=away, default=None)
    return nearest if nearest is not None and away(nearest) < 1.3 else None
