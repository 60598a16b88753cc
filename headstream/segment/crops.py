"""What every back-end does the same way: check what comes in, fit it to the network's size, pick the plane asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from headstream.errors import ModelError, UsageError
from headstream.segment.registry import ModelCard
from headstream.types import Float32Array, Part, UInt8Array

_LARGEST_SIDE_PX = 4096  # far past what networks look at; a card or checkpoint that says more is wrong, or means harm


class NotPicturesError(UsageError, ValueError):
    """What a network is given is no batch of pictures."""


class CropSegmenter(ABC):
    """A network that looks at squares.

    card: what is known of it.  name: its name.  parts: what it can be asked for.  side: pixels of that square; crops of
    that size are passed on unscaled.  device: what it runs on.  threads: of the CPU it may use.  at_once: how many frames
    of a file it is best asked about in one run: one on the CPU, which is busy with one.  makes_crops: whether it has
    ``predict_places``, which makes the crops where the network is.
    """

    at_once = 1
    makes_crops = False

    def __init__(self, card: ModelCard, device: str, threads: int) -> None:
        side: Any = card.side  # as a file has it
        if not isinstance(side, int) or not 1 <= side <= _LARGEST_SIDE_PX:
            raise ModelError(f"model {card.name}: its side is {side!r}, expected 1 to {_LARGEST_SIDE_PX} pixels")
        self.card, self.side, self.device, self.threads = card, card.side, device, threads
        self.name, self.parts = card.name, tuple(name for name in card.outputs if name != "background")

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        """(N, H, W, 3) uint8 -> alpha (N, H, W) float32, 0..1. The picture is the crop. Raises UsageError for anything else,
        ModelError for a part the network does not know."""
        return self.predict_parts(rgb, (part,))[0]

    def predict_parts(self, rgb: UInt8Array, parts: Sequence[Part]) -> Float32Array:
        """Like ``predict`` for several parts in one run of the network: (P, N, H, W)."""
        if not isinstance(rgb, np.ndarray):
            raise NotPicturesError(f"rgb must be an array (N, H, W, 3) uint8, got {type(rgb).__name__}")
        if rgb.ndim != 4 or rgb.shape[3] != 3 or 0 in rgb.shape[1:] or rgb.dtype != np.uint8:
            raise NotPicturesError(
                f"rgb must be (N, H, W, 3) uint8 with H and W of at least 1, got {rgb.shape} {rgb.dtype}"
            )
        planes = self._planes(parts)
        count, height, width = rgb.shape[:3]
        if count == 0:
            return np.zeros((len(parts), 0, height, width), np.float32)
        suits = (height, width) == (self.side, self.side)
        crops = rgb if suits else np.stack([_resized(p, self.side, self.side) for p in rgb])
        alpha = self._run(crops)[:, planes].swapaxes(0, 1)
        if alpha.shape[2:] == (height, width):
            return alpha
        return np.stack([[_resized(np.ascontiguousarray(a), height, width) for a in plane] for plane in alpha])

    def _planes(self, parts: Sequence[Part]) -> list[int]:
        """The numbers of the outputs that are asked for."""
        for part in parts:
            if part not in self.card.outputs:
                raise ModelError(f"model {self.name} knows {', '.join(self.parts)}, not {part!r}")
        return [self.card.outputs.index(part) for part in parts]

    @abstractmethod
    def _run(self, crops: UInt8Array) -> Float32Array:
        """(N, side, side, 3) uint8 -> alpha (N, outputs, H, W) float32, 0..1. Of many networks H and W are less than side."""


def _resized(image: Any, height: int, width: int) -> Any:
    shrinks = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
