"""What the tool itself doubts of a cut-out: told from the cut-out and the one before, at a fraction of a millisecond.

Each doubt is a pure function of a cut-out and of what is remembered of the last one, so a film that is cut in pieces is
doubted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from headstream.matte.motion import Motion, comparable, step_between
from headstream.shared.colour import to_8_bits
from headstream.track.cuts import another_shot, thumbnail
from headstream.types import Cutout, Float32Array, Head, Part, Region, UInt8Array

Reason = Literal["face_not_seen", "head_lost", "unstable", "cropped", "low_fill", "person_switched", "filled_in"]

# Reason -> what an editor reads.
MEANING: dict[Reason, str] = {
    "head_lost": "No head was found, between frames that have it.",
    "person_switched": "From here on it is another person's head.",
    "unstable": "The matte jumped: its area or shape changed in a way the picture's motion does not explain.",
    "cropped": "The matte touches the border of the square it was made in: a part of the head may be cut off.",
    "low_fill": "The matte fills the face badly: a part of it may be missing.",
    "filled_in": "The head was not found here; its matte was brought from the frames before and after.",
    "face_not_seen": "No detector saw the face; the head was held where it was last.",
}
_SIDE = 64  # cells of the small grid that mattes are compared on
_UNSEEN_S = 0.3  # how long detectors may miss a face before it is worth a look
_UNSTABLE = 0.06  # share of the head's area that may change between frames, motion taken out
_LOW_FILL = 0.8
_CROPPED = 0.04  # crop sides of solid matte along the crop's border
_SOLID = 128


@dataclass(frozen=True)
class Glance:
    """One head of a cut-out on a small grid over its crop: luma and alpha, (S, S) uint8."""

    crop_px: Region
    luma: UInt8Array
    alpha: UInt8Array


@dataclass(frozen=True)
class Seen:
    """What is remembered of a cut-out."""

    shot: Float32Array
    glances: dict[int, Glance]
    people: frozenset[int]  # of the last cut-out that had any


@dataclass(frozen=True)
class Doubts:
    """Of one cut-out: reason -> how bad, 0..1. cut: whether another shot begins with it.  near_px: the crop to look at."""

    reasons: dict[Reason, float]
    cut: bool = False
    near_px: Region | None = None


class Doubter:
    """Looks at cut-outs in order. part: what is cut.  ``last`` is all it remembers; None starts anew."""

    def __init__(self, part: Part = "head") -> None:
        self.part = part
        self.last: Seen | None = None
        self._motion = Motion()

    def look(self, cutout: Cutout) -> Doubts:
        """What is doubtful about the next cut-out."""
        shot, last = thumbnail(cutout.frame), self.last
        cut = last is not None and another_shot(last.shot, shot)
        if last is None or cut:
            last = Seen(shot, {}, frozenset())
        glances = {head.track_id: glance(cutout, head) for head in cutout.heads}
        reasons: dict[Reason, float] = {}
        worst, near_px = -1.0, None
        for head in cutout.heads:
            found = self._of_head(cutout, head, glances[head.track_id], last.glances.get(head.track_id))
            if max(found.values(), default=0.0) > worst:
                worst, near_px = max(found.values(), default=0.0), head.crop_px
            for reason, score in found.items():
                reasons[reason] = max(score, reasons.get(reason, 0.0))
        people = frozenset(glances)
        if people and last.people and not people & last.people:
            reasons["person_switched"] = 0.9
        self.last = Seen(shot, glances, people or last.people)
        return Doubts(reasons, cut, near_px)

    def _of_head(self, cutout: Cutout, head: Head, now: Glance, before: Glance | None) -> dict[Reason, float]:
        found: dict[Reason, float] = {}
        if head.score == 0:
            found["filled_in"] = 0.5
        unseen_s = head.unseen_frames * float(cutout.frame.duration_s or 1 / 25)
        if unseen_s >= _UNSEEN_S:
            found["face_not_seen"] = min(0.6, 0.2 + 0.2 * unseen_s)
        filled = fill(cutout, head)
        if filled < _LOW_FILL and self.part == "head":  # hair leaves the face free
            found["low_fill"] = _between(1 - filled, 1 - _LOW_FILL, 0.8)
        touching = touched(cutout, head)
        if touching > _CROPPED:
            found["cropped"] = _between(touching, _CROPPED, 0.5)
        if before is not None:
            changed = change(self._motion, now, before)
            if changed > _UNSTABLE:
                found["unstable"] = _between(changed, _UNSTABLE, 0.5)
        return found


def _between(value: float, low: float, high: float) -> float:
    """0.3 at ``low``, 1 at ``high`` and beyond."""
    return min(1.0, 0.3 + 0.7 * (value - low) / (high - low))


def glance(cutout: Cutout, head: Head, side: int = _SIDE) -> Glance:
    """A head's luma and alpha over its crop, small."""
    frame, crop = cutout.frame, head.crop_px
    plane, bits = (frame.rgb[..., 1], 8) if frame.planes is None else (frame.planes.y, frame.planes.bits)
    luma = to_8_bits(_shrunk(plane, (0, 0), crop, side), bits)
    x0, y0, _, _ = cutout.region_px
    return Glance(crop, luma, _shrunk(cutout.region_alpha, (x0, y0), crop, side))


def _shrunk(plane: Any, corner: tuple[int, int], crop: Region, side: int) -> Any:
    """The part of ``plane``, whose first pixel lies at ``corner``, under a square crop: (side, side); 0 outside."""
    x0, y0, x1, y1 = (v - corner[k % 2] for k, v in enumerate(crop))
    height, width = plane.shape
    step = max(1, (x1 - x0) // (2 * side))  # coarse samples first: an average over all costs ten times as much
    inside = plane[max(0, y0) : max(0, min(height, y1)) : step, max(0, x0) : max(0, min(width, x1)) : step]
    if inside.size == 0:
        return np.zeros((side, side), plane.dtype)
    cell = (x1 - x0) / side / step  # samples of ``inside`` in a cell
    shift = ((x0 - max(0, x0)) / step, (y0 - max(0, y0)) / step)
    inside_from_cell = np.array(
        [[cell, 0, shift[0] + 0.5 * cell - 0.5], [0, cell, shift[1] + 0.5 * cell - 0.5]], np.float64
    )
    inside = cv2.blur(inside, (2, 2)) if cell > 1.5 else np.ascontiguousarray(inside)
    return cv2.warpAffine(inside, inside_from_cell, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def fill(cutout: Cutout, head: Head) -> float:
    """Mean alpha over the face box, its corners left out, 0..1; the part of the box that lies in the picture counts."""
    x0, y0, x1, y1 = head.box_px
    inset = 0.15 * (x1 - x0)
    width, height = cutout.frame.size_px
    box = (max(0, x0 + inset), max(0, y0 + inset), min(width, x1 - inset), min(height, y1 - inset))
    left, top, right, bottom = (round(v) for v in box)
    if right <= left or bottom <= top:
        return 1.0
    rx, ry, _, _ = cutout.region_px
    part = cutout.region_alpha[max(0, top - ry) : max(0, bottom - ry), max(0, left - rx) : max(0, right - rx)]
    step = max(1, (right - left) // 64)
    small = part[::step, ::step]
    samples = -(-(right - left) // step) * -(-(bottom - top) // step)
    return min(1.0, float(small.sum()) / 255 / samples)


def touched(cutout: Cutout, head: Head) -> float:
    """How much of the crop's border the matte touches, in crop sides, where that border lies inside the picture."""
    x0, y0, x1, y1 = head.crop_px
    width, height = cutout.frame.size_px
    inset = max(2, (x1 - x0) // 100)  # brought up from a small grid, a matte fades out towards the border
    rx, ry, _, _ = cutout.region_px
    left, top = max(0, rx - x0), max(0, ry - y0)  # of the region in the crop
    alpha = cutout.region_alpha[max(0, y0 - ry) : max(0, y1 - ry), max(0, x0 - rx) : max(0, x1 - rx)]
    side, touching = x1 - x0, 0
    for inside, line in (
        (x0 > 0, alpha[:, _index(inset - left, alpha.shape[1])]),
        (x1 < width, alpha[:, _index(side - 1 - inset - left, alpha.shape[1])]),
        (y0 > 0, alpha[_index(inset - top, alpha.shape[0])]),
        (y1 < height, alpha[_index(side - 1 - inset - top, alpha.shape[0])]),
    ):
        if inside and line.size:
            touching += int(np.count_nonzero(line > _SOLID))
    return touching / side


def _index(at: int, size: int) -> slice | int:
    """``at`` where it lies inside, otherwise nothing."""
    return at if 0 <= at < size else slice(0, 0)


def change(motion: Motion, now: Glance, before: Glance) -> float:
    """Share of the head's area that changed, the picture's motion taken out.

    The flow costs more than all the rest together, so it is asked only where the crop's own move does not explain enough.
    """
    area = max(float(now.alpha.sum()), float(before.alpha.sum()), 255.0 * 16)
    scale, shift = step_between(now.crop_px, before.crop_px, now.alpha.shape[0])
    old_from_new = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    plain = _apart(now.alpha, cv2.warpAffine(before.alpha, old_from_new, now.alpha.shape, flags=flags)) / area
    if plain < _UNSTABLE or not comparable(now.crop_px, before.crop_px):
        return plain
    moved = motion.since(now.luma, now.crop_px, before.luma, before.crop_px)
    return min(plain, _apart(now.alpha, cv2.remap(before.alpha, moved.xs, moved.ys, cv2.INTER_LINEAR)) / area)


def _apart(now: UInt8Array, before: UInt8Array) -> float:
    """Sum of what differs, apart from what a cell of misplacement along the outline explains."""
    return float(cv2.erode(cv2.absdiff(now, before), np.ones((2, 2), np.uint8)).sum())
