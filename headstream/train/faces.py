"""Where the faces of a training set are, looked for once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headstream.imagefile import read_image
from headstream.train.data import DataSet
from headstream.types import Box


def find_faces(data: DataSet, cache: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Box]:
    """Face box of every picture of a set where there is one, kept as JSON in ``cache``; what it lacks is looked for.

    What was found is kept also when the search breaks off. Raises SourceError for a picture that cannot be read.
    """
    if data.kind == "packed":
        return {}
    boxes: dict[str, Any] = _cached(cache)
    if missing := [name for name in data.names if name not in boxes]:
        try:
            for number, (name, box) in enumerate(_look_for_faces(data, missing), 1):
                boxes[name] = box
                if progress is not None:
                    progress(number, len(missing))
        finally:
            _keep(boxes, cache)
    return {name: (box[0], box[1], box[2], box[3]) for name in data.names if (box := boxes[name])}


def _keep(boxes: dict[str, Any], cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_name(f"{cache.name}.{os.getpid()}.part")  # of torchrun's processes each looks for itself
    part.write_text(json.dumps(boxes), encoding="utf-8")
    part.replace(cache)


def _cached(cache: Path) -> dict[str, Any]:
    try:
        boxes = json.loads(cache.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return boxes if isinstance(boxes, dict) else {}


def _look_for_faces(data: DataSet, names: list[str]) -> Iterator[tuple[str, Box | None]]:
    from headstream.segment.registry import models_dir
    from headstream.track.faces import MODEL_FILES, FaceDetector

    full_model, short_model = (models_dir() / MODEL_FILES[kind] for kind in ("full", "short"))
    with FaceDetector(full_model) as full, FaceDetector(short_model) as short:
        for name in names:
            rgb = read_image(data.image_path(name))
            found = full.detect(rgb) or short.detect(rgb)
            yield name, max(found, key=lambda f: (f.box_px[2] - f.box_px[0]) * f.score).box_px if found else None
