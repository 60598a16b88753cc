"""Somebody else's head beside the one that is cut: a network that sees two heads touch gives both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headstream.matte.grid import ramp
from headstream.types import Float32Array, Head, Part

_LATELY = 3  # frames since a face was seen, for its place to be known
_ABOVE = 0.14  # of the face box: how far the middle of a head lies above that of its face
_APART = 0.5  # of both face boxes, between two heads' middles: nearer, they are one, or one is behind the other
_REACH = (0.85, 1.0)  # face boxes from a head's middle: all within is the head's, nothing further is
_FACE, _FILL = 0.4, 0.7  # face boxes around a face's middle, and what share of that is head where there is one
_BORDER = (-0.06, 0.06)  # face boxes, nearer to one or the other


def alone(
    planes: Mapping[Part, Float32Array], heads: Sequence[Head], people: Sequence[Head]
) -> dict[Part, Float32Array]:
    """What a network says of some heads without what belongs to others.

    planes: (N, S, S) of each part, over the heads' crops; returned as they are where nobody else is near, and without
    the whole head among them, which alone tells whether there is one where somebody else's face was found.
    people: whose heads are not theirs; a head itself among them is passed over.
    """
    found = dict(planes)
    for k, head in enumerate(heads):
        others = [p for p in people if p.track_id != head.track_id and p.unseen_frames <= _LATELY]
        if not others or head.unseen_frames > _LATELY or "head" not in planes:
            continue
        share = _share(planes["head"][k], head, others)
        if share is not None:
            for part, alphas in found.items():
                if alphas is planes[part]:
                    found[part] = alphas = alphas.copy()
                alphas[k] *= share
    return found


def _share(alpha: Float32Array, head: Head, others: Sequence[Head]) -> Float32Array | None:
    """(S, S), 0..1: what of the crop of ``head`` can be its own and is not nearer to the face of another, each by its own size.
    None where nobody is near."""
    x0, y0, x1, y1 = head.crop_px
    own, share = _middle(head), None
    cells = (np.arange(len(alpha), dtype=np.float32) + 0.5) * np.float32((x1 - x0) / len(alpha))
    xs, ys = cells[None, :] + x0, cells[:, None] + y0
    for other in others:
        x, y, unit = _middle(other)
        near = x0 - unit < x < x1 + unit and y0 - unit < y < y1 + unit
        if not near or np.hypot(x - own[0], y - own[1]) < _APART * (unit + own[2]):
            continue
        face_x, face_y = (other.box_px[0] + other.box_px[2]) / 2, (other.box_px[1] + other.box_px[3]) / 2
        face = alpha[np.hypot(xs - face_x, ys - face_y) < _FACE * unit]
        if not face.size or face.mean() < _FILL:  # a plant that was taken for a face must not cost her hair
            continue
        theirs = np.hypot(xs - x, ys - y) / unit
        nearer = 1 - ramp(theirs - np.hypot(xs - own[0], ys - own[1]) / own[2], _BORDER)
        left = 1 - nearer * (1 - ramp(theirs, _REACH))
        share = left if share is None else share * left
    return None if share is None else share.astype(np.float32)


def _middle(head: Head) -> tuple[float, float, float]:
    """Where the middle of a head is, and the size of its face, in pixels."""
    box = head.box_px
    unit = max(box[2] - box[0], box[3] - box[1])
    roll = np.radians(head.roll_deg)
    x, y = _ABOVE * unit * float(np.sin(roll)), -_ABOVE * unit * float(np.cos(roll))
    return (box[0] + box[2]) / 2 + x, (box[1] + box[3]) / 2 + y, unit
