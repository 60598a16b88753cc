"""Where the square around a head goes: as tight as the network's last matte allows, so that no pixel of it is wasted."""

from __future__ import annotations

from dataclasses import dataclass

from headstream.track.boxes import crop_square
from headstream.types import Box, Region

ROOM = 1.25  # crop side in head sides: the network is trained with this much around a head
_LEAST = 1.7  # crop side in face boxes
_OFF_CENTRE = 0.2  # crop sides the face's middle may be away from the crop's
_SLACK = 0.06  # crop sides the head may grow, shrink or move before the framing follows it


@dataclass(frozen=True)
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
        dx, dy = self.dx * unit, self.dy * unit
        return crop_square((x0 + dx, y0 + dy, x1 + dx, y1 + dy), self.side)

    def towards(self, wanted: Framing) -> Framing:
        """One frame's step from this framing to another.

        Widening is quicker than narrowing: hair at the border is being lost, room around it only costs resolution.
        """
        side, slack = self.side, _SLACK * self.side
        if not side - 2 * slack < wanted.side < side + slack:
            side *= min(max(wanted.side / side, 0.99), 1.04)
        return Framing(side, _nearer(self.dx, wanted.dx, slack), _nearer(self.dy, wanted.dy, slack))


def _nearer(now: float, wanted: float, slack: float) -> float:
    return now if abs(wanted - now) <= slack else now + 0.15 * (wanted - now)


def framing_of(seen: Box, box: Box, widest: float, room: float = ROOM) -> Framing:
    """The framing that suits a head, ``seen``, whose face is ``box``: ``room`` head sides, at most ``widest`` face boxes."""
    unit = max(box[2] - box[0], box[3] - box[1], 1e-6)
    side = min(max(room * max(seen[2] - seen[0], seen[3] - seen[1]) / unit, _LEAST), widest)
    reach = _OFF_CENTRE * side  # further away, the face would no longer be what the crop is about
    dx, dy = (min(max((seen[k] + seen[k + 2] - box[k] - box[k + 2]) / 2 / unit, -reach), reach) for k in (0, 1))
    return Framing(side, dx, dy)


def widened(crop_px: Region, cut: tuple[bool, bool, bool, bool]) -> Region:
    """A square an eighth larger, its corners even, that goes on where the head does: left, top, right, bottom of ``cut``."""
    more = (crop_px[2] - crop_px[0]) // 16 * 2
    x0, y0 = (
        start - (more // 4 * 2 if before == after else more if before else 0)
        for start, before, after in ((crop_px[0], cut[0], cut[2]), (crop_px[1], cut[1], cut[3]))
    )
    side = crop_px[2] - crop_px[0] + more
    return x0, y0, x0 + side, y0 + side
