#!/usr/bin/env python3
"""Score hair strand by strand, where it is known: portraits before plain walls, put before other backgrounds.

    scripts/hair_strands.py --data DATA [--portraits 24] [--json]

Of CelebAMask-HQ portraits outside the test set, those with the plainest wall and the hair that differs most from it are
taken. How much of a pixel is hair is told by its way from the wall's colour to the hair's. Each is put before three pieces
of the street photos, sharp, soft and blurred, and cut as `headstream image` cuts it, without and with --hq. Error: mean
|alpha - truth| x 1000 along the hair's edge; gradient: the same of the length of alpha's gradient.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.api import cut_image
from headstream.cli.console import progress_bar, say
from headstream.errors import UsageError
from headstream.shared.imagefile import read_image
from headstream.types import Float32Array, UInt8Array

HAIR, LAST_OF_HEAD = 13, 15  # of the label maps
_SIZE = 512
_BLURS = (1.5, 5.0, 14.0)
_NOISE, _WHOLE = 0.08, 0.8  # of the way from the wall to the hair: still wall, and all hair
_TEST = Path(__file__).parents[1] / "configs" / "splits" / "celebamask-test.txt"


def portraits(data: Path, wanted: int) -> list[tuple[UInt8Array, UInt8Array]]:
    """Pictures (H, W, 3) and labels (H, W), those with the plainest wall first."""
    kept_out = set(_TEST.read_text(encoding="utf-8").split())
    found = []
    for path in sorted((data / "celebamask" / "labels").glob("*.png")):
        labels = read_image(path, grey=True)
        hair, wall = labels == HAIR, cv2.erode((labels == 0).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        if path.stem in kept_out or hair.mean() < 0.1 or wall.sum() < 5000:
            continue
        rgb = read_image(data / "celebamask" / "images" / f"{path.stem}.jpg")
        apart = np.linalg.norm(rgb[hair].mean(axis=0) - rgb[wall].mean(axis=0))
        found.append((float(apart / (rgb[wall].std(axis=0).mean() + 5)), path.stem, rgb, labels))
    if not found:
        raise UsageError(f"{data / 'celebamask'}: no portrait with a tenth of hair before an empty wall")
    found.sort(key=lambda each: each[:2], reverse=True)
    return [(rgb, labels) for _, _, rgb, labels in found[:wanted]]


def spread(rgb: Float32Array, seen: UInt8Array, sigma: float) -> Float32Array:
    """The colours of what is ``seen`` around every pixel, from as near as there are any."""
    out, told = np.zeros_like(rgb), np.zeros(seen.shape, np.float32)
    weight = seen.astype(np.float32)
    for step in (1, 2, 4, 8):
        share = cv2.GaussianBlur(weight, (0, 0), step * sigma)[..., None] + 1e-6
        near = cv2.GaussianBlur(rgb * weight[..., None], (0, 0), step * sigma) / share
        more = (1 - told)[..., None] * np.clip(20 * share, 0, 1)
        out, told = out + more * near, told + more[..., 0]
    spread_out: Float32Array = out / np.maximum(told, np.float32(1e-3))[..., None]
    return spread_out


def disc(side: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def keyed(rgb: Float32Array, labels: UInt8Array) -> tuple[Float32Array, Float32Array, Float32Array, Any]:
    """The person's alpha and colours, the head's alpha, and (H, W) bool: along the hair's edge."""
    hair, person = (labels == HAIR).astype(np.uint8), (labels > 0).astype(np.uint8)
    wall = spread(rgb, cv2.erode(1 - person, np.ones((33, 33), np.uint8)), 12)
    own = spread(rgb, cv2.erode(hair, np.ones((9, 9), np.uint8)), 6)
    way = own - wall
    share = ((rgb - wall) * way).sum(axis=2) / np.maximum((way * way).sum(axis=2), 200)
    share = np.clip((share - _NOISE) / (_WHOLE - _NOISE), 0, 1)
    within = cv2.erode(person, disc(25)) > 0
    bare = (person > 0) & (cv2.dilate(hair, np.ones((5, 5), np.uint8)) == 0)
    near = cv2.dilate(hair, disc(41)) > 0
    alpha = np.where(within | bare, 1, np.where(near, share, person)).astype(np.float32)
    full = alpha[..., None]
    colours = np.where(full > 0.98, rgb, np.clip((rgb - (1 - full) * wall) / np.maximum(full, 0.1), 0, 255))
    colours = np.where(full < 0.3, own, colours).astype(np.float32)
    body = labels > LAST_OF_HEAD
    return alpha, colours, np.where(body, 0, alpha).astype(np.float32), near & ~within & ~body & ~bare


def made(data: Path, wanted: int) -> Iterator[tuple[UInt8Array, Float32Array, Any]]:
    """Pictures, the head's true alpha, and where to compare."""
    rng = np.random.default_rng(1)
    streets = sorted((data / "fullbody" / "images").glob("*.jpg"))
    for picture, labels in portraits(data, wanted):
        rgb = cv2.resize(picture, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
        labels = cv2.resize(labels, (_SIZE, _SIZE), interpolation=cv2.INTER_NEAREST)
        alpha, colours, truth, edge = keyed(rgb, labels)
        for blur in _BLURS:
            street = read_image(streets[rng.integers(len(streets))]).astype(np.float32)
            side = street.shape[1] // 3
            top, left = int(rng.integers(max(1, street.shape[0] - side))), int(rng.choice([0, street.shape[1] - side]))
            behind = cv2.resize(street[top : top + side, left : left + side], (_SIZE, _SIZE))
            behind = cv2.GaussianBlur(behind, (0, 0), blur)
            mixed = colours * alpha[..., None] + behind * (1 - alpha[..., None]) + rng.normal(0, 2, rgb.shape)
            yield np.clip(mixed, 0, 255).astype(np.uint8), truth, edge


def slope(alpha: Float32Array) -> Any:
    return np.hypot(cv2.Sobel(alpha, cv2.CV_32F, 1, 0), cv2.Sobel(alpha, cv2.CV_32F, 0, 1)) / 8


def main() -> None:
    """Make, cut, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--portraits", type=int, default=24)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    errors: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with progress_bar("cutting", unit="pictures") as progress:
        for number, (rgb, truth, edge) in enumerate(made(options.data, options.portraits), 1):
            for hq, told in errors.items():
                cutouts = cut_image(rgb, heads="largest", hq=hq)
                alpha = np.zeros(truth.shape, np.float32)
                if cutouts:
                    alpha += cutouts[0].alpha / np.float32(255)
                apart = np.abs(alpha - truth), np.abs(slope(alpha) - slope(truth))
                told.append((1000 * float(apart[0][edge].mean()), 1000 * float(apart[1][edge].mean())))
            progress(number, len(_BLURS) * options.portraits)
    result: dict[str, Any] = {"pictures": len(errors[True])}
    for name, hq in (("image", False), ("image --hq", True)):
        error, gradient = np.mean(errors[hq], axis=0).round(1).tolist()
        result[name] = {"error": error, "gradient": gradient}
        say(f"{name}: error {error}, gradient {gradient}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
