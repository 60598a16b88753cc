"""A data set in one file: pictures small enough to be read fast, truth, face boxes. An ordinary zip, nothing compressed twice.

NAME.jpg is the picture, NAME.N.png hold the target planes three at a time, NAME.known.N.png where they are known (left out
where that is everywhere), index.json the planes, which of them the truth tells from all else, and the face boxes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from headstream.errors import SourceError, UsageError
from headstream.shared.imagefile import image_bytes
from headstream.sinks.partial import whole_file
from headstream.train.picture import Picture, bounded, finished
from headstream.train.truth import tells

if TYPE_CHECKING:
    from headstream.train.data import DataSet
    from headstream.types import UInt8Array

_JPEG_QUALITY = 92


def pack(data: DataSet, out: Path, *, side: int, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a set into one file, pictures scaled down to a longer side of ``side``. Raises SinkError, SourceError."""
    boxes: dict[str, Any] = {}
    data = replace(data, largest_px=side)
    with whole_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
        for number, name in enumerate(data.names, 1):
            picture = bounded(data.load(name), side)  # a packed set gives its own as large as they are
            boxes[name] = picture.face_px
            _put(file, f"{name}.jpg", image_bytes(picture.rgb, ".jpg", quality=_JPEG_QUALITY))
            for index, planes in enumerate(_threes(picture.target)):
                _put(file, f"{name}.{index}.png", image_bytes(planes, ".png"))
            if picture.known.min() < 255:
                for index, planes in enumerate(_threes(picture.known)):
                    _put(file, f"{name}.known.{index}.png", image_bytes(planes, ".png"))
            if progress is not None:
                progress(number, len(data.names))
        told = [plane for plane in data.planes if tells(data, plane)]
        _put(file, "index.json", json.dumps({"planes": data.planes, "told": told, "faces": boxes}).encode())


def _put(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Without the time of day: a zip cannot tell that of a clock that stands before 1980."""
    file.writestr(zipfile.ZipInfo(name), data)


def packed_names(path: Path) -> list[str]:
    """Stems of the pictures in a packed file."""
    return sorted(_opened(str(path))[1]["faces"])


def packed_told(path: Path) -> list[str]:
    """Planes that the truth in a packed file tells from all else, see ``tells``; all where it does not say."""
    index = _opened(str(path))[1]
    told: list[str] = index.get("told", index["planes"])
    return told


def load_packed(data: DataSet, name: str) -> Picture:
    """One picture of a packed file, with the planes the set asks for. Raises SourceError where it is damaged."""
    file, index = _opened(str(data.root))
    there = index["planes"]
    missing = [plane for plane in data.planes if plane not in there]
    if missing:
        raise UsageError(f"{data.root} was packed without {', '.join(missing)}; pack it again with these planes")
    count = -(-len(there) // 3)
    try:
        rgb = _decoded(file.read(f"{name}.jpg"))
        target = np.dstack([_decoded(file.read(f"{name}.{k}.png")) for k in range(count)])[..., : len(there)]
        known = np.full_like(target, 255)
        if f"{name}.known.0.png" in file.NameToInfo:
            known = np.dstack([_decoded(file.read(f"{name}.known.{k}.png")) for k in range(count)])[..., : len(there)]
    except (KeyError, cv2.error, zipfile.BadZipFile) as error:
        raise SourceError(f"{data.root}: {name} in it is damaged; pack the set again") from error
    if tuple(there) != data.planes:
        order = [there.index(plane) for plane in data.planes]
        target, known = target[..., order], known[..., order]
    face = index["faces"][name]
    return finished(rgb, np.ascontiguousarray(target), np.ascontiguousarray(known), tuple(face) if face else None)


@lru_cache(maxsize=16)
def _opened(path: str) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    """The file and its index, opened once in each process."""
    try:
        file = zipfile.ZipFile(path)
        return file, json.loads(file.read("index.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a packed data set: {error}") from error


def _threes(planes: UInt8Array) -> list[UInt8Array]:
    """(H, W, P) as pictures of three planes each, the last one filled up with nothing."""
    short = -planes.shape[2] % 3
    full = np.pad(planes, ((0, 0), (0, 0), (0, short)))
    return [np.ascontiguousarray(full[..., k : k + 3]) for k in range(0, full.shape[2], 3)]


def _decoded(data: bytes) -> UInt8Array:
    bgr: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
