"""A drawn person, and the settings of a short run, which tests of training share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from headstream.types import UInt8Array

SIDE = 96


def face(index: int) -> tuple[UInt8Array, UInt8Array]:
    """A drawn person and the 19-class map: skin, hair, neck, cloth."""
    rng = np.random.default_rng(index)
    back = tuple(int(v) for v in rng.integers(20, 120, 3))
    rgb: UInt8Array = np.full((SIDE, SIDE, 3), back, np.uint8)
    label: UInt8Array = np.zeros((SIDE, SIDE), np.uint8)
    x, y = int(rng.integers(42, 54)), int(rng.integers(40, 48))
    for value, colour, draw in (
        (18, (40, 60, 150), lambda im, c: cv2.rectangle(im, (x - 34, y + 32), (x + 34, SIDE), c, -1)),
        (17, (200, 150, 120), lambda im, c: cv2.rectangle(im, (x - 8, y + 18), (x + 8, y + 36), c, -1)),
        (13, (60, 35, 20), lambda im, c: cv2.circle(im, (x, y - 6), 25, c, -1)),
        (1, (225, 175, 145), lambda im, c: cv2.ellipse(im, (x, y), (16, 21), 0, 0, 360, c, -1)),
    ):
        draw(rgb, colour)
        draw(label, value)
    return rgb, label


CONFIG = """
steps = {steps}
batch = 4
sizes = [[0.0, 32]]
workers = 0
imagenet = false
warmup = 2
evaluate_every = 4
decoder = [16, 16, 8, 8]
plane_weights = [1.0, 0.5, 0.25]

[[data]]
kind = "celebamask"
folder = "faces"
validate = "held.txt"

[[data]]
kind = "hair"
folder = "hairs"
weight = 0.5

[[data]]
kind = "fullbody"
folder = "bodies"
weight = 0.5
backdrops = true
"""


def settings_in(folder: Path, steps: int = 8) -> Path:
    """The file of them, beside the names that are validated on."""
    (folder / "held.txt").write_text("04\n05\n")
    (folder / "c.toml").write_text(CONFIG.format(steps=steps))
    return folder / "c.toml"
