"""How the picture moved between two grids of luma: for each cell of one, where it lay in the other.

Optical flow: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", arXiv:1603.03590, as OpenCV has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from headstream.types import Float32Array, Region, UInt8Array


@dataclass(frozen=True)
class Moved:
    """Where the cells of a grid were before.

    xs, ys: (S, S) float32, indices into the old grid.  luma: the old one as it would lie now.
    """

    xs: Float32Array
    ys: Float32Array
    luma: UInt8Array

    def plane(self, old: Float32Array) -> Float32Array:
        """A plane of the old grid as it would lie now; 0 where it came from outside."""
        return cv2.remap(old, self.xs, self.ys, cv2.INTER_LINEAR)


class Motion:
    """Finds how pictures moved. Holds buffers of the flow, no state; not safe to share between threads."""

    def __init__(self) -> None:
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def since(self, luma: UInt8Array, crop_px: Region, old: UInt8Array, old_crop_px: Region) -> Moved:
        """luma, old: (S, S) uint8 over their crops: first the crop's own move is taken out, then the picture's."""
        side = luma.shape[0]
        scale, shift = step_between(crop_px, old_crop_px, side)
        if crop_px != old_crop_px:
            old_from_new = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            old = cv2.warpAffine(old, old_from_new, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        flow = self._flow.calc(luma, old, None)  # for each pixel now, where it was
        ys, xs = index_grid(side)
        map_x, map_y = xs + flow[..., 0], ys + flow[..., 1]
        moved_luma = cv2.remap(old, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if crop_px != old_crop_px:
            map_x, map_y = map_x * scale + shift[0], map_y * scale + shift[1]
        return Moved(map_x.astype(np.float32), map_y.astype(np.float32), moved_luma)


def step_between(crop_px: Region, old_crop_px: Region, side: int) -> tuple[float, list[float]]:
    """Scale and shift from an index of the grid over one crop to an index of the grid over another."""
    scale = (crop_px[2] - crop_px[0]) / (old_crop_px[2] - old_crop_px[0])
    cell = (old_crop_px[2] - old_crop_px[0]) / side
    return scale, [(crop_px[k] - old_crop_px[k]) / cell + 0.5 * scale - 0.5 for k in (0, 1)]


@cache
def index_grid(side: int) -> tuple[Float32Array, Float32Array]:
    """Row and column numbers, (S, 1) and (1, S)."""
    numbers = np.arange(side, dtype=np.float32)
    return numbers[:, None], numbers[None, :]


def comparable(now: Region, before: Region) -> bool:
    """Whether two crops show enough of the same: otherwise it was a cut, or another head."""
    side = before[2] - before[0]
    ratio = (now[2] - now[0]) / side
    return 0.7 < ratio < 1.4 and all(abs(now[k] - before[k]) < 0.4 * side for k in (0, 1))
