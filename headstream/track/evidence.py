"""What mattes say of the face boxes they were made for: whether a head is there, where it goes, how far it reaches.

A whole head fills its face box, and reaches as far as its matte does. A part of one says less: see ``evidence_of``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from headstream.shared.regions import around
from headstream.track.boxes import overlap
from headstream.track.terms import Evidence
from headstream.types import Box, Float32Array, Head, Part, Region

_STRAY = 4  # cells along a crop's border that are no head cut off yet

# Share of the face box that a part fills where there is a face. Over 249 labelled faces the true fill is, least and
# median, head 0.76 and 1.00, face 0.70 and 0.96, skin 0.31 and 0.71; every other part can be missing, like the hair.
FACE_SHARE: Mapping[Part, float] = {"head": 1.0, "face": 1.0, "skin": 0.6}


def evidence_of(planes: Mapping[Part, Float32Array], part: Part, heads: Sequence[Head]) -> dict[int, Evidence]:
    """Evidence by head, from the mattes (N, S, S) of N heads: of the whole head where there is one, else of ``part``.

    A part that fills the face, or most of it, speaks for or against a box as a head does. One that need not be there
    (hair, a hat) speaks for it where it is seen, and not at all where it is not: the bald are people. Neither tells how
    far the head reaches, which is guessed from the face box where the part does not reach further.
    """
    if "head" in planes:
        return {head.track_id: matte_evidence(a, head) for a, head in zip(planes["head"], heads, strict=True)}
    found = {}
    for alpha, head in zip(planes[part], heads, strict=True):
        seen = matte_evidence(alpha, head)
        likely = likely_head(head.box_px)
        if part in FACE_SHARE:
            fill = min(1.0, seen.fill / FACE_SHARE[part])
        elif seen.seen_px is not None and overlap(seen.seen_px, likely) > 0:
            fill = 1.0
        else:
            continue
        reach = None if seen.seen_px is None else around(seen.seen_px, likely)
        found[head.track_id] = Evidence(fill, seen.centre_px, reach)
    return found


def likely_head(face: Box) -> Box:
    """The box a head is likely to fill, from that of its face: half as large again, a little above."""
    x0, y0, x1, y1 = face
    side = max(x1 - x0, y1 - y0)
    cx, cy, half = (x0 + x1) / 2, (y0 + y1) / 2 - 0.14 * side, 0.75 * side
    return cx - half, cy - half, cx + half, cy + half


def matte_evidence(alpha: Float32Array, head: Head) -> Evidence:
    """What a head matte, (S, S) over the head's crop, says of the face box it was made for."""
    side = alpha.shape[0]
    x0, y0, x1, _ = head.crop_px
    cell = (x1 - x0) / side
    bx0, by0, bx1, by1 = ((v - o) / cell for v, o in zip(head.box_px, (x0, y0, x0, y0), strict=True))
    inset = 0.15 * (bx1 - bx0)  # the box's corners are not face
    inner = alpha[
        max(0, round(by0 + inset)) : max(0, round(by1 - inset)), max(0, round(bx0 + inset)) : max(0, round(bx1 - inset))
    ]
    fill = float(inner.mean()) if inner.size else 0.0
    total = float(alpha.sum()) + 1e-6
    steps = np.arange(side) + 0.5
    centre = (
        x0 + float(alpha.sum(axis=0) @ steps) / total * cell,
        y0 + float(alpha.sum(axis=1) @ steps) / total * cell,
    )
    return Evidence(fill, centre, _around(alpha, (x0, y0), cell))


def cut_sides(alpha: Float32Array, crop_px: Region, size_px: tuple[int, int]) -> tuple[bool, bool, bool, bool]:
    """Left, top, right, bottom: where a head, (S, S) over ``crop_px``, goes on beyond its crop while the picture goes on, too."""
    left, top, right, bottom = (
        int(np.count_nonzero(edge > 0.5)) > 2 * _STRAY for edge in (alpha[:, :2], alpha[:2], alpha[:, -2:], alpha[-2:])
    )
    x0, y0, x1, y1 = crop_px
    return left and x0 > 0, top and y0 > 0, right and x1 < size_px[0], bottom and y1 < size_px[1]


def _around(alpha: Float32Array, corner: tuple[int, int], cell: float) -> Box | None:
    """The box around what is more head than not, in frame pixels; a few stray cells do not count."""
    solid = (alpha > 0.5).astype(np.uint8)
    ends: list[tuple[float, float]] = []
    for axis, origin in enumerate(corner):
        sums = cv2.reduce(solid, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        seen = np.flatnonzero(sums > 2)
        if len(seen) == 0:
            return None
        ends.append((origin + float(seen[0]) * cell, origin + float(seen[-1] + 1) * cell))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom
