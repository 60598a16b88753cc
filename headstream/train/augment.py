"""From a picture with truth to a training crop: framing and new surroundings. What is done to the crop itself is in
``disturb``.

The tracker cuts a square a quarter larger than the head; here its size, place and roll vary far more than a tracker's
would.
People cut out of their picture move before other backgrounds, with other people beside them. All functions are pure:
same generator state, same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from headstream.shared.colour import PAD
from headstream.track.framing import ROOM
from headstream.train.disturb import Rng, backdrop_crop, camera, occlude
from headstream.train.picture import BODY, HEAD, Picture, by_planes
from headstream.types import Float64Array, UInt8Array

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Sample:
    """One network input. rgb: (S, S, 3) uint8; target, known: (S, S, P) uint8, planes as in ``Picture``."""

    rgb: UInt8Array
    target: UInt8Array
    known: UInt8Array


@dataclass(frozen=True)
class Chances:
    """How often each thing happens, 0..1."""

    new_background: float = 0.6
    body_below: float = 0.4
    drawn_on: float = 0.35
    neighbour: float = 0.2
    occluder: float = 0.15
    nobody: float = 0.03


class Composer:
    """Draws training samples. ``draw(rng)`` gives a random labelled picture, ``backdrop(rng)`` one without people."""

    def __init__(
        self,
        draw: Callable[[Rng], Picture],
        draw_person: Callable[[Rng], Picture],
        backdrop: Callable[[Rng], UInt8Array],
        chances: Chances | None = None,
        planes: int = 3,
    ) -> None:
        self._draw, self._draw_person, self._backdrop = draw, draw_person, backdrop
        self._chances, self._planes = chances or Chances(), planes

    def sample(self, rng: Rng, size: int) -> Sample:
        """One (size, size) training sample."""
        chances = self._chances
        if rng.random() < chances.nobody:
            rgb = backdrop_crop(self._backdrop(rng), rng, size)
            shape = (size, size, self._planes)
            return Sample(camera(rgb, rng), np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8))
        picture = self._draw(rng)
        matrix = framing(picture, rng, size)
        if picture.person is not None and rng.random() < chances.new_background and can_be_cut_out(picture):
            rgb, target, known, padded = self._composite(picture, matrix, rng, size)
        else:
            rgb, target, known, padded = self._in_place(picture, matrix, rng, size)
        if rng.random() < chances.occluder:
            rgb, target, known = occlude(rgb, target, known, rng, self._backdrop(rng))
        rgb = camera(rgb, rng)
        rgb[padded] = PAD  # the border is added after the camera
        return Sample(rgb, target, known)

    def _in_place(
        self, picture: Picture, matrix: Float64Array, rng: Rng, size: int
    ) -> tuple[UInt8Array, UInt8Array, UInt8Array, Mask]:
        """The picture as it is; what lies past its border is padding, or now and then its last rows drawn on."""
        target = warp(picture.target, matrix, size, 0)
        known = (warp(picture.known, matrix, size, 255) > 250).astype(np.uint8) * 255
        inside = warp(np.full(picture.rgb.shape[:2], 255, np.uint8), matrix, size, 0)
        if rng.random() < self._chances.drawn_on:
            rgb = warp(picture.rgb, matrix, size, None)
            drawn = warp(picture.target, matrix, size, None)
            known[(inside < 255)[..., None] & (drawn > 8)] = 0
            return rgb, target, known, np.zeros((size, size), np.bool_)
        return warp(picture.rgb, matrix, size, PAD), target, known, inside < 128

    def _composite(
        self, picture: Picture, matrix: Float64Array, rng: Rng, size: int
    ) -> tuple[UInt8Array, UInt8Array, UInt8Array, Mask]:
        """The person before another background, with the picture's last row as the frame's lower border."""
        back = backdrop_crop(self._backdrop(rng), rng, size)
        known = (warp(picture.known, matrix, size, 255) > 250).astype(np.uint8) * 255
        if rng.random() < self._chances.neighbour:
            back, other = self._neighbour(back, rng, size)
            known[other > 8, BODY] = 0
        extend = rng.random() < self._chances.body_below
        source = with_body_below(picture) if extend else picture
        assert source.person is not None
        person = warp(source.person, matrix, size, 0)
        # A cut-out's own outline holds a little of its old background: take half a pixel off and soften what is left.
        alpha = cv2.GaussianBlur(person, (0, 0), rng.uniform(0.4, 1.0)).astype(np.float32)[..., None] / 255
        front = warp(source.rgb, matrix, size, PAD)
        rgb = (front * alpha + back * (1 - alpha) + 0.5).astype(np.uint8)
        target = warp(source.target, matrix, size, 0)
        beyond = below_picture(matrix, size, source.rgb.shape[0])
        rgb[beyond], target[beyond] = PAD, 0
        return rgb, target, known, beyond

    def _neighbour(self, back: UInt8Array, rng: Rng, size: int) -> tuple[UInt8Array, UInt8Array]:
        """Someone else behind: only the centred head is the head."""
        other = self._draw_person(rng)
        if other.face_px is None or other.person is None:
            return back, np.zeros((size, size), np.uint8)
        x0, y0, x1, y1 = other.face_px
        scale = size * rng.uniform(0.18, 0.45) / max(x1 - x0, y1 - y0)
        side = rng.choice([-1.0, 1.0])
        place = (size * (0.5 + side * rng.uniform(0.32, 0.6)), size * rng.uniform(0.3, 0.65))
        matrix = np.array(
            [[scale, 0, place[0] - scale * (x0 + x1) / 2], [0, scale, place[1] - scale * (y0 + y1) / 2]], np.float64
        )
        other = with_body_below(other)
        assert other.person is not None
        person = warp(other.person, matrix, size, 0)
        alpha = person.astype(np.float32)[..., None] / 255
        return (warp(other.rgb, matrix, size, PAD) * alpha + back * (1 - alpha) + 0.5).astype(np.uint8), person


def head_middle(picture: Picture) -> tuple[float, float, float]:
    """Middle and side of the face box in pixels; guessed from the hair where no face was found (seen from behind)."""
    height, width = picture.rgb.shape[:2]
    if picture.face_px is not None:
        x0, y0, x1, y1 = picture.face_px
        return (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)
    ys, xs = np.nonzero(picture.target[..., 0] > 127)
    if len(xs) == 0:
        return width / 2, height / 2, min(width, height) * 0.45
    span = float(min(np.ptp(xs), np.ptp(ys)) + 1)
    return float(np.median(xs)), float(ys.min() + 0.5 * span), 0.6 * span


def head_extent(picture: Picture) -> tuple[float, float, float]:
    """Middle and longer side of the box around the head in pixels, guessed from the face where the head is not known."""
    if picture.known[..., HEAD].min() > 0:
        ys, xs = np.nonzero(picture.target[..., HEAD] > 127)
        if len(xs):
            x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
            return float(x0 + x1) / 2, float(y0 + y1) / 2, float(max(x1 - x0, y1 - y0))
    cx, cy, face = head_middle(picture)
    return cx, cy - 0.14 * face, 1.5 * face


def framing(picture: Picture, rng: Rng, size: int) -> Float64Array:
    """The (2, 3) affine from a picture to a crop of ``size``, mostly as the tracker frames a head, often not."""
    if rng.random() < 0.6:
        cx, cy, head = head_extent(picture)
        side = head * ROOM * np.exp(rng.normal(0, 0.12))
    else:
        cx, cy, face = head_middle(picture)
        side = face * np.exp(rng.uniform(np.log(1.5), np.log(3.6)))
    cx += side * np.clip(rng.normal(0, 0.05), -0.2, 0.2)
    cy += side * np.clip(rng.normal(0, 0.05), -0.2, 0.2)
    roll = rng.uniform(-50, 50) if rng.random() < 0.1 else rng.normal(0, 9)
    sx = size / side * np.exp(rng.normal(0, 0.04))
    sy = size / side * np.exp(rng.normal(0, 0.04))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    linear = np.array([[cos * sx * flip, -sin * sy], [sin * sx * flip, cos * sy]])
    shift = np.array([size / 2, size / 2]) - linear @ np.array([cx, cy])
    return np.hstack([linear, shift[:, None]])


def warp(image: UInt8Array, matrix: Float64Array, size: int, border: int | None) -> UInt8Array:
    """``image`` through ``matrix`` into (size, size), averaged where it shrinks so that nothing aliases.

    Past the border everything is ``border``, or the nearest pixel where that is None.
    """
    shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if image.ndim == 3 and image.shape[2] > 4:
        return by_planes(image, lambda part: warp(part, matrix, size, border))
    if shrink > 1.3:
        factor = 1 / shrink
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        fx, fy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        matrix = matrix @ np.array([[1 / fx, 0, 0.5 / fx - 0.5], [0, 1 / fy, 0.5 / fy - 0.5], [0, 0, 1]])
        image = small
    if border is None:
        return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(border,) * 4)


def can_be_cut_out(picture: Picture) -> bool:
    """Whether the person is whole at the sides and top, so that a cut-out shows no straight edges."""
    assert picture.person is not None
    upper = picture.person[: int(0.75 * picture.person.shape[0])] > 127
    return bool(upper[:, 0].mean() < 0.08 and upper[:, -1].mean() < 0.08 and upper[0].mean() < 0.02)


def with_body_below(picture: Picture, share: float = 0.7) -> Picture:
    """The picture's last row drawn downwards: a crude body where a portrait ends at the chest."""
    rows = int(picture.rgb.shape[0] * share)

    def longer(x: UInt8Array) -> UInt8Array:
        return by_planes(x, lambda part: cv2.copyMakeBorder(part, 0, rows, 0, 0, cv2.BORDER_REPLICATE))

    assert picture.person is not None
    target = longer(picture.target)
    below = target[-rows:]
    body = np.maximum(below[..., BODY], below[..., HEAD])  # hair cut by the border goes on as body, not as head
    below[:] = 0
    below[..., BODY] = body
    rgb = longer(picture.rgb)
    rgb[-rows:] = cv2.blur(rgb[-rows:], (9, 1))
    return Picture(rgb, target, longer(picture.known), longer(picture.person), picture.face_px)


def below_picture(matrix: Float64Array, size: int, rows: int) -> Mask:
    """(size, size) bool: crop pixels that lie under the picture's last row."""
    inverse = cv2.invertAffineTransform(matrix)
    ys, xs = np.ogrid[:size, :size]
    return inverse[1, 0] * xs + inverse[1, 1] * ys + inverse[1, 2] > rows - 1
