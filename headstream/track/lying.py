"""Heads that lean, lie on their side or stand on their head: what their faces say of it, and when that is believed.

The network knows upright heads best. On labelled faces that lean by 20, 40 and 60 degrees its IoU falls from 0.950 to 0.945,
0.935 and 0.910; shown to it upright, it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headstream.track.faces import Face

# Of faces that stand upright, few have a lower score or lean further; of those that lie, almost all.
_SURE, _LEANS_DEG = 0.75, 40.0
_STEP_DEG = 15
_FROM_DEG, _BACK_DEG = 20.0, 13.0  # from which a head counts as leaning, and under which no longer
_OFF_DEG = 12.0  # how far another step must be away: looks are unsure by some degrees, and mattes must not jump
_MOST_DEG, _BELIEVED = 70.0, 0.7  # further away, or of a face that scores less, landmarks are not to be relied on


@dataclass
class Lying:
    """How one head stands, frame after frame.

    turns: by how many quarters the picture must be turned clockwise for the head to be upright, or nearly.  lean_deg: how far
    it leans clockwise then.  asked: what was told of ``turns`` in the last frame that was looked at, where that is something
    else: only when it is told twice, it is so.
    """

    turns: int = 0
    lean_deg: int = 0
    asked: int | None = None

    @property
    def roll_deg(self) -> int:
        """How far the head leans, clockwise as seen, -180 to 180."""
        return round(_wrapped(self.lean_deg - 90 * self.turns))

    def doubted(self, face: Face) -> bool:
        """Whether it is worth asking for ``turns``. Whoever lies may get up."""
        leans = abs(roll_of(face.landmarks_px)) > _LEANS_DEG
        return self.turns != 0 or self.asked is not None or face.score < _SURE or leans

    def told(self, turns: int) -> None:
        """What the finder says of this frame."""
        if turns == self.turns:
            self.asked = None
        elif turns == self.asked:
            self.turns, self.lean_deg, self.asked = turns, 0, None
        else:
            self.asked = turns

    def seen(self, face: Face) -> None:
        """What the face says of how far the head leans in this frame."""
        lean = _wrapped(roll_of(face.landmarks_px) + 90 * self.turns)
        if abs(lean) <= _MOST_DEG and face.score >= _BELIEVED:
            self.lean_deg = in_steps(lean, self.lean_deg)


def in_steps(lean: float, before: int) -> int:
    """How far a head that leans by so many degrees counts as leaning, where it counted as ``before`` in the last frame."""
    if abs(lean) < (_BACK_DEG if before else _FROM_DEG):
        return 0
    return _STEP_DEG * round(lean / _STEP_DEG) if abs(_wrapped(lean - before)) > _OFF_DEG else before


def roll_of(landmarks_px: np.ndarray[Any, Any]) -> float:
    """How far a face leans, degrees clockwise as seen: from the line of the eyes, and from there to the mouth, as one of them is
    short in a face that looks to the side. landmarks_px: (6, 2), as of ``Face``."""
    right, left, _, mouth = landmarks_px[:4]
    down = mouth - (right + left) / 2
    x, y = left - right + (down[1], -down[0])
    return float(np.degrees(np.arctan2(y, x)))


def _wrapped(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0
