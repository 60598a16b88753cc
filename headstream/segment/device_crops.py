"""Crops made on the device the network runs on: the planes' parts go there in one copy, scaled and coloured they stay there.

Scaling a plane is a product of matrices, rows by plane by columns, which is what such devices do best. The matrices hold
the weights of ``headstream.colour.crop_resized``, so the crops differ from its own by rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from headstream.colour import crop_parts, rgb_from_yuv
from headstream.segment.places import Place
from headstream.types import Float32Array, Planes, UInt8Array

_ALIGN = 16


@lru_cache(maxsize=256)
def scaling(length: int, size: int, halvings: int) -> Float32Array:
    """(size, length) float32: the weights that scale one axis. Halved ``halvings`` times, then averaged by area where it
    still shrinks by more than 1.6, else interpolated between the middles of the two nearest pixels."""
    weights = np.eye(length)
    for _ in range(halvings):
        weights = (weights[0::2] + weights[1::2]) / 2
    side = length >> halvings
    if side == size:
        return weights.astype(np.float32)
    step = side / size
    if step > 1.6:
        edges = np.arange(size + 1) * step
        pixels = np.arange(side)
        shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        last = np.clip(shared, 0, None) / step
    else:
        middles = np.clip((np.arange(size) + 0.5) * step - 0.5, 0, side - 1)
        left = np.minimum(middles.astype(int), max(side - 2, 0))
        last = np.zeros((size, side))
        last[np.arange(size), left] = 1 - (middles - left)
        last[np.arange(size), np.minimum(left + 1, side - 1)] += middles - left
    scaled: Float32Array = (last @ weights).astype(np.float32)
    return scaled


def _halvings(side: int, size: int) -> int:
    count = 0
    while side >= 2 * size and side % 2 == 0:
        side, count = side // 2, count + 1
    return count


class DeviceCrops:
    """Makes (N, side, side, 3) uint8 crops on a device. Not safe to share between threads: everything passes through one
    buffer, page-locked for CUDA."""

    def __init__(self, device: torch.device, side: int) -> None:
        self._device, self._side = device, side
        self._staging = torch.empty(0, dtype=torch.uint8)

    def __call__(self, places: Sequence[Place]) -> torch.Tensor:
        """The squares of pictures, as ``crop_resized`` would give them."""
        parts = [crop_parts(picture, region) for picture, region in places]
        planes = iter(self.uploaded([plane for some in parts for plane in some]))
        return torch.stack(
            [
                self._coloured([next(planes) for _ in some], picture)
                for some, (picture, _) in zip(parts, places, strict=True)
            ]
        )

    def uploaded(self, planes: Sequence[Any]) -> list[torch.Tensor]:
        """Arrays of uint8 or uint16 as float32 tensors on the device, in one copy."""
        ends = list(accumulate(-(-plane.nbytes // _ALIGN) * _ALIGN for plane in planes))
        total, cuda = ends[-1], self._device.type == "cuda"
        if self._staging.numel() < total:
            self._staging = torch.empty(total, dtype=torch.uint8, pin_memory=cuda)
        staged = self._staging.numpy()
        begins = [0, *ends[:-1]]
        for begin, plane in zip(begins, planes, strict=True):
            np.copyto(staged[begin : begin + plane.nbytes].view(plane.dtype).reshape(plane.shape), plane)
        there = self._staging[:total].to(self._device, copy=True)  # waits: the next lot goes into the same memory
        found = []
        for begin, plane in zip(begins, planes, strict=True):
            part = there[begin : begin + plane.nbytes]
            if plane.dtype == np.uint16:  # which torch knows on few devices
                part = part.view(torch.int16).to(torch.int32) & 0xFFFF
            found.append(part.reshape(plane.shape).to(torch.float32))
        return found

    def _coloured(self, planes: list[torch.Tensor], picture: Planes | UInt8Array) -> torch.Tensor:
        """(side, side, 3) uint8 R'G'B'."""
        if not isinstance(picture, Planes):
            scaled = self._scaled(planes[0].permute(2, 0, 1)).permute(1, 2, 0)
            return scaled.round().clamp(0, 255).to(torch.uint8)
        yuv = torch.stack([self._scaled(plane) for plane in planes], dim=-1) / (1 << (picture.bits - 8))
        matrix = rgb_from_yuv(picture.colour.matrix, picture.colour.full_range)
        linear = torch.as_tensor(matrix, dtype=torch.float32, device=self._device)
        rgb = yuv.round().clamp(0, 255) @ linear[:, :3].T + linear[:, 3]
        return rgb.round().clamp(0, 255).to(torch.uint8)

    def _scaled(self, plane: torch.Tensor) -> torch.Tensor:
        """(..., side, side) of (..., h, w)."""
        height, width = plane.shape[-2:]
        halvings = _halvings(height, self._side)
        # A plane of 4:2:2 is half as wide as high: the first halving leaves its rows' lengths alone.
        across = max(0, halvings - (height // width - 1))
        rows, columns = (
            torch.from_numpy(scaling(length, self._side, count)).to(self._device)
            for length, count in ((height, halvings), (width, across))
        )
        return rows @ plane @ columns.T
