"""Quick scores while training, on pictures kept out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from headstream.evaluate.metrics import counts, neck_leak
from headstream.train.data import DataSet
from headstream.train.picture import BODY
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
    totals = np.zeros((len(outputs), 3), np.int64)
    leaks = []
    for data in sets:
        wanted = [data.planes.index(name) for name in outputs]
        for name in data.names:
            picture = data.load(name)
            height, width = picture.rgb.shape[:2]
            answer = predict(cv2.resize(picture.rgb, (side, side), interpolation=cv2.INTER_AREA)[None])[0]
            alphas = [cv2.resize(np.ascontiguousarray(answer[..., k]), (width, height)) for k in range(len(outputs))]
            truth, known = picture.target > 127, picture.known > 0
            for k, plane in enumerate(wanted):
                totals[k] += counts(alphas[k] > 0.5, truth[..., plane], known[..., plane])
            leak = neck_leak(alphas[0], truth[..., BODY] & known[..., BODY])
            leaks += [] if leak is None else [leak]
    iou = totals[:, 0] / np.maximum(totals.sum(axis=1), 1)
    return Score(dict(zip(outputs, map(float, iou), strict=True)), float(np.mean(leaks)) if leaks else float("nan"))
