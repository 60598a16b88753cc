"""One correction in its own frame: what the matte becomes there, and where it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from headstream.fixes.read import Click
from headstream.fixes.wand import clicked_piece
from headstream.matte.patch import alpha_in, repainted
from headstream.matte.refine import times_own_alpha, within_own_alpha
from headstream.matte.trail import Trail, square_around
from headstream.shared.regions import around, even_region, index_in, laid_over, overlap_of
from headstream.types import Cutout, Float32Array, Head, Region, UInt8Array

_CHANGED = 16  # steps of alpha, of 255: less is not what somebody meant to correct
_REACH = 0.035  # how far around a change it holds, in sides of the changed region


@dataclass(frozen=True)
class Correction:
    """What a frame's matte becomes in a region, (h, w) uint8, and where that holds, 0..255. before: what it was."""

    region_px: Region
    before: UInt8Array
    target: UInt8Array
    support: UInt8Array

    @property
    def area_px(self) -> Region:
        """The square whose motion it goes with."""
        return square_around(self.region_px)

    def weight(self) -> UInt8Array:
        """``support`` over ``area_px``."""
        out: UInt8Array = laid_over(self.support, self.region_px, self.area_px)
        return out


def by_mask(cutout: Cutout, mask: UInt8Array, head: Head | None) -> tuple[Cutout, Correction | None]:
    """The frame with the mask (H, W) for its matte, in one head's square or all over; None if nothing changed much."""
    where = square_of(cutout, head)
    x0, y0, x1, y1 = where
    drawn = _box(np.ascontiguousarray(mask[y0:y1, x0:x1]), where)
    shown = [region for region in (drawn, overlap_of(cutout.region_px, where)) if region is not None]
    if not shown:
        return cutout, None
    seen = even_region(around(*shown), cutout.frame.size_px)
    wanted = times_own_alpha(mask[seen[1] : seen[3], seen[0] : seen[2]].copy(), cutout.frame, seen)
    return repainted(cutout, seen, wanted), _correction(alpha_in(cutout, seen), wanted, seen, cutout)


def square_of(cutout: Cutout, head: Head | None) -> Region:
    """Where a mask holds: a head's square, or the whole frame."""
    whole: Region = (0, 0, *cutout.frame.size_px)
    return even_region(whole if head is None else head.crop_px, cutout.frame.size_px)


def by_click(cutout: Cutout, click: Click, head: Head | None) -> tuple[Cutout, Correction | None]:
    """The frame with the piece under the click added or taken away; None if there is nothing to change."""
    found = clicked_piece(cutout, click, head)
    if found is None:
        return cutout, None
    region, wanted = found
    correction = _correction(alpha_in(cutout, region), wanted, region, cutout)
    if correction is None:
        return cutout, None
    return blended(
        cutout, correction.region_px, correction.target, correction.support.astype(np.float32) / np.float32(255)
    ), correction


def brought_to(
    cutout: Cutout, correction: Correction, trail: Trail, weight: float, keep: Sequence[Region] = ()
) -> Cutout:
    """Another frame with the correction, where the trail brings it, by ``weight`` 0..1. keep: regions that stay as they are."""
    planes = [correction.before, correction.target, correction.support]
    region, (before, target, support), trust = trail.brought(planes, correction.region_px, cutout.frame)
    if not region[2]:
        return cutout
    trust *= _agreeing(before, alpha_in(cutout, region))
    share = support.astype(np.float32) * trust * np.float32(weight / 255)
    for both in (overlap_of(kept, region) for kept in keep):
        if both is not None:
            share[index_in(both, region)] = 0
    held = _box((share > 1 / 512).astype(np.uint8), region)
    if held is None:
        return cutout
    held = even_region(held, cutout.frame.size_px)
    part = index_in(held, region)
    return blended(cutout, held, target[part], share[part])


def _agreeing(before: UInt8Array, now: UInt8Array) -> Float32Array:
    """0..1: where the matte as it was in the corrected frame and the one here are alike. Where they are not, either the motion
    is wrong or the mistake is another one."""
    size = max(5, max(now.shape) // 50) | 1
    return np.clip(1.6 - cv2.blur(cv2.absdiff(before, now).astype(np.float32), (size, size)) * (1.6 / 255), 0, 1)


def blended(cutout: Cutout, region: Region, target: UInt8Array, share: Float32Array) -> Cutout:
    """The matte moved towards ``target`` by ``share``, 0..1; where that is 0 it stays what it is."""
    now = alpha_in(cutout, region).astype(np.float32)
    wanted = within_own_alpha(target, cutout.frame, region).astype(np.float32)
    return repainted(cutout, region, np.rint(now + share * (wanted - now)).astype(np.uint8))


def _correction(before: UInt8Array, wanted: UInt8Array, region: Region, cutout: Cutout) -> Correction | None:
    changed = (cv2.absdiff(before, np.ascontiguousarray(wanted)) > _CHANGED).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    box = _box(changed, region)
    if box is None:
        return None
    reach = max(3, round(_REACH * max(box[2] - box[0], box[3] - box[1])))
    room = even_region(
        (box[0] - 3 * reach, box[1] - 3 * reach, box[2] + 3 * reach, box[3] + 3 * reach), cutout.frame.size_px
    )
    room = overlap_of(room, region) or region
    room = even_region(room, cutout.frame.size_px)
    part = index_in(room, region)
    wide = cv2.dilate(changed[part] * np.uint8(255), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    soft = cv2.blur(wide, (reach | 1, reach | 1))
    return Correction(room, before[part].copy(), np.ascontiguousarray(wanted[part]), soft)


def _box(plane: UInt8Array, region: Region) -> Region | None:
    """The box around what is not 0, in the frame."""
    x, y, width, height = cv2.boundingRect(plane)
    x0, y0 = region[:2]
    return (x0 + x, y0 + y, x0 + x + width, y0 + y + height) if width else None
