"""Crops made on the device the network runs on: the planes' parts go there in one copy, and are scaled and coloured there.

Scaling a plane is a product of matrices, rows by plane by columns, which is what such devices do best. The matrices hold
the weights of ``headstream.shared.colour.crop_resized``, so the crops differ from its own by rounding only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from headstream.segment.places import Place
from headstream.shared.colour import crop_parts, rgb_from_yuv
from headstream.types import Float32Array, Planes

_ALIGN = 16
_WEIGHTS_KEPT = 24  # a head that comes nearer has another size every few frames; each is a megabyte or two


def scaling(length: int, size: int, block: int, area: bool) -> Float32Array:
    """(size, length) float32: the weights that scale one axis. Blocks of so many pixels are averaged; what that leaves is
    averaged by area, or interpolated between the middles of the two nearest pixels."""
    side = length // block
    step = side / size
    if area:
        edges, pixels = np.arange(size + 1) * step, np.arange(side)
        shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        weights = np.clip(shared, 0, None) / step
    else:
        middles = np.clip((np.arange(size) + 0.5) * step - 0.5, 0, side - 1)
        left = np.minimum(middles.astype(int), max(side - 2, 0))
        weights = np.zeros((size, side))
        weights[np.arange(size), left] = 1 - (middles - left)
        weights[np.arange(size), np.minimum(left + 1, side - 1)] += middles - left
    return np.repeat(weights.astype(np.float32) / np.float32(block), block, axis=1)


def plan(height: int, width: int, size: int) -> tuple[int, int, bool]:
    """How ``crop_resized`` scales a plane to a square: pixels of a block down and across, and whether by area after that.

    Its first halving makes chroma of 4:2:2 and 4:4:0 square."""
    side = height
    while side >= 2 * size and side % 2 == 0:
        side //= 2
    down, across = height // side, width // side if side < height else 1
    return down, across, side > 1.6 * size and width // across >= size


class DeviceCrops:
    """Makes (N, side, side, 3) uint8 crops on a device. Not safe to share between threads: everything passes through one
    buffer, page-locked for CUDA."""

    def __init__(self, device: torch.device, side: int) -> None:
        self._device, self._side = device, side
        self._staging = torch.empty(0, dtype=torch.uint8)
        self._weights: OrderedDict[tuple[int, int, bool], torch.Tensor] = OrderedDict()

    def __call__(self, places: Sequence[Place]) -> torch.Tensor:
        """The squares of pictures, as ``crop_resized`` would give them. At least one."""
        parts = [crop_parts(picture, region) for picture, region in places]
        there = iter(self.uploaded([plane for some in parts for plane in some]))
        crops: list[torch.Tensor | None] = [None] * len(places)
        alike: dict[Any, list[tuple[int, list[torch.Tensor]]]] = {}
        for k, ((picture, _), some) in enumerate(zip(places, parts, strict=True)):
            how = (picture.colour, picture.bits) if isinstance(picture, Planes) else None
            alike.setdefault((how, *(plane.shape for plane in some)), []).append((k, [next(there) for _ in some]))
        for (how, *_), lot in alike.items():
            planes = [torch.stack(same) for same in zip(*(planes for _, planes in lot), strict=True)]
            for (k, _), crop in zip(lot, self._coloured(planes, how), strict=True):
                crops[k] = crop
        return torch.stack([crop for crop in crops if crop is not None])

    def uploaded(self, planes: Sequence[Any]) -> list[torch.Tensor]:
        """Arrays of uint8 or uint16 as float32 tensors on the device, in one copy."""
        ends = list(accumulate(-(-plane.nbytes // _ALIGN) * _ALIGN for plane in planes))
        if self._staging.numel() < ends[-1]:
            self._staging = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        staged = self._staging.numpy()
        begins = [0, *ends[:-1]]
        for begin, plane in zip(begins, planes, strict=True):
            np.copyto(staged[begin : begin + plane.nbytes].view(plane.dtype).reshape(plane.shape), plane)
        there = self._staging[: ends[-1]].to(self._device, copy=True)  # waits: the next lot goes into the same memory
        found = []
        for begin, plane in zip(begins, planes, strict=True):
            part = there[begin : begin + plane.nbytes]
            if plane.dtype == np.uint16:  # which torch knows on few devices
                part = part.view(torch.int16).to(torch.int32) & 0xFFFF
            found.append(part.reshape(plane.shape).to(torch.float32))
        return found

    def _coloured(self, planes: list[torch.Tensor], how: tuple[Any, int] | None) -> torch.Tensor:
        """(n, side, side, 3) uint8 R'G'B' of n pictures alike. how: their colour and depth, None for R'G'B'."""
        if how is None:
            return _as_bytes(self._scaled(planes[0].permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        colour, bits = how
        yuv = torch.stack([self._scaled(plane) for plane in planes], dim=-1) / (1 << (bits - 8))
        linear = torch.as_tensor(rgb_from_yuv(colour.matrix, colour.full_range), dtype=torch.float32).to(self._device)
        return _as_bytes(yuv.round().clamp(0, 255) @ linear[:, :3].T + linear[:, 3])

    def _scaled(self, plane: torch.Tensor) -> torch.Tensor:
        """(..., side, side) of (..., h, w)."""
        height, width = plane.shape[-2:]
        if (height, width) == (self._side, self._side):
            return plane
        down, across, area = plan(height, width, self._side)
        return self._kept(height, down, area) @ plane @ self._kept(width, across, area).T

    def _kept(self, length: int, block: int, area: bool) -> torch.Tensor:
        """Weights on the device, those of late."""
        key = (length, block, area)
        if key not in self._weights:
            self._weights[key] = torch.from_numpy(scaling(length, self._side, block, area)).to(self._device)
            while len(self._weights) > _WEIGHTS_KEPT:
                self._weights.popitem(last=False)
        self._weights.move_to_end(key)
        return self._weights[key]


def _as_bytes(rgb: torch.Tensor) -> torch.Tensor:
    return rgb.round().clamp(0, 255).to(torch.uint8)
