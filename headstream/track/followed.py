"""What the tracker remembers of each head from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstream.track.departed import Departed, Gone
from headstream.track.faces import Face
from headstream.track.framing import Framing
from headstream.track.kalman import BoxFilter, Quantity
from headstream.track.lying import Lying
from headstream.types import Box, Float32Array, Region


@dataclass
class Track:
    """One head that is followed. Times are the clip's seconds, ``born`` a number of frames."""

    track_id: int
    filter: BoxFilter
    face: Face
    born: int
    seen_s: float
    supported_s: float
    framing: Framing
    unseen_frames: int = 0
    crop_px: Region | None = None
    matte_offset: tuple[float, float] | None = None
    looks: Float32Array | None = None
    box: Box = (0.0, 0.0, 0.0, 0.0)
    cut_frames: int = 0  # in a row, whose crop cut the head off
    was: Gone | None = None  # of somebody who returned
    lying: Lying = field(default_factory=Lying)


@dataclass
class Refused:
    """A face box no head fills, and until when it is not looked at again."""

    box: Box
    until_s: float


# The classes a snapshot of a tracker is made of.
REMEMBERED = (Track, Departed, Gone, Refused, BoxFilter, Quantity, Face, Framing, Lying)
