"""Quick scores while training, on pictures kept out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from headstream.train.data import BODY, DataSet
from headstream.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class Score:
    """iou: of each output where its truth is known, pixels summed over all pictures.  neck_leak: mean alpha of the first
    output on neck, necklace and cloth, where the truth tells; it is not a number where it does not."""

    iou: dict[str, float]
    neck_leak: float

    @property
    def first(self) -> float:
        """IoU of the first output: what the best checkpoint is chosen by."""
        return next(iter(self.iou.values()))

    def as_row(self) -> dict[str, float]:
        """Columns of the log."""
        return {f"{name}_iou": round(v, 5) for name, v in self.iou.items()} | {"neck_leak": round(self.neck_leak, 5)}

    def __str__(self) -> str:
        parts = [f"{name} IoU {value:.4f}" for name, value in list(self.iou.items())[:3]]
        return ", ".join([*parts, f"neck leak {self.neck_leak:.4f}"])


def score(
    predict: Callable[[UInt8Array], Float32Array], outputs: Sequence[str], sets: Sequence[DataSet], side: int
) -> Score:
    """Score ``predict`` ((N, S, S, 3) uint8 -> (N, S, S, outputs) float32) with whole pictures as the crops."""
    hits: Any = np.zeros((len(outputs), 2))
    leaks = []
    for data in sets:
        wanted = [data.planes.index(name) for name in outputs]
        for name in data.names:
            picture = data.load(name)
            height, width = picture.rgb.shape[:2]
            alpha = predict(cv2.resize(picture.rgb, (side, side), interpolation=cv2.INTER_AREA)[None])[0]
            for k, plane in enumerate(wanted):
                found = cv2.resize(np.ascontiguousarray(alpha[..., k]), (width, height)) > 0.5
                truth, known = picture.target[..., plane] > 127, picture.known[..., plane] > 0
                hits[k] += (found & truth & known).sum(), ((found | truth) & known).sum()
            below = (picture.target[..., BODY] > 127) & (picture.known[..., BODY] > 0)
            if below.any():
                first = cv2.resize(np.ascontiguousarray(alpha[..., 0]), (width, height))
                leaks.append(float(first[below].mean()))
    iou = hits[:, 0] / np.maximum(hits[:, 1], 1)
    return Score(dict(zip(outputs, map(float, iou), strict=True)), float(np.mean(leaks)) if leaks else float("nan"))
