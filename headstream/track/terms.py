"""What the tracker is given: options, a finder of faces, and what mattes say of the heads it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headstream.track.faces import Face
from headstream.track.framing import ROOM
from headstream.types import Box, Frame, Region


class Finder(Protocol):
    """What the tracker needs of a face finder. One that has ``quarters`` and ``scan_lying`` as well, and a ``look`` that takes
    ``roll_deg``, as ``FaceFinder`` has them, makes it follow heads that lie on their side."""

    def scan(self, frame: Frame) -> list[Face]: ...
    def look(self, frame: Frame, region: Region) -> list[Face]: ...


def looked(finder: Any, frame: Frame, region: Region, roll_deg: int) -> list[Face]:
    """What a finder sees in a region where a head leans."""
    leans = roll_deg and hasattr(finder, "quarters")
    found: list[Face] = finder.look(frame, region, roll_deg) if leans else finder.look(frame, region)
    return found


def found_lying(finder: Any, frame: Frame, turns: int, known: Sequence[Box]) -> list[Face]:
    """Faces, but for those that are ``known``, that are upright in a frame turned, as far as a finder looks for them."""
    look = getattr(finder, "scan_lying", None)
    found: list[Face] = [] if look is None else look(frame, turns, known)
    return found


def turns_of(finder: Any, frame: Frame, face: Face, turns: int) -> int:
    """By how many quarters a frame must be turned clockwise for a face to be upright, as far as a finder tells; ``turns``, as it
    was believed to be, where nothing speaks against it."""
    tell = getattr(finder, "quarters", None)
    return turns if tell is None else int(tell(frame, face, turns))


@dataclass(frozen=True)
class TrackOptions:
    """How heads are followed. Times are the clip's own seconds.

    look_every, scan_every: frames between looks around each head, and between scans of the whole picture.  look_within_s:
    and the longest between looks, where frames are few.
    hold_s: how long a head neither detector sees is held where its matte goes on; doubted_s: and where it does not.
    remember_s: how long someone who left keeps their number.  max_heads: more than these are not followed.
    min_fill: mean alpha a matte must have over its face box for the box to be believed.
    padding: side of the first crop in face boxes.  room: of later ones, in sides of the head.  max_padding: the widest they
    become, in face boxes.
    """

    look_every: int = 3
    look_within_s: float = 0.21
    scan_every: int = 15
    hold_s: float = 3.0
    doubted_s: float = 0.25
    remember_s: float = 15.0
    max_heads: int = 8
    min_fill: float = 0.5
    padding: float = 2.4
    max_padding: float = 3.4
    room: float = ROOM


@dataclass(frozen=True)
class Evidence:
    """What a head's matte says of its box.

    fill: mean alpha over the face box, 0..1.  centre_px: its middle, in the frame.  seen_px: the box around it, or None
    for an empty one.
    """

    fill: float
    centre_px: tuple[float, float]
    seen_px: Box | None = None
