"""The Python interface: what ``import headstream`` offers, imported when first used."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from headstream import kept
from headstream.capture.file import FileSource
from headstream.capture.numbered import parse_rate
from headstream.capture.photo import photo_from_image, read_photo
from headstream.choice import Heads
from headstream.errors import UsageError
from headstream.foresight import file_cutter
from headstream.photos import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.stream import cut_stream
from headstream.types import Cutout, Part, Segmenter, UInt8Array

Model = str | Path | Segmenter


def cut_image(
    picture: Any, *, heads: Heads = "all", part: Part = "head", model: Model = "default", device: str = "auto"
) -> list[Cutout]:
    """Cut the heads out of one picture: one ``Cutout`` for each, the largest first; an empty list if there is none.

    picture: (H, W, 3) or (H, W, 4) uint8 RGB(A), a PIL image, or a path.  heads: "largest", "all" or a number from 1 on.
    part: what the network knows, such as "hair".  model: what ``load_segmenter`` takes, or what it gave; then ``device`` is
    left alone. The last network and the detectors are kept for the next call, which may come from any thread.
    Raises SourceError for a file that is no photo, UsageError for something else than a picture and for words that are
    not known, ModelError.
    """
    options = CutOptions(heads=heads, part=part)
    options = replace(options, matte=replace(options.matte, stability=0.0))
    rgb, alpha = _pixels(picture)
    segmenter = _network(model, device, fast=False)
    with kept.finder() as finder:
        result = PhotoCutter(segmenter, finder, options).cut(rgb, alpha)
    return [stage.cutout for stage in result.heads]


def cut_video(
    path: str | os.PathLike[str],
    *,
    heads: Heads = "largest",
    part: Part = "head",
    model: Model = "default",
    device: str = "auto",
    rate: Fraction | float | None = None,
) -> Generator[Cutout, None, None]:
    """Cut the heads out of a video file, or of numbered pictures (a folder, or a name like shot/%06d.png): one ``Cutout`` for
    every frame, in order, in constant memory.

    The file and the weights are opened at the first step; stop early by closing the generator. The words are those of
    ``cut_image``. rate: of pictures, a second; 25 where it is None. Raises UsageError for what is no path, ``heads``, ``part``
    and ``rate`` at once; then UsageError, SourceError, ModelError.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"a video is a path, got {type(path).__name__}")
    asked = None if rate is None else parse_rate(rate)
    return _cut_video(path, CutOptions(heads=heads, part=part), model, device, asked)


def _cut_video(
    path: str | os.PathLike[str], options: CutOptions, model: Model, device: str, rate: Fraction | None
) -> Generator[Cutout, None, None]:
    with FileSource(Path(path), rate=rate) as source, kept.finder() as finder:
        segmenter = _network(model, device, fast=True)
        yield from cut_stream(source, file_cutter(segmenter, finder, options))


def _network(model: Model, device: str, *, fast: bool) -> Segmenter:
    if isinstance(model, (str, Path)):
        return kept.network(str(model), device, fast=fast)
    if not hasattr(model, "predict"):
        raise UsageError(f"model is a name, a path or a segmenter, got {type(model).__name__}")
    if device not in ("auto", getattr(model, "device", None)):
        raise UsageError(f"device is {device!r}, but the segmenter was loaded before; choose when it is loaded")
    return model


def _pixels(picture: Any) -> tuple[UInt8Array, UInt8Array | None]:
    rgb, alpha = _read(picture)
    if not rgb.size:
        raise UsageError(f"a picture has at least one pixel, got {rgb.shape}")
    return rgb, alpha


def _read(picture: Any) -> tuple[UInt8Array, UInt8Array | None]:
    if isinstance(picture, (str, os.PathLike)):
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
