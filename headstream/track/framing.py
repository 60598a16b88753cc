"""Where the square around a head goes: as tight as the network's last matte allows, so that no pixel of it is wasted."""

from __future__ import annotations

from dataclasses import dataclass

from headstream.track.finder import even
from headstream.types import Box, Region

_ROOM = 1.25  # crop side in head sides: the network is trained with this much around a head
_LEAST = 1.7  # crop side in face boxes
_OFF_CENTRE = 0.2  # crop sides the face's middle may be away from the crop's
_SLACK = 0.06  # crop sides the head may grow, shrink or move before the framing follows it


@dataclass
class Framing:
    """The square crop of one head, in sides of its face box.

    side: of the crop.  dx, dy: from the middle of the face box to the crop's.
    """

    side: float
    dx: float = 0.0
    dy: float = 0.0

    def square(self, box: Box) -> Region:
        """The crop around a face box, its corners even."""
        x0, y0, x1, y1 = box
        unit = max(x1 - x0, y1 - y0)
        side = max(2, even(self.side * unit))
        left = even((x0 + x1) / 2 + self.dx * unit - side / 2)
        top = even((y0 + y1) / 2 + self.dy * unit - side / 2)
        return left, top, left + side, top + side

    def follow(self, seen: Box, box: Box, widest: float, *, at_once: bool = False) -> None:
        """Move towards the frame that suits a head, ``seen``, whose face is ``box``: a little a frame, or at once.

        Widening is quicker than narrowing: hair at the border is being lost, room around it only costs resolution.
        """
        wanted = _wanted(seen, box, widest)
        if at_once:
            self.side, self.dx, self.dy = wanted.side, wanted.dx, wanted.dy
            return
        if not 1 - 2 * _SLACK < wanted.side / self.side < 1 + _SLACK:
            self.side *= min(max(wanted.side / self.side, 0.99), 1.04)
        for axis in ("dx", "dy"):
            away = getattr(wanted, axis) - getattr(self, axis)
            if abs(away) > _SLACK * self.side:
                setattr(self, axis, getattr(self, axis) + 0.15 * away)


def _wanted(seen: Box, box: Box, widest: float) -> Framing:
    unit = max(box[2] - box[0], box[3] - box[1], 1e-6)
    side = min(max(_ROOM * max(seen[2] - seen[0], seen[3] - seen[1]) / unit, _LEAST), widest)
    reach = _OFF_CENTRE * side
    dx, dy = (
        min(max((seen[k] + seen[k + 2] - box[k] - box[k + 2]) / 2 / unit, -reach), reach) for k in (0, 1)
    )  # beyond it, the face would no longer be what the crop is about
    return Framing(side, dx, dy)
