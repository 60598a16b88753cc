"""Scores of one matte against its truth, and of many together. NumPy and OpenCV only.

The definitions are those published for head and hair segmentation: a matte above 0.5 is foreground; global IoU sums
intersections and unions over all pictures before it divides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from headstream.types import Float32Array, UInt8Array

LEVELS = 256  # of the alpha histograms that the curves are made from
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class PictureScore:
    """One picture. Counts are of pixels whose truth is known; mad is the mean of |alpha - truth| times 1000.

    boundary_f: F1 of the outlines within 2 px per 512 px of width.  neck_leak: mean alpha on neck, necklace and cloth, or
    None where the truth does not tell or there is none.
    """

    name: str
    tp: int
    fp: int
    fn: int
    tn: int
    boundary_f: float
    mad: float
    neck_leak: float | None = None
    ms: float = 0.0

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn), also called F1; 1 where both are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of what was taken for foreground that is."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the foreground that was found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def accuracy(self) -> float:
        """Share of pixels on the right side of 0.5."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    def as_row(self) -> dict[str, Any]:
        """A line of pictures.csv."""
        derived = {key: getattr(self, key) for key in ("iou", "dice", "precision", "recall", "accuracy")}
        row = {"name": self.name} | derived | {k: v for k, v in asdict(self).items() if k != "name"}
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def score_picture(
    name: str,
    alpha: Float32Array,
    truth: Mask,
    *,
    known: Mask | None = None,
    below: Mask | None = None,
    ms: float = 0.0,
) -> PictureScore:
    """Score a matte, (H, W) float32 0..1, against (H, W) bool truth.

    known: where the truth is known; None means everywhere.  below: neck, necklace and cloth.  Raises ValueError for
    sizes that differ.
    """
    if alpha.shape != truth.shape:
        raise ValueError(f"{name}: a matte of {alpha.shape} against a truth of {truth.shape}")
    hit = alpha > 0.5
    sure = np.ones_like(truth) if known is None else known
    tp, fp, fn = counts(hit, truth, sure)
    error = np.abs(alpha - truth)[sure]
    return PictureScore(
        name,
        tp,
        fp,
        fn,
        int(sure.sum()) - tp - fp - fn,
        boundary_f(hit & sure, truth & sure, max(1, round(2 * truth.shape[1] / 512))),
        float(error.mean() * 1000) if error.size else 0.0,
        None if below is None else neck_leak(alpha, below),
        ms,
    )


def counts(found: Mask, truth: Mask, known: Mask) -> tuple[int, int, int]:
    """Pixels rightly found, wrongly found and missed, where the truth is known."""
    tp, fp, fn = (int((m & known).sum()) for m in (found & truth, found & ~truth, truth & ~found))
    return tp, fp, fn


def neck_leak(alpha: Float32Array, below: Mask) -> float | None:
    """Mean alpha on neck, necklace and cloth; None where there is none."""
    return float(alpha[below].mean()) if below.any() else None


def boundary_f(found: Mask, truth: Mask, radius: int) -> float:
    """F1 of two masks' outlines, a point being right within ``radius`` pixels of the other outline.

    After Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013).
    """
    ours, theirs = outline(found), outline(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    precision = float((ours & cv2.dilate(theirs, disc)).sum() / ours.sum())
    recall = float((theirs & cv2.dilate(ours, disc)).sum() / theirs.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Mask) -> UInt8Array:
    """(H, W) uint8 0 or 1: the foreground pixels that touch background; the picture's border is none."""
    grey = mask.astype(np.uint8)
    inner: UInt8Array = cv2.erode(grey, np.ones((3, 3), np.uint8), borderValue=1)
    return grey - inner


def histograms(alpha: Float32Array, truth: Mask, known: Mask | None = None) -> Any:
    """(2, 256) int64: how often each level of alpha stands on background and on foreground."""
    level = (np.clip(alpha, 0, 1) * (LEVELS - 1) + 0.5).astype(np.intp)
    if known is not None:
        level, truth = level[known], truth[known]
    return np.bincount((level + LEVELS * truth).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def summarise(scores: Sequence[PictureScore]) -> dict[str, Any]:
    """All pictures together. iou, dice, precision, recall and accuracy are global; mean_iou is the mean of the pictures'."""
    if not scores:
        return {"n": 0}
    tp, fp, fn, tn = (sum(getattr(s, key) for s in scores) for key in ("tp", "fp", "fn", "tn"))
    whole = PictureScore("", tp, fp, fn, tn, 0.0, 0.0)
    leaks = [s.neck_leak for s in scores if s.neck_leak is not None]
    result: dict[str, Any] = {
        "n": len(scores),
        "iou": whole.iou,
        "mean_iou": float(np.mean([s.iou for s in scores])),
        "dice": whole.dice,
        "accuracy": whole.accuracy,
        "precision": whole.precision,
        "recall": whole.recall,
        "boundary_f": float(np.mean([s.boundary_f for s in scores])),
        "mad": float(np.mean([s.mad for s in scores])),
    }
    if leaks:
        result["neck_leak"] = float(np.mean(leaks))
    result["ms"] = float(np.median([s.ms for s in scores]))
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in result.items()}


def threshold_curve(counts: Any) -> list[tuple[float, float, float, float]]:
    """(threshold, IoU, precision, recall) for thresholds from 0.05 to 0.95, from ``histograms`` summed up."""
    background, foreground = np.asarray(counts, np.int64)
    rows = []
    for threshold in np.arange(0.05, 0.951, 0.05):
        first = int(np.floor(threshold * (LEVELS - 1))) + 1
        tp, fp = int(foreground[first:].sum()), int(background[first:].sum())
        fn = int(foreground[:first].sum())
        rows.append((round(float(threshold), 2), _ratio(tp, tp + fp + fn), _ratio(tp, tp + fp), _ratio(tp, tp + fn)))
    return rows


def calibration_curve(counts: Any) -> list[tuple[float, float, float]]:
    """(mean alpha, share that is foreground, share of all pixels) of ten equal bins of alpha; empty bins are left out.

    A matte that means what it says lies on the diagonal (Guo et al., arXiv:1706.04599).
    """
    background, foreground = np.asarray(counts, np.float64)
    total = background + foreground
    values = np.arange(LEVELS) / (LEVELS - 1)
    rows = []
    for part in np.array_split(np.arange(LEVELS), 10):
        weight = total[part].sum()
        if weight:
            mean = float((values[part] * total[part]).sum() / weight)
            rows.append((mean, float(foreground[part].sum() / weight), float(weight / total.sum())))
    return rows
