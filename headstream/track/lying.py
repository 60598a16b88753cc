"""Heads that lie on their side, or stand on their head: somebody in bed, a film whose rotation nobody noted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstream.track.faces import Face

# Of faces that stand upright, few have a lower score or lean further; of those that lie, almost all.
_SURE, _LEANS_DEG = 0.75, 40.0


@dataclass
class Lying:
    """Which way up one head is, frame after frame.

    turns: by how many quarters the picture must be turned clockwise for the head to be upright.  asked: what was told of the
    last frame that was looked at, where that is something else: only when it is told twice, it is so.
    """

    turns: int = 0
    asked: int | None = None

    def doubted(self, face: Face) -> bool:
        """Whether it is worth asking. Whoever lies may get up."""
        right, left = face.landmarks_px[:2]
        leans = abs(float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))))
        return self.turns != 0 or self.asked is not None or face.score < _SURE or leans > _LEANS_DEG

    def told(self, turns: int) -> None:
        """What the finder says of this frame."""
        if turns == self.turns:
            self.asked = None
        elif turns == self.asked:
            self.turns, self.asked = turns, None
        else:
            self.asked = turns
