"""The Python interface: what ``import headstream`` offers, imported when first used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.photo import photo_from_image, read_photo
from headstream.choice import Heads
from headstream.errors import UsageError
from headstream.foresight import file_cutter
from headstream.photos import PhotoCutter
from headstream.pipeline import CutOptions, cut_stream
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Part, UInt8Array


def cut_image(
    picture: Any, *, heads: Heads = "all", part: Part = "head", model: str = "default", device: str = "auto"
) -> list[Cutout]:
    """Cut the heads out of one picture: one ``Cutout`` for each, the largest first; an empty list if there is none.

    picture: (H, W, 3) or (H, W, 4) uint8 RGB(A), a PIL image, or a path. Raises SourceError for a file that is no
    photo, UsageError for something else than a picture.
    """
    options = CutOptions(heads=heads, part=part)
    options = replace(options, matte=replace(options.matte, stability=0.0))
    rgb, alpha = _pixels(picture)
    with FaceFinder(models_dir()) as finder:
        result = PhotoCutter(load_segmenter(model, device=device), finder, options).cut(rgb, alpha)
    return [stage.cutout for stage in result.heads]


def cut_video(
    path: str | Path, *, heads: Heads = "largest", part: Part = "head", model: str = "default", device: str = "auto"
) -> Iterator[Cutout]:
    """Cut the heads out of a video file: one ``Cutout`` for every frame, in order, in constant memory.

    The file and the weights are opened at the first step; stop early by closing the iterator.
    Raises SourceError, ModelError.
    """
    options = CutOptions(heads=heads, part=part)
    segmenter = load_segmenter(model, device=device, fast=True)
    with FileSource(path) as source, FaceFinder(models_dir()) as finder:
        yield from cut_stream(source, file_cutter(segmenter, finder, options))


def _pixels(picture: Any) -> tuple[UInt8Array, UInt8Array | None]:
    if isinstance(picture, (str, Path)):
        photo = read_photo(Path(picture))
        return photo.rgb, photo.alpha
    if isinstance(picture, np.ndarray):
        if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] in (3, 4):
            alpha = np.ascontiguousarray(picture[..., 3]) if picture.shape[2] == 4 else None
            return np.ascontiguousarray(picture[..., :3]), alpha
        raise UsageError(f"a picture is (H, W, 3) or (H, W, 4) uint8, got {picture.shape} {picture.dtype}")
    if hasattr(picture, "convert") and hasattr(picture, "size"):
        photo = photo_from_image(picture)
        return photo.rgb, photo.alpha
    raise UsageError(f"a picture is an array, a PIL image or a path, got {type(picture).__name__}")
