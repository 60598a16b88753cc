"""Quick scores while training, on pictures kept out of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from headstream.evaluate.metrics import counts, neck_leak
from headstream.train.data import DataSet
from headstream.train.picture import BODY
from headstream.train.truth import tells
from headstream.types import Float32Array, UInt8Array

_TOLD = 3  # outputs whose IoU is told one by one


@dataclass(frozen=True)
class Score:
    """iou: of each output where its truth is known, pixels summed over all pictures; not a number where there is none of it.
    neck_leak: mean alpha of the first output on neck, necklace and cloth, where the truth tells; not a number where it does
    not."""

    iou: dict[str, float]
    neck_leak: float

    @property
    def chosen_by(self) -> float:
        """What the best checkpoint is chosen by: IoU of the head where it is an output, else the mean over all outputs."""
        if "head" in self.iou:
            return _mean([self.iou["head"]])
        return _mean(list(self.iou.values()))

    def as_row(self) -> dict[str, float]:
        """Columns of the log."""
        mean = {"mean_iou": self.chosen_by} if len(self.iou) > _TOLD else {}
        row = {f"{name}_iou": v for name, v in self.iou.items()} | mean | {"neck_leak": self.neck_leak}
        return {key: round(value, 5) for key, value in row.items()}

    def __str__(self) -> str:
        told = self.iou if len(self.iou) <= _TOLD else {"mean": self.chosen_by}
        numbers = {f"{name} IoU": value for name, value in told.items()} | {"neck leak": self.neck_leak}
        return ", ".join(f"{name} {value:.4f}" for name, value in numbers.items() if not math.isnan(value))


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers; 0 where none is."""
    return float(np.mean([value for value in values if not math.isnan(value)] or [0.0]))


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
                if tells(data, data.planes[plane]):
                    totals[k] += counts(alphas[k] > 0.5, truth[..., plane], known[..., plane])
            leak = neck_leak(alphas[0], truth[..., BODY] & known[..., BODY])
            leaks += [] if leak is None else [leak]
    there = totals[:, 0] + totals[:, 2] > 0
    iou = np.where(there, totals[:, 0] / np.maximum(totals.sum(axis=1), 1), np.nan)
    return Score(dict(zip(outputs, map(float, iou), strict=True)), float(np.mean(leaks)) if leaks else float("nan"))
