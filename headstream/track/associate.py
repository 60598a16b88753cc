"""Which face goes with which track: small pure functions."""

from __future__ import annotations

import numpy as np

from headstream.track.boxes import even
from headstream.types import Box, Float32Array, Region


def blended(old: Float32Array | None, new: Float32Array | None) -> Float32Array | None:
    """A description that follows the latest one slowly."""
    if old is None or new is None:
        return new if old is None else old
    return (0.8 * old + 0.2 * new).astype(np.float32)


def is_rest_of(box: Box, head: Box, size_px: tuple[int, int]) -> bool:
    """Whether a face's box is what a detector makes of ``head`` where the picture's border cuts it: a smaller face in it."""
    width, height = size_px
    if head[0] >= 0 and head[1] >= 0 and head[2] <= width and head[3] <= height:
        return False
    return _share_in(box, head) > 0.25


def is_part_of(box: Box, face: Box) -> bool:
    """Whether a face's box is a smaller one that lies in that of a ``face`` which is seen, too: whoever is behind that would be
    hidden. Not so a child before it, held to the chin: of that, about two thirds lie in it; of parts that pass for faces,
    four fifths and more."""
    return box[2] - box[0] < face[2] - face[0] and _share_in(box, face) > 0.78


def _share_in(box: Box, other: Box) -> float:
    """How much of a box lies in another, 0..1."""
    w, h = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    return max(w, 0.0) * max(h, 0.0) / max((box[2] - box[0]) * (box[3] - box[1]), 1e-6)


def best_pairs(costs: list[list[float]]) -> dict[int, int]:
    """Row -> column, each used once: cheapest first, then swapped while that lowers the sum."""
    order = sorted((c, i, j) for i, row in enumerate(costs) for j, c in enumerate(row) if np.isfinite(c))
    pairs: dict[int, int] = {}
    for _, i, j in order:
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    better = True
    while better:
        better = False
        for a in pairs:
            for b in pairs:
                swapped = costs[a][pairs[b]] + costs[b][pairs[a]]
                if a < b and swapped < costs[a][pairs[a]] + costs[b][pairs[b]] - 1e-9:
                    pairs[a], pairs[b], better = pairs[b], pairs[a], True
    return pairs


def steady_crop(wanted: Region, last: Region | None) -> Region:
    """The last crop again while the wanted one is hardly elsewhere: a still head is then sampled on the same grid."""
    if last is None:
        return wanted
    side, last_side = wanted[2] - wanted[0], last[2] - last[0]
    moved = max(abs(wanted[k] + wanted[k + 2] - last[k] - last[k + 2]) / 2 for k in (0, 1))
    if abs(side - last_side) < 0.04 * last_side:
        if moved < 0.015 * last_side:
            return last
        left, top = (even((wanted[k] + wanted[k + 2] - last_side) / 2) for k in (0, 1))
        return left, top, left + last_side, top + last_side
    return wanted
