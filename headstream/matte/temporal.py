"""Temporal stability without lag: the last matte, moved along the motion of the picture, steadies the new one.

A recursive filter on a moving grid. The motion comes from the picture, not from the matte, and where the picture moved
in a way the motion does not explain, the new matte stands alone; so a matte never trails what it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from headstream.matte.motion import Motion, comparable
from headstream.types import Float32Array, Region, UInt8Array


@dataclass(frozen=True)
class MatteState:
    """What is remembered of one head: the steadied matte (S, S), the luma it belongs to, and where both lay."""

    alpha: Float32Array
    luma: UInt8Array
    crop_px: Region


class Stabiliser:
    """Steadies mattes of one head, frame after frame. State is an argument and a result, never hidden.

    strength: 0..1, the share of the moved last matte where it is fully trusted; the new one has the rest.
    """

    def __init__(self, strength: float = 0.7) -> None:
        if not 0 <= strength < 1:
            raise ValueError(f"strength must be in 0..1 (1 excluded), got {strength}")
        self.strength = strength
        self._motion = Motion()

    def update(self, alpha: Float32Array, luma: UInt8Array, crop_px: Region, last: MatteState | None) -> MatteState:
        """The steadied matte of this frame. alpha: (S, S) float32; luma: (S, S) uint8; crop_px: where the grid lies."""
        if last is None or self.strength == 0 or not comparable(crop_px, last.crop_px):
            return MatteState(alpha, luma, crop_px)
        moved_alpha, moved_luma = self._moved(luma, crop_px, last)
        steadied = alpha + self._trust(alpha, luma, moved_alpha, moved_luma) * (moved_alpha - alpha)
        return MatteState(steadied, luma, crop_px)

    def carried(self, luma: UInt8Array, crop_px: Region, last: MatteState) -> MatteState:
        """The last matte, moved to where it lies in this frame; ``comparable`` must hold for the two crops."""
        return MatteState(self._moved(luma, crop_px, last)[0], luma, crop_px)

    def _moved(self, luma: UInt8Array, crop_px: Region, last: MatteState) -> tuple[Float32Array, UInt8Array]:
        """The last matte and luma as they would lie now."""
        moved = self._motion.since(luma, crop_px, last.luma, last.crop_px)
        return moved.plane(last.alpha), moved.luma

    def _trust(
        self, alpha: Float32Array, luma: UInt8Array, moved_alpha: Float32Array, moved_luma: UInt8Array
    ) -> Float32Array:
        """(S, S) weight of the moved matte: less where the picture does not match, none where the mattes contradict."""
        mismatch = cv2.blur(cv2.absdiff(luma, moved_luma), (5, 5)).astype(np.float32)
        picture = np.clip(1.5 - mismatch / 10.0, 0, 1)
        change = np.abs(moved_alpha - alpha)
        matte = np.clip(1.6 - 1.6 * cv2.blur(change, (5, 5)), 0, 1)
        return (self.strength * picture * matte).astype(np.float32)
