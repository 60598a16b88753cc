"""Follows a square of the picture from one frame to others, forward or backward, and brings along what was drawn in it.

From frame to frame the flow says where each cell was; the steps are added up, so what is brought along is sampled once,
however far it goes. Where the picture no longer looks like the first frame's, nothing is brought.
"""

from __future__ import annotations

import cv2
import numpy as np

from headstream.matte.grid import brought_up, grid_from_region
from headstream.matte.motion import Motion, Moved, index_grid
from headstream.shared.colour import crop_resized
from headstream.shared.regions import even_region
from headstream.types import Float32Array, Frame, Region, UInt8Array

_SIDE = 256
_ROOM = 1.4  # side of the square that is followed, in longer sides of what is in it
_ALIKE, _UNLIKE = 7.0, 20.0  # steps of luma, of 255, between what is trusted and what is not


class Trail:
    """Where a square of a first frame is in the frames stepped to, one after the other. Stop at a cut.

    area_px: a square with even corners, in the frame at hand.  weight: (h, w), what in the square is followed: the square goes
    with it.
    """

    def __init__(self, frame: Frame, area_px: Region, weight: UInt8Array, motion: Motion) -> None:
        self.area_px, self._motion = area_px, motion
        self._first_area = area_px
        self._weight = cv2.resize(weight, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        self._luma = self._first_luma = _luma(frame, area_px)
        self._trust: Float32Array = np.ones((_SIDE, _SIDE), np.float32)
        self._away: tuple[Float32Array, Float32Array] = (np.zeros_like(self._trust), np.zeros_like(self._trust))

    def step(self, frame: Frame) -> None:
        """Go on to a neighbouring frame."""
        old_area = self.area_px
        self.area_px = self._expected()
        luma = _luma(frame, self.area_px)
        moved = self._motion.since(luma, self.area_px, self._luma, old_area)
        self._away = self._added(moved, old_area)
        self._luma = luma
        self._without_drift()

    def _without_drift(self) -> None:
        """Small errors of many steps add up; what the first frame itself says is taken where it fits better."""
        added_up, apart = self._away, self._apart()
        self._away = self._added(
            self._motion.since(self._luma, self.area_px, self._first_now(), self.area_px), self.area_px
        )
        direct = self._apart()
        if self._of_followed(direct) > 0.9 * self._of_followed(apart):
            self._away, direct = added_up, apart
        self._trust = np.clip((_UNLIKE - direct) / (_UNLIKE - _ALIKE), 0, 1).astype(np.float32)

    def _added(self, moved: Moved, old_area: Region) -> tuple[Float32Array, Float32Array]:
        """For each cell, the pixels to where it was in the first frame: one step more."""
        old_cell, cell = _cell(old_area), _cell(self.area_px)
        aways = []
        for k, (old_at, now_at) in enumerate(zip((moved.xs, moved.ys), index_grid(_SIDE)[::-1], strict=True)):
            away = cv2.remap(self._away[k], moved.xs, moved.ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            step = (old_area[k] + (old_at + 0.5) * old_cell) - (self.area_px[k] + (now_at + 0.5) * cell)
            aways.append((away + step).astype(np.float32))
        return aways[0], aways[1]

    @property
    def trust(self) -> float:
        """Share, 0..1, of what is followed that still looks as it did."""
        return self._of_followed(self._trust)

    def brought(
        self, planes: list[UInt8Array], region: Region, frame: Frame
    ) -> tuple[Region, list[UInt8Array], Float32Array]:
        """Planes (h, w) over ``region`` of the first frame as they lie in this one: the region there, the planes, and how far
        each pixel is to be trusted, 0..1. 0 where a plane came from outside."""
        area = even_region(self.area_px, frame.size_px)
        x0, y0, x1, y1 = area
        size = (x1 - x0, y1 - y0)
        if area == (0, 0, 0, 0):
            return area, [np.zeros((0, 0), np.uint8) for _ in planes], np.zeros((0, 0), np.float32)
        lift = grid_from_region(area, self.area_px, _SIDE)
        away_x, away_y, trust = (
            brought_up(plane, lift, size, border=cv2.BORDER_REPLICATE) for plane in (*self._away, self._trust)
        )
        ys, xs = np.arange(y0, y1, dtype=np.float32)[:, None], np.arange(x0, x1, dtype=np.float32)[None, :]
        map_x, map_y = away_x + (xs - region[0]), away_y + (ys - region[1])
        out = [cv2.remap(plane, map_x, map_y, cv2.INTER_LINEAR) for plane in planes]
        return area, out, trust

    def _expected(self) -> Region:
        """The square around where what is followed lies now, in whole steps of two pixels."""
        weight = self._brought_small(self._weight)
        total = float(weight.sum())
        if total < 1:
            return self.area_px
        cell, middle = _cell(self.area_px), (_SIDE - 1) / 2
        first = float(self._weight.sum()) + 1e-6
        shifts = []
        for axis in (0, 1):
            now = float(weight.sum(axis=axis) @ np.arange(_SIDE)) / total - middle
            then = float(self._weight.sum(axis=axis) @ np.arange(_SIDE)) / first - middle
            shifts.append(2 * round((now - then) * cell / 2))
        dx, dy = shifts
        x0, y0, x1, y1 = self.area_px
        return x0 + dx, y0 + dy, x1 + dx, y1 + dy

    def _map(self) -> tuple[Float32Array, Float32Array]:
        """For each cell of this square, its index in the first one."""
        ys, xs = index_grid(_SIDE)
        cell, first = _cell(self.area_px), self._first_area
        map_x = (self.area_px[0] - first[0] + (xs + 0.5) * cell + self._away[0]) / _cell(first) - 0.5
        map_y = (self.area_px[1] - first[1] + (ys + 0.5) * cell + self._away[1]) / _cell(first) - 0.5
        return map_x.astype(np.float32), map_y.astype(np.float32)

    def _brought_small(self, plane: Float32Array) -> Float32Array:
        return cv2.remap(plane, *self._map(), cv2.INTER_LINEAR)

    def _first_now(self) -> UInt8Array:
        """The first frame's luma as it would lie now."""
        return cv2.remap(self._first_luma, *self._map(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _apart(self) -> Float32Array:
        """(S, S): how much each cell's luma differs from the first frame's. What all became brighter by is no sign."""
        apart = self._luma.astype(np.float32) - self._first_now()
        return cv2.blur(np.abs(apart - self._of_followed(apart)), (5, 5))

    def _of_followed(self, plane: Float32Array) -> float:
        """Mean over what is followed."""
        weight = self._brought_small(self._weight)
        return float((plane * weight).sum() / (weight.sum() + 1e-6))


def square_around(region: Region) -> Region:
    """The square with even corners around the middle of a region, with some room."""
    side = 2 * max(32, round(_ROOM * max(region[2] - region[0], region[3] - region[1]) / 2))
    x0 = 2 * round((region[0] + region[2] - side) / 4)
    y0 = 2 * round((region[1] + region[3] - side) / 4)
    return x0, y0, x0 + side, y0 + side


def _cell(area: Region) -> float:
    return (area[2] - area[0]) / _SIDE


def _luma(frame: Frame, area: Region) -> UInt8Array:
    return cv2.cvtColor(crop_resized(frame.picture, area, _SIDE), cv2.COLOR_RGB2GRAY)
