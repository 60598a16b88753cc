"""Bringing a clip's colours to the film's: mean and spread of each plane over the face, smoothed over time (after Reinhard
et al., "Color Transfer between Images", IEEE CG&A 2001, on Y'CbCr instead of their space)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from headstream.dub.blend import ColourShift, layers, like_film
from headstream.dub.path import Placed
from headstream.dub.smooth import smoothed
from headstream.dub.warp import clip_frame
from headstream.types import Frame

_STEP = 2  # pixels between those that are compared
_WIDTH_S = 0.5  # of the smoothing: light changes are followed, a mouth that opens is not
_REACH_S = 4.5 * _WIDTH_S
_GAIN = (0.75, 1.33)


def colour_shifts(frames: Iterable[tuple[Frame, Placed, Frame]]) -> list[ColourShift | None]:
    """One for each frame, in order; None where the head is away. Takes (film's frame, its place, the clip's frame)."""
    told: list[tuple[Placed, Any]] = []
    for film, placed, clip in frames:
        stats = None
        if placed.square is not None and placed.head is not None:
            own = clip_frame(film, placed.square, clip.size_px[0])
            stats = np.concatenate([_stats(own), _stats(like_film(clip, film))])
        told.append((placed, stats))
    shifts: list[ColourShift | None] = [None] * len(told)
    shots: dict[int, list[int]] = {}
    for k, (placed, stats) in enumerate(told):
        if stats is not None:
            shots.setdefault(placed.shot, []).append(k)
    for members in shots.values():
        times = np.array([float(told[k][0].time_s) for k in members])
        values = np.stack([told[k][1] for k in members])
        first, last = (np.searchsorted(times, times + reach) for reach in (-_REACH_S, _REACH_S))
        for at, k in enumerate(members):
            near = slice(first[at], last[at])
            there = times[near]
            shifts[k] = _shift(smoothed(there, values[near], np.ones(len(there)), at - int(first[at]), _WIDTH_S))
    return shifts


def _stats(frame: Frame) -> Any:
    """Means of the planes, then their standard deviations, over the middle of the crop; 8-bit levels."""
    scale = 1 << (frame.planes.bits - 8) if frame.planes is not None else 1
    means, spreads = [], []
    for plane, _ in layers(frame):
        height, width = plane.shape[:2]
        middle = (
            plane[height // 4 : height * 3 // 4 : _STEP, width // 4 : width * 3 // 4 : _STEP].astype(np.float64) / scale
        )
        flat = middle.reshape(-1, 1 if plane.ndim == 2 else plane.shape[2])
        means += flat.mean(axis=0).tolist()
        spreads += flat.std(axis=0).tolist()
    return np.array(means + spreads)


def _shift(stats: Any) -> ColourShift:
    film, clip = np.split(stats, 2)
    (film_mean, film_spread), (clip_mean, clip_spread) = np.split(film, 2), np.split(clip, 2)
    gain = np.clip(film_spread / np.maximum(clip_spread, 1.0), *_GAIN)
    if len(gain) == 3:
        gain[1:] = np.clip(gain[1:], 0.9, 1.1)  # chroma is mostly flat: its spread says little
    return ColourShift(tuple(clip_mean.tolist()), tuple(film_mean.tolist()), tuple(gain.tolist()))
