"""Pictures that are in two splits at once, found by what they look like: file names prove nothing.

Difference hash (Krawetz, "Kind of Like That", 2013): whether each pixel of a 9 x 8 grey thumbnail is darker than its
right neighbour. Pictures whose 64 bits differ in a few places are the same, scaled, recompressed or recoloured.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def hashes(sets: Sequence[DataSet]) -> tuple[list[str], Any]:
    """Names and (N, 8) uint8 hashes of all pictures of some sets."""
    names, bits = [], []
    for data in sets:
        for name in data.names:
            names.append(f"{data.root.name}/{name}")
            bits.append(difference_hash(data.rgb(name)))
    return names, np.array(bits, np.uint8).reshape(-1, 8)


def duplicates_between(first: Sequence[DataSet], second: Sequence[DataSet], *, bits: int = _SAME_BITS) -> list[Pair]:
    """Pairs of pictures, one of each side, that look the same; the closest first."""
    if not second:
        return []
    names_a, hashes_a = hashes(first)
    names_b, hashes_b = hashes(second)
    pairs = []
    for name, one in zip(names_b, hashes_b, strict=True):
        apart = np.unpackbits(hashes_a ^ one, axis=1).sum(axis=1)
        pairs += [Pair(names_a[k], name, int(apart[k])) for k in np.flatnonzero(apart <= bits)]
    return sorted(pairs, key=lambda pair: pair.bits)
