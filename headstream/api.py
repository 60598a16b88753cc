"""The Python interface: what ``import headstream`` offers, imported when first used."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from headstream import kept
from headstream.capture.file import FileSource
from headstream.capture.numbered import parse_rate
from headstream.capture.photo import photo_in, read_photo
from headstream.choice import Heads
from headstream.errors import UsageError
from headstream.films.foresight import file_cutter
from headstream.matte.refine import MatteOptions
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.registry import models_dir
from headstream.shared.colour import parse_colour
from headstream.stream import cut_stream
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Part, Segmenter, UInt8Array

Model = str | Path | Segmenter
_LEAST_SIDE = 32  # motion is followed on a smaller picture of the crop


def cut_image(
    picture: Any,
    *,
    heads: Heads = "all",
    part: Part = "head",
    hair_color: str | None = None,
    hq: bool = False,
    model: Model = "default",
    device: str = "auto",
) -> list[Cutout]:
    """Cut the heads out of one picture: one ``Cutout`` for each, the largest first; an empty list if there is none.

    picture: (H, W, 3) or (H, W, 4) uint8 RGB(A) or (H, W) grey, a PIL image, a path, or a photo's bytes or binary file. OpenCV's
    are BGR: ``cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)``.  heads: "largest", "all" or a number from 1 on.
    part: what the network knows, such as "hair".  hair_color: '#rrggbb' to give the hair; shades stay.  hq: hair strand by
    strand, in some seconds more, in its own colour.  model: what ``load_segmenter`` takes, or what it gave; then ``device`` is
    left alone; a loaded "default" is the one for photos.
    The last network and the detectors are kept for the next call, which may come from any thread.
    Raises SourceError for a file that is no photo, UsageError for something else than a picture and for words that are
    not known, ModelError.
    """
    options = _options(heads, part, hair_color, hq=hq)
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
    hair_color: str | None = None,
    model: Model = "default",
    device: str = "auto",
    rate: Fraction | float | None = None,
) -> Generator[Cutout, None, None]:
    """Cut the heads out of a video file, or of numbered pictures (a folder, or a name like shot/%06d.png): one ``Cutout`` for
    every frame, in order, in constant memory.

    The file and the weights are opened at the first step; stop early by closing the generator. The words are those of
    ``cut_image``. rate: of pictures, a second; 25 where it is None. Raises UsageError for what is no path, ``heads``, ``part``,
    ``hair_color`` and ``rate`` at once; then UsageError, SourceError, ModelError.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"a video is a path, got {type(path).__name__}")
    asked = None if rate is None else parse_rate(rate)
    return _cut_video(path, _options(heads, part, hair_color), model, device, asked)


def head_cutter(
    *,
    heads: Heads = "largest",
    part: Part = "head",
    hair_color: str | None = None,
    model: Model = "default",
    device: str = "auto",
) -> HeadCutter:
    """For frames of your own, one at a time, as of a camera that you read: ``head_cutter().cut(Frame(rgb, pts=seconds))``.

    One for each clip or camera, for one thread at a time. The words are those of ``cut_video``. ``cut`` heeds the times: give
    each frame its own, in seconds. Raises UsageError, ModelError.
    """
    options = _options(heads, part, hair_color)
    return HeadCutter(_network(model, device, fast=True), FaceFinder(models_dir()), options)


def _options(heads: Heads, part: Part, hair_color: str | None, *, hq: bool = False) -> CutOptions:
    if hq and hair_color is not None:
        raise UsageError("hq keeps the hair's own colour: leave out hq or hair_color")
    dye = None if hair_color is None else parse_colour(hair_color, "hair_color")
    return CutOptions(heads=heads, part=part, matte=MatteOptions(hair_color=dye, strands=hq))


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
    _check_own(model)
    return model


def _check_own(segmenter: Any) -> None:
    """Raise UsageError where a segmenter says of itself what cannot be."""
    side, parts = getattr(segmenter, "side", 256), getattr(segmenter, "parts", None)
    if not isinstance(side, (int, np.integer)) or side < _LEAST_SIDE:
        raise UsageError(f"the segmenter's side is {side!r}; expected the pixels of its crops, {_LEAST_SIDE} or more")
    if parts is not None and (isinstance(parts, str) or not isinstance(parts, Collection)):
        raise UsageError(f"the segmenter's parts are {parts!r}; expected names, such as ('head', 'hair')")


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
        picture = np.asarray(picture)  # a matrix has two dimensions, whatever is taken of it
        if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] in (3, 4):
            alpha = np.ascontiguousarray(picture[..., 3]) if picture.shape[2] == 4 else None
            return np.ascontiguousarray(picture[..., :3]), alpha
        if picture.dtype == np.uint8 and (picture.ndim == 2 or picture.shape[2:] == (1,)):
            return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2), None
        hint = "; for values of 0 to 1: (255 * x).astype(np.uint8)" if picture.dtype.kind == "f" else ""
        told = f"{picture.shape} {picture.dtype}"
        raise UsageError(f"a picture is (H, W, 3), (H, W, 4) or (H, W) uint8, got {told}{hint}")
    if isinstance(picture, (bytes, bytearray, memoryview)):
        picture = io.BytesIO(bytes(picture))
    if isinstance(picture, io.TextIOBase):
        raise UsageError('a photo is read from a binary file, got one open as text: open(..., "rb")')
    if hasattr(picture, "read") or (hasattr(picture, "convert") and hasattr(picture, "size")):
        photo = photo_in(picture)
        return photo.rgb, photo.alpha
    raise UsageError(f"a picture is an array, a PIL image, a path or a photo's bytes, got {type(picture).__name__}")
