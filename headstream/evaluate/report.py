"""One HTML file with several models side by side: figures, curves, the same pictures. It needs nothing beside it."""

from __future__ import annotations

import base64
import csv
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.errors import UsageError
from headstream.evaluate.charts import Series, chart
from headstream.evaluate.metrics import calibration_curve, threshold_curve
from headstream.evaluate.pictures import error_map, overlaid
from headstream.evaluate.run import Evaluation, read_matte
from headstream.shared.colour import PAD
from headstream.shared.imagefile import image_bytes
from headstream.shared.letterbox import letterboxed
from headstream.sinks.partial import whole_file
from headstream.train.data import DataSet
from headstream.types import UInt8Array

_TILE_PX = 208
# column -> (heading, what it means, digits, whether more is better)
COLUMNS: dict[str, tuple[str, str, int, bool]] = {
    "iou": ("IoU", "intersections over unions, pixels of all pictures together", 4, True),
    "mean_iou": ("mean IoU", "mean of the pictures' IoU", 4, True),
    "dice": ("Dice", "also called F1", 4, True),
    "precision": ("precision", "share of what was taken that is right", 4, True),
    "recall": ("recall", "share of what is there that was taken", 4, True),
    "accuracy": ("accuracy", "share of all pixels that are right", 4, True),
    "boundary_f": ("boundary F", "F1 of outlines within 2 px per 512", 4, True),
    "mad": ("MAD", "mean |alpha - truth| x 1000", 2, False),
    "neck_leak": ("neck leak", "mean alpha on neck, necklace and cloth", 4, False),
    "ms": ("ms", "median for one picture on this machine", 1, False),
    "parameters": ("parameters", "weights", 0, False),
    "file_mb": ("MB", "size of the weight file", 1, False),
}
UNKNOWN_AS_0 = {"parameters", "file_mb"}


def write_report(
    results: Sequence[Evaluation],
    data: DataSet,
    masks: Sequence[Path],
    out: Path,
    *,
    pictures: int = 24,
    logs: Sequence[Path | None] = (),
) -> None:
    """Write the page. masks: each result's folder of mattes.  logs: each model's log.csv where there is one."""
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("reports need jinja2: pip install 'headstream[train]'") from error
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("headstream.evaluate") / "report.html.jinja").read_text(encoding="utf-8"))
    chosen = choose(results, pictures)
    page = template.render(
        data=data.root.name,
        part=results[0].part,
        count=len(results[0].scores),
        columns=COLUMNS,
        unknown_as_0=UNKNOWN_AS_0,
        models=[{"name": r.model, "number": k, "summary": r.summary} for k, r in enumerate(results)],
        best=best_of([r.summary for r in results]),
        charts=[(title, svg) for title, svg in charts(results, logs) if svg],
        rows=[_row(results, data, masks, name) for name in chosen],
    )
    with whole_file(out) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def choose(results: Sequence[Evaluation], count: int) -> list[str]:
    """Pictures to show: half are the hardest for the models together, half evenly spaced over the set."""
    ious: dict[str, list[float]] = {}
    for result in results:
        for score in result.scores:
            ious.setdefault(score.name, []).append(score.iou)
    names = list(ious)
    hardest = sorted(names, key=lambda name: float(np.mean(ious[name])))[: count // 2]
    left = [name for name in names if name not in set(hardest)]
    step = max(1, len(left) // max(1, count - len(hardest)))
    return hardest + left[::step][: count - len(hardest)]


def best_of(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best value of each column."""
    best = {}
    for key, (_, _, _, more) in COLUMNS.items():
        values = [s[key] for s in summaries if s.get(key) is not None and not (s[key] == 0 and key in UNKNOWN_AS_0)]
        if len(values) > 1:
            best[key] = max(values) if more else min(values)
    return best


def charts(results: Sequence[Evaluation], logs: Sequence[Path | None]) -> list[tuple[str, str]]:
    """(title, SVG) of all that can be drawn."""
    quality = [
        Series(r.model, ((r.summary["ms"], r.summary["iou"]),), k, line=False)
        for k, r in enumerate(results)
        if r.scores
    ]
    thresholds = [
        Series(r.model, tuple((row[0], row[1]) for row in threshold_curve(r.counts)), k) for k, r in enumerate(results)
    ]
    trust = [
        Series(r.model, tuple((row[0], row[1]) for row in calibration_curve(r.counts)), k)
        for k, r in enumerate(results)
    ]
    losses, scored = [], []
    for k, (result, log) in enumerate(zip(results, logs, strict=False)):
        if log is not None:
            losses.append(Series(result.model, _column(log, "loss"), k))
            scored.append(Series(result.model, _column(log, f"{result.part}_iou"), k))
    return [
        ("Quality against time", chart(quality, x="ms a picture", y="IoU", log_x=True)),
        ("IoU at each threshold", chart(thresholds, x="threshold of alpha", y="IoU")),
        ("Calibration", chart(trust, x="mean alpha", y="share that is foreground", diagonal=True)),
        ("Training loss", chart(losses, x="step", y="loss")),
        ("Validation while training", chart(scored, x="step", y="IoU")),
    ]


def _column(log: Path, key: str) -> tuple[tuple[float, float], ...]:
    """(step, value) of a run's log; nothing of one that another program wrote, which may lie beside a model as well."""
    try:
        with log.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("step") and row.get(key)]
        return tuple((float(row["step"]), float(row[key])) for row in rows)
    except (ValueError, csv.Error):
        return ()


def _row(results: Sequence[Evaluation], data: DataSet, masks: Sequence[Path], name: str) -> dict[str, Any]:
    picture = data.load(name)
    plane = data.planes.index(results[0].part)
    truth, known = picture.target[..., plane], picture.known[..., plane]
    cells = []
    for result, folder in zip(results, masks, strict=True):
        score = next(s for s in result.scores if s.name == name)
        alpha = read_matte(folder, name, truth.shape)
        cells.append(
            {
                "iou": score.iou,
                "mask": _png_uri(alpha),
                "overlay": _jpeg_uri(overlaid(picture.rgb, alpha)),
                "error": _jpeg_uri(error_map(picture.rgb, alpha, truth, known)),
            }
        )
    return {
        "name": name,
        "picture": _jpeg_uri(picture.rgb),
        "truth": _png_uri(np.where(known > 0, truth, 127).astype(np.uint8)),
        "cells": cells,
    }


def _jpeg_uri(rgb: UInt8Array) -> str:
    tile = letterboxed(rgb, (_TILE_PX, _TILE_PX), PAD)
    return "data:image/jpeg;base64," + base64.b64encode(image_bytes(tile, ".jpg", quality=80)).decode()


def _png_uri(grey: UInt8Array) -> str:
    tile = letterboxed(grey, (_TILE_PX, _TILE_PX), PAD)
    _, data = cv2.imencode(".png", np.ascontiguousarray(tile >> 2 << 2), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(bytes(data)).decode()
