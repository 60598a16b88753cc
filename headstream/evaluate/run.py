"""A network over a data set: scores of each picture, curves, the mattes themselves, the worst pictures to look at."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstream.errors import ModelError
from headstream.evaluate.metrics import (
    PictureScore,
    calibration_curve,
    histograms,
    score_picture,
    summarise,
    threshold_curve,
)
from headstream.evaluate.pictures import contact_sheet, error_map, overlaid
from headstream.shared.imagefile import image_bytes, read_image
from headstream.sinks.partial import whole_file
from headstream.train.data import DataSet
from headstream.train.picture import BODY, Picture
from headstream.types import Float32Array, Part, Segmenter, UInt8Array

_WARM_UP = 2
_SHOWN = 12  # of the worst pictures
Matte = Callable[[UInt8Array], Float32Array]


@dataclass
class Evaluation:
    """What came of it.

    model: its name.  part: what was asked for.  scores: by picture, in the set's order.  counts: (2, 256) histograms of
    alpha on background and foreground.  parameters, file_mb: size, 0 where unknown.  device: what it ran on.
    """

    model: str
    part: str
    scores: list[PictureScore] = field(default_factory=list)
    counts: Any = field(default_factory=lambda: np.zeros((2, 256), np.int64))
    parameters: int = 0
    file_mb: float = 0.0
    device: str = ""

    @property
    def summary(self) -> dict[str, Any]:
        """All figures that go into summary.json."""
        size = {"parameters": self.parameters, "file_mb": round(self.file_mb, 2)}
        return {"model": self.model, "device": self.device, "part": self.part} | summarise(self.scores) | size

    def worst(self, count: int) -> list[PictureScore]:
        """The pictures with the lowest IoU, the worst first."""
        return sorted(self.scores, key=lambda s: s.iou)[:count]


def matte_of(segmenter: Segmenter, part: Part) -> Matte:
    """The network alone: the whole picture is the crop."""

    def matte(rgb: UInt8Array) -> Float32Array:
        return segmenter.predict(rgb[None], part)[0]

    return matte


def evaluate(
    model: str,
    matte: Matte,
    data: DataSet,
    part: Part,
    *,
    out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Ask for the matte of every picture of a set and score it. ``out``: a folder for the mattes, NAME.png.

    The set must load the plane of the part. Raises ModelError where it does not know it anywhere.
    """
    result = Evaluation(model, part)
    plane = data.planes.index(part)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(data.names):
        picture = data.load(name)
        if number == 0:
            for _ in range(_WARM_UP):
                matte(picture.rgb)
        started = time.perf_counter()
        alpha = matte(picture.rgb)
        ms = (time.perf_counter() - started) * 1000
        known = picture.known[..., plane] > 0
        truth = picture.target[..., plane] > 127
        result.scores.append(score_picture(name, alpha, truth, known=known, below=_below(picture, part), ms=ms))
        result.counts += histograms(alpha, truth, known)
        if out is not None:
            with whole_file(out / f"{name}.png") as making:
                making.write_bytes(image_bytes((alpha * 255 + 0.5).astype(np.uint8), ".png"))
        if progress is not None:
            progress(number + 1, len(data.names))
    if not result.counts.sum():
        raise ModelError(f"{data.root} does not know the {part} of any picture; evaluate another part or set")
    return result


def _below(picture: Picture, part: Part) -> Any:
    if part != "head":
        return None
    below: Any = (picture.target[..., BODY] > 127) & (picture.known[..., BODY] > 0)
    return below


def write_results(result: Evaluation, data: DataSet, masks: Path, out: Path) -> None:
    """Write summary.json, pictures.csv, curves.json and worst.jpg into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "summary.json") as making:
        making.write_text(json.dumps(result.summary, indent=2) + "\n", encoding="utf-8")
    rows = [score.as_row() for score in result.scores]
    with whole_file(out / "pictures.csv") as making, making.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    curves = {"threshold": threshold_curve(result.counts), "calibration": calibration_curve(result.counts)}
    with whole_file(out / "curves.json") as making:
        making.write_text(json.dumps(curves) + "\n", encoding="utf-8")
    sheet = contact_sheet([panels(data, s, masks, result.part) for s in result.worst(_SHOWN)])
    with whole_file(out / "worst.jpg") as making:
        making.write_bytes(image_bytes(sheet, ".jpg", quality=88))


def panels(data: DataSet, score: PictureScore, masks: Path, part: str) -> list[tuple[str, UInt8Array]]:
    """Captioned pictures of one result: the picture, the truth over it, the matte over it, where they differ."""
    picture = data.load(score.name)
    plane = data.planes.index(part)
    truth, known = picture.target[..., plane], picture.known[..., plane]
    alpha = read_matte(masks, score.name, truth.shape)
    return [
        (score.name[:18], picture.rgb),
        ("truth", overlaid(picture.rgb, truth)),
        (f"IoU {score.iou:.3f}", overlaid(picture.rgb, alpha)),
        ("error", error_map(picture.rgb, alpha, truth, known)),
    ]


def read_matte(masks: Path, name: str, shape: tuple[int, ...]) -> UInt8Array:
    """The matte ``evaluate`` wrote for a picture."""
    alpha = read_image(masks / f"{name}.png", grey=True)
    if alpha.shape != shape:
        raise ModelError(f"{masks / name}.png is not the matte of that picture; evaluate again into an empty folder")
    return alpha
