"""Soft labels by a teacher, for pictures whose truth is not known or only in part.

The teacher looks at each picture several times: framed more or less tightly, mirrored. The mean of what it says is
better than any one of its answers, and is what a student then learns from, under augmentations the teacher did not see
(Xie et al., "Self-training with Noisy Student", arXiv:1911.04252).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from headstream.shared.colour import PAD
from headstream.train.augment import head_middle, warp
from headstream.train.data import DataSet
from headstream.train.picture import Picture
from headstream.types import Float32Array, Float64Array, UInt8Array

Predict = Callable[[UInt8Array], Float32Array]  # (N, S, S, 3) uint8 -> (N, S, S, 3) float32: head, hair, body
ZOOMS = (1.75, 2.2, 2.8)  # crop sides in face boxes


def write_soft_labels(
    data: DataSet,
    teachers: Sequence[Predict],
    out: Path,
    *,
    side: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write NAME.png (R head, G hair, B body) for every picture of a set; those already there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(data.names, 1):
        path = out / f"{name}.png"
        if not path.exists():
            part = out / f".{name}.png"
            Image.fromarray(soft_label(data.load(name), teachers, side=side)).save(part)
            part.replace(path)
        if progress is not None:
            progress(number, len(data.names))


def soft_label(picture: Picture, teachers: Sequence[Predict], *, side: int) -> UInt8Array:
    """(H, W, 3) uint8: the mean of all teachers over all framings; 0 where none of them looked."""
    height, width = picture.rgb.shape[:2]
    matrices = [_framed(picture, zoom, side) for zoom in ZOOMS]
    crops = np.stack([warp(picture.rgb, matrix, side, PAD) for matrix in matrices])
    both = np.concatenate([crops, crops[:, :, ::-1]])
    said = np.mean([_unmirrored(teacher(both), len(matrices)) for teacher in teachers], axis=0)
    total = np.zeros((height, width, 3), np.float32)
    looks = np.full((height, width, 1), 1e-6, np.float32)
    for matrix, alpha in zip(matrices, said, strict=True):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        total += cv2.warpAffine(np.ascontiguousarray(alpha, np.float32), matrix, (width, height), flags=flags)
        seen = cv2.warpAffine(np.ones((side, side), np.float32), matrix, (width, height), flags=flags)
        looks += seen[..., None]
    mean = np.where(looks > 0.5, total / looks, 0)
    return (np.clip(mean, 0, 1) * 255 + 0.5).astype(np.uint8)


def _unmirrored(alpha: Float32Array, count: int) -> Float32Array:
    mean: Float32Array = (alpha[:count] + alpha[count:, :, ::-1]) * np.float32(0.5)
    return mean


def _framed(picture: Picture, zoom: float, side: int) -> Float64Array:
    cx, cy, face = head_middle(picture)
    scale = side / (face * zoom)
    return np.array([[scale, 0, side / 2 - scale * cx], [0, scale, side / 2 - scale * cy]])
