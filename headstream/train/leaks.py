"""Pictures that are in two splits at once, found by what they look like: file names prove nothing.

Difference hash (Krawetz, "Kind of Like That", 2013): whether each pixel of a 9 x 8 grey thumbnail is darker than its
right neighbour. Pictures whose 64 bits differ in a few places are the same, scaled, recompressed or recoloured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from headstream.train.data import DataSet
from headstream.types import UInt8Array

_SAME_BITS = 4  # of 64; unrelated portraits differ in 20 or more, most of the time


@dataclass(frozen=True)
class Pair:
    """Two pictures that look the same, as SET/NAME, and in how many of 64 bits they differ."""

    first: str
    second: str
    bits: int


def difference_hash(rgb: UInt8Array) -> UInt8Array:
    """(8,) uint8: the 64 bits of a picture, (H, W, 3) uint8."""
    grey = cv2.cvtColor(cv2.resize(rgb, (9, 8), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.packbits(grey[:, :-1] < grey[:, 1:])


def duplicates_between(
    first: Sequence[DataSet],
    second: Sequence[DataSet],
    *,
    bits: int = _SAME_BITS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Pair]:
    """Pairs of pictures, one of each side, that look the same; the closest first. progress: of the pictures looked at."""
    if not second:
        return []
    pictures = [(data, name) for data in (*first, *second) for name in data.names]
    seen: Any = np.empty((len(pictures), 8), np.uint8)
    for number, (data, name) in enumerate(pictures):
        seen[number] = difference_hash(data.rgb(name))
        if progress is not None:
            progress(number + 1, len(pictures))
    names = [f"{data.root.name}/{name}" for data, name in pictures]
    split = sum(len(data.names) for data in first)
    names_a, hashes_a, names_b, hashes_b = names[:split], seen[:split], names[split:], seen[split:]
    pairs = []
    for name, one in zip(names_b, hashes_b, strict=True):
        apart = np.unpackbits(hashes_a ^ one, axis=1).sum(axis=1)
        pairs += [Pair(names_a[k], name, int(apart[k])) for k in np.flatnonzero(apart <= bits)]
    return sorted(pairs, key=lambda pair: pair.bits)
