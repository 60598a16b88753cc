"""What is done to training crops: backgrounds cut to size, things before the face, and light, lens, sensor and codec.

All functions are pure: same generator state, same result.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from headstream.train.picture import BODY
from headstream.types import UInt8Array

Rng = np.random.Generator


def backdrop_crop(image: UInt8Array, rng: Rng, size: int) -> UInt8Array:
    """A (size, size) background from a picture without people: a window of it, flipped, often out of focus."""
    height, width = image.shape[:2]
    side = int(min(height, width) * rng.uniform(0.4, 1.0))
    y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    window = image[y : y + side, x : x + side]
    if side < size and rng.random() < 0.5:  # sharp: mirror instead of stretching
        more = size - side
        window = cv2.copyMakeBorder(
            window, 0, more, 0, more, cv2.BORDER_REFLECT_101 if more < side else cv2.BORDER_WRAP
        )
    window = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        window = window[:, ::-1]
    if rng.random() < 0.5:
        window = cv2.GaussianBlur(window, (0, 0), rng.uniform(0.5, 10.0))
    gain = rng.uniform(0.5, 1.4) * rng.uniform(0.85, 1.15, 3)
    return cv2.LUT(np.ascontiguousarray(window), _lut(gain, 1.0))


def occlude(
    rgb: UInt8Array, target: UInt8Array, known: UInt8Array, rng: Rng, texture: UInt8Array
) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
    """A hand, a microphone or some object before the lower face: what it hides is not head."""
    size = rgb.shape[0]
    mask = np.zeros((size, size), np.uint8)
    x, y = size * rng.uniform(0.3, 0.7), size * rng.uniform(0.5, 0.75)
    kind = rng.integers(3)
    if kind == 0:  # fingers and a palm, in the colour of some skin in the picture
        skin = rgb[int(size * rng.uniform(0.45, 0.55)), int(size * rng.uniform(0.42, 0.58))].astype(np.float64)
        angle = rng.uniform(-0.6, 0.6)
        for k in range(int(rng.integers(2, 5))):
            tip = (int(x + k * size * 0.045), int(y - rng.uniform(0, 0.12) * size))
            root = (int(tip[0] + size * 0.3 * np.sin(angle)), int(y + size * 0.35))
            cv2.line(mask, tip, root, 255, max(3, int(size * rng.uniform(0.03, 0.05))), cv2.LINE_AA)
        cv2.ellipse(
            mask, (int(x + size * 0.1), int(y + size * 0.3)), (int(size * 0.1), int(size * 0.15)), 0, 0, 360, 255, -1
        )
        shade = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), size * 0.03)
        shade = 1 + 0.12 * shade / (shade.std() + 1e-6)
        paint = np.clip(shade[..., None] * skin * rng.uniform(0.85, 1.15), 0, 255)
    else:
        if kind == 1:  # a microphone
            radius = size * rng.uniform(0.03, 0.07)
            cv2.ellipse(mask, (int(x), int(y)), (int(radius), int(radius * 1.4)), rng.uniform(0, 180), 0, 360, 255, -1)
            end = (int(x + size * rng.uniform(-0.4, 0.4)), size)
            cv2.line(mask, (int(x), int(y)), end, 255, max(2, int(radius * 0.8)), cv2.LINE_AA)
        else:
            points = np.array([(x, y)]) + rng.normal(0, size * 0.09, (7, 2))
            cv2.fillPoly(mask, [cv2.convexHull(points.astype(np.int32))], 255)
        paint = backdrop_crop(texture, rng, size).astype(np.float64)
        if rng.random() < 0.5:
            paint = paint * 0.3
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 1.2))
    alpha = mask.astype(np.float32)[..., None] / 255
    known = known.copy()
    known[mask > 8, BODY] = 0
    rgb = (rgb * (1 - alpha) + paint * alpha + 0.5).astype(np.uint8)
    return rgb, (target * (1 - alpha) + 0.5).astype(np.uint8), known


def _lut(gain: Any, gamma: float, contrast: float = 1.0, lift: float = 0.0) -> UInt8Array:
    """(256, 1, 3) table: contrast around mid-grey, gamma, per-channel gain, lift."""
    x = np.linspace(0, 1, 256)[:, None]
    x = np.clip((x - 0.5) * contrast + 0.5, 0, 1) ** gamma * np.asarray(gain) + lift
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)[:, None, :]


def camera(rgb: UInt8Array, rng: Rng) -> UInt8Array:
    """What light, lens, sensor and codec do to a picture."""
    size = rgb.shape[0]
    if rng.random() < 0.12:
        rgb = _motion_blur(rgb, rng)
    elif rng.random() < 0.15:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.2:
        small = max(16, int(size * rng.uniform(0.25, 0.8)))
        rgb = cv2.resize(cv2.resize(rgb, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    if rng.random() < 0.8:
        gain, gamma = rng.uniform(0.75, 1.25) * rng.normal(1, 0.06, 3), np.exp(rng.normal(0, 0.2))
        dark = rng.random() < 0.12
        gain = gain * rng.uniform(0.15, 0.5) if dark else gain
        rgb = cv2.LUT(rgb, _lut(gain, gamma, np.exp(rng.normal(0, 0.15)), rng.uniform(0, 0.08)))
        if dark:
            rgb = _noise(rgb, rng, rng.uniform(3, 14))
    if rng.random() < 0.35:
        grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = 0.0 if rng.random() < 0.12 else rng.uniform(0.4, 1.3)
        rgb = cv2.addWeighted(rgb, keep, grey, 1 - keep, 0)
    if rng.random() < 0.3:
        rgb = _noise(rgb, rng, rng.uniform(1, 9))
    if rng.random() < 0.35:
        quality = int(rng.uniform(12, 80))
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        coded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
        rgb = coded
    return np.ascontiguousarray(rgb)


def _noise(rgb: UInt8Array, rng: Rng, sigma: float) -> UInt8Array:
    noise = rng.standard_normal(rgb.shape, np.float32) * sigma
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def _motion_blur(rgb: UInt8Array, rng: Rng) -> UInt8Array:
    length = int(rng.integers(3, 15)) | 1
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(rgb, -1, kernel / max(kernel.sum(), 1e-6))
