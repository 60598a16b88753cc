"""Whose heads are cut out of those that are seen."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from headstream.types import Head

Heads = Literal["largest", "all"] | int
# Another head must be this much larger, for this long, before "largest" moves over to it: detectors err for moments.
_SWITCH_RATIO, _SWITCH_AFTER_S = 1.35, 1


@dataclass
class Choice:
    """Who is cut, remembered from frame to frame.

    largest: the number of the head that "largest" means.  rival: who may take over, and since when (clip time).
    """

    largest: int | None = None
    rival: tuple[int, Fraction] | None = None

    def of(self, heads: tuple[Head, ...], wish: Heads, now_s: Fraction) -> list[Head]:
        """Those of ``heads`` that are wanted in the next frame. ``heads`` must not be empty."""
        if wish == "all":
            return list(heads)
        if isinstance(wish, int):
            return [head for head in heads if head.track_id == wish]
        largest = max(heads, key=_size)
        current = next((head for head in heads if head.track_id == self.largest), None)
        if current is not None and not self._takes_over(largest, current, now_s):
            return [current]
        self.largest, self.rival = largest.track_id, None
        return [largest]

    def _takes_over(self, largest: Head, current: Head, now_s: Fraction) -> bool:
        """Whether the largest head has been much larger than the one being cut for long enough."""
        if _size(largest) < _SWITCH_RATIO * _size(current):
            self.rival = None
            return False
        if self.rival is None or self.rival[0] != largest.track_id:
            self.rival = (largest.track_id, now_s)
        return now_s - self.rival[1] >= _SWITCH_AFTER_S


def _size(head: Head) -> float:
    return head.box_px[2] - head.box_px[0]
