"""A clip put back into its film.

What goes back is the difference the clip's maker made, not the clip: the film's own crop is made once more, and where
the clip equals it the film's pixels stay as they are, bit for bit, with their grain and sharpness. Where the clip was
changed a little, the change is added to the film; where it was changed a lot, the clip takes the film's place, so that
nothing of the old picture shines through. With S the film, C the clip, R the film's crop and U the way back,

    out = (1 - a) (S + U(k (C - R))) + a U(C)

a and k rise from 0 to 1 with the change, low-passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from headstream.dub.path import Square
from headstream.dub.warp import Steps, clip_frame, covered, put_back
from headstream.shared.colour import at_bits, planes_from_rgb, resample_chroma
from headstream.shared.regions import chroma_index
from headstream.types import Float32Array, Frame, Plane, Planes, Region

# Levels of 255, low-passed: below the first a change is the codec's noise, above the second it is somebody's work.
_NOTICED = (1.0, 3.0)
# Between these the film's picture gives way to the clip's.
_REPLACED = (4.0, 16.0)
_MAX_GRAIN = 6.0
# Standard deviation of white noise after what ``_grain`` takes from it: x - Gaussian(x, 1 px).
_HIGH_PASS = 0.8725
_MIN_PIXELS = 200

Layers = list[tuple[Plane, Steps]]


@dataclass(frozen=True)
class ColourShift:
    """How a clip's colours come to the film's: v -> (v - clip mean) * gain + film mean, for each plane, 8-bit levels."""

    clip_mean: tuple[float, ...]
    film_mean: tuple[float, ...]
    gain: tuple[float, ...]


def layers(frame: Frame) -> Layers:
    """The planes of a frame with their steps; RGB is one of three channels."""
    planes = frame.planes
    if planes is None:
        return [(frame.rgb, (1, 1))]
    steps = (planes.sub_w, planes.sub_h)
    return [(planes.y, (1, 1)), (planes.u, steps), (planes.v, steps)]


def like_film(clip: Frame, film: Frame) -> Frame:
    """A clip's frame in the planes, depth and colours of the film's. A clip that does not tell its matrix has the film's."""
    own = film.planes
    if own is None:
        return Frame(clip.rgb)
    planes = clip.planes
    if planes is not None and planes.colour.matrix_code == 2:
        planes = replace(planes, colour=replace(planes.colour, matrix=own.colour.matrix))
    want = (own.sub_w, own.sub_h)
    same = planes is not None and (planes.colour.matrix, planes.colour.full_range) == (
        own.colour.matrix,
        own.colour.full_range,
    )
    if planes is None or not same:
        rgb = clip.rgb if planes is None else Frame(planes=planes).rgb
        return Frame(planes=planes_from_rgb(np.ascontiguousarray(rgb), own.colour, bits=own.bits, sub=want))
    planes = at_bits(planes, own.bits)
    have = (planes.sub_w, planes.sub_h)
    u, v = (resample_chroma(plane, planes.size_px, have, want) for plane in (planes.u, planes.v))
    return Frame(planes=Planes(planes.y, u, v, own.colour, own.bits, own.sub_w, own.sub_h))


def blended(
    film: Frame,
    clip: Frame,
    square: Square,
    region: Region,
    mask: Float32Array,
    *,
    shift: ColourShift | None = None,
    grain: bool = True,
) -> Frame:
    """The film's frame with the clip in it; the very same frame where the clip changes nothing.

    clip: ``like_film``, square.  mask: (h, w) float32 over ``region``, 0..1: where and how much.
    """
    size = clip.size_px[0]
    scale = 1 << (film.planes.bits - 8) if film.planes is not None else 1
    new = [(_shifted(plane, index, shift, scale), steps) for index, (plane, steps) in enumerate(layers(clip))]
    old = [plane.astype(np.float32) for plane, _ in layers(clip_frame(film, square, size))]
    change = _change([a - b for (a, _), b in zip(new, old, strict=True)], size, scale)
    if float(change.max()) <= _NOTICED[0]:
        return film
    new = _beyond_the_border(film, square, new, old)
    mask = mask * covered(square, region, size)
    steps_of_change = (_step(change, *_NOTICED), _step(change, *_REPLACED))
    made: list[Plane] = []
    noise: Float32Array | None = None
    for (plane, steps), (clip_plane, _), before in zip(layers(film), new, old, strict=True):
        at = chroma_index(region, steps)
        own = plane[at]
        result, weight = _mixed(own, clip_plane, before, steps_of_change, mask, (square, region, steps))
        if grain and noise is None:
            noise = _grain(own, result, weight, film.index, scale)
            result += weight * (noise if own.ndim == 2 else noise[..., None])
        whole = plane.copy()
        peak = 255 * scale + scale - 1
        whole[at] = np.where(weight > 0, np.clip(np.rint(result), 0, peak).astype(plane.dtype), own)
        made.append(whole)
    return _with_planes(film, made)


def _beyond_the_border(
    film: Frame, square: Square, new: list[tuple[Float32Array, Steps]], old: list[Float32Array]
) -> list[tuple[Float32Array, Steps]]:
    """The clip with the film's border pixels continued where the square leaves the film, instead of the crop's black: it
    would seep into the last pixels on the way back."""
    x0, y0, x1, y1 = square.around()
    if x0 >= 0 and y0 >= 0 and x1 <= film.size_px[0] and y1 <= film.size_px[1]:
        return new
    size = new[0][0].shape[1]
    continued = layers(clip_frame(film, square, size, continued=True))
    return [
        (clip - before + further.astype(np.float32), steps)
        for (clip, steps), before, (further, _) in zip(new, old, continued, strict=True)
    ]


def _mixed(
    own: Plane,
    clip: Float32Array,
    before: Float32Array,
    steps_of_change: tuple[Float32Array, Float32Array],
    mask: Float32Array,
    place: tuple[Square, Region, Steps],
) -> tuple[Float32Array, Any]:
    """One plane's new pixels in the region, and how much of them is the clip's own; both of the plane's shape."""
    square, region, steps = place
    noticed, replaced = (_like(step, clip) for step in steps_of_change)
    deep = own.ndim == 3
    added = put_back((clip - before) * (noticed[..., None] if deep else noticed), square, region, steps)
    instead = put_back(clip, square, region, steps)
    share = np.clip(put_back(replaced, square, region, steps), 0, 1)
    touched = put_back(noticed, square, region, steps) > 1e-3
    much = cv2.resize(mask, (own.shape[1], own.shape[0]), interpolation=cv2.INTER_AREA) * touched
    weight = much * np.maximum(share, 1e-6)
    if deep:
        share, much, weight = share[..., None], much[..., None], np.repeat(weight[..., None], own.shape[2], axis=2)
    source = own.astype(np.float32)
    result = source + much * ((1 - share) * (source + added) + share * instead - source)
    return result, weight


def _shifted(plane: Plane, index: int, shift: ColourShift | None, scale: int) -> Float32Array:
    values: Float32Array = plane.astype(np.float32)
    if shift is None:
        return values
    channels = range(3) if plane.ndim == 3 else [index]
    clip, film, gain = (
        np.array([row[k] for k in channels], np.float32) for row in (shift.clip_mean, shift.film_mean, shift.gain)
    )
    moved: Float32Array = (values - clip * scale) * gain + film * scale
    return moved


def _change(differences: list[Float32Array], size: int, scale: int) -> Float32Array:
    """(size, size) float32: how much was changed around each pixel, 8-bit levels."""
    total = np.zeros((size, size), np.float32)
    for index, difference in enumerate(differences):
        far = np.abs(difference) / scale
        if far.ndim == 3:
            far = far.max(axis=2)
        if far.shape != total.shape:
            far = cv2.resize(far, (size, size), interpolation=cv2.INTER_LINEAR)
        total += far if index == 0 else 0.5 * far
    return cv2.GaussianBlur(total, (0, 0), max(1.5, size / 128))


def _step(values: Float32Array, low: float, high: float) -> Float32Array:
    t = np.clip((values - low) / (high - low), 0, 1)
    smooth: Float32Array = t * t * (3 - 2 * t)
    return smooth


def _like(weights: Float32Array, plane: Plane) -> Float32Array:
    """Weights at a plane's own size, (h, w)."""
    height, width = plane.shape[:2]
    if weights.shape == (height, width):
        return weights
    return cv2.resize(weights, (width, height), interpolation=cv2.INTER_AREA)


def _grain(own: Plane, made: Float32Array, weight: Any, seed: int, scale: int) -> Float32Array:
    """(h, w) float32: the grain the film has and the clip lost, as noise of the same strength (of luma, or of green; median
    absolute deviation of the high-passed picture, so that edges do not count)."""
    if own.ndim == 3:
        own, made, weight = own[..., 1], made[..., 1], weight[..., 1]
    zone = weight > 0.5
    if int(zone.sum()) < _MIN_PIXELS:
        return np.zeros(made.shape, np.float32)
    lost = _spread(own.astype(np.float32), zone) ** 2 - _spread(made, zone) ** 2
    missing = math.sqrt(max(0.0, lost)) / _HIGH_PASS
    noise = np.random.default_rng(seed).standard_normal(made.shape, dtype="float32")
    return cv2.multiply(noise, min(missing, _MAX_GRAIN * scale))


def _spread(picture: Float32Array, zone: Any) -> float:
    rest = (picture - cv2.GaussianBlur(picture, (0, 0), 1.0))[zone]
    return 1.4826 * float(np.median(np.abs(rest)))


def _with_planes(film: Frame, made: list[Plane]) -> Frame:
    if film.planes is None:
        return film.showing(made[0])
    return film.showing(planes=replace(film.planes, y=made[0], u=made[1], v=made[2]))
