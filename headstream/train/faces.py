"""Where the faces of a training set are, looked for once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from headstream.errors import SourceError
from headstream.shared.imagefile import read_image
from headstream.train.data import DataSet
from headstream.types import Box


def find_faces(data: DataSet, cache: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Box]:
    """Face box of every picture of a set where there is one, kept as JSON in ``cache``; what it lacks is looked for.

    The cache holds, by the picture's name, its file's size in bytes and the box, or null: another picture of that name is
    looked at anew. What was found is kept also when the search breaks off. Raises SourceError for a picture that cannot be
    read.
    """
    if data.kind == "packed":
        return {}
    known = _cached(cache)
    sizes = {name: _bytes_of(data, name) for name in data.names}
    if missing := [name for name, size in sizes.items() if name not in known or known[name][0] != size]:
        try:
            for number, (name, box) in enumerate(_look_for_faces(data, missing), 1):
                known[name] = (sizes[name], box)
                if progress is not None:
                    progress(number, len(missing))
        finally:
            _keep(known, cache)
    return {name: box for name in data.names if (box := known[name][1]) is not None}


def _bytes_of(data: DataSet, name: str) -> int:
    path = data.image_path(name)
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


def _keep(known: dict[str, tuple[int, Box | None]], cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_name(f"{cache.name}.{os.getpid()}.part")  # of torchrun's processes each looks for itself
    part.write_text(json.dumps(known), encoding="utf-8")
    part.replace(cache)


def _cached(cache: Path) -> dict[str, tuple[int, Box | None]]:
    """Without what is not in the format."""
    known: dict[str, tuple[int, Box | None]] = {}
    try:
        for name, (size, box) in json.loads(cache.read_text(encoding="utf-8")).items():
            if box is not None:
                x0, y0, x1, y1 = map(float, box)
            known[name] = (int(size), None if box is None else (x0, y0, x1, y1))
    except (FileNotFoundError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return {}
    return known


def _look_for_faces(data: DataSet, names: list[str]) -> Iterator[tuple[str, Box | None]]:
    from headstream.segment.registry import models_dir
    from headstream.track.faces import MODEL_FILES, FaceDetector

    full_model, short_model = (models_dir() / MODEL_FILES[kind] for kind in ("full", "short"))
    with FaceDetector(full_model) as full, FaceDetector(short_model) as short:
        for name in names:
            rgb = read_image(data.image_path(name))
            found = full.detect(rgb) or short.detect(rgb)
            yield name, max(found, key=lambda f: (f.box_px[2] - f.box_px[0]) * f.score).box_px if found else None
