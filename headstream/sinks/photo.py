"""What is written for one photo: the head, its masks, and on request a figure of all stages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headstream.errors import SinkError, UsageError
from headstream.shared.disk import rename
from headstream.shared.letterbox import letterboxed
from headstream.sinks.behind import checkerboard
from headstream.sinks.partial import check_writable, fitting, neighbour, sink_error, whole_file
from headstream.types import Float32Array, Region, UInt8Array

RESULT = re.compile(r"(head_only|full_mask|head_mask_crop(_\d+)?|stages)\.png")

_TILE_PX = 360  # side of each stage in the figure


def write_photo(
    folder: Path,
    head_only: UInt8Array,
    full_mask: UInt8Array,
    crops: list[Float32Array],
    *,
    icc: bytes | None = None,
    figure: UInt8Array | None = None,
) -> list[Path]:
    """Write one photo's results into ``folder``, all or nothing, in place of an earlier run's; returns the files.

    head_only.png: (h, w, 4) or (h, w, 3), with the photo's profile.  full_mask.png: (H, W) at the photo's size.
    head_mask_crop.png: the zoomed crop's mask; with several heads head_mask_crop_2.png and so on.  stages.png: ``figure``.
    """
    from PIL import Image

    check_writable(folder)
    part = neighbour(folder, fitting(".", folder.resolve().name, ".part"))
    pictures: dict[str, UInt8Array] = {"head_only.png": head_only, "full_mask.png": full_mask}
    for number, crop in enumerate(crops, 1):
        name = "head_mask_crop.png" if number == 1 else f"head_mask_crop_{number}.png"
        pictures[name] = (np.clip(crop, 0, 1) * 255 + 0.5).astype(np.uint8)
    if figure is not None:
        pictures["stages.png"] = figure
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, pixels in pictures.items():
            profile = icc if name == "head_only.png" else None
            Image.fromarray(pixels).save(part / name, compress_level=4, icc_profile=profile)
        folder.mkdir(parents=True, exist_ok=True)
        before = {file.name for file in folder.iterdir() if RESULT.fullmatch(file.name)}
        for name in pictures:
            rename(part / name, folder / name)
        if {"head_only.png", "full_mask.png"} <= before:
            for name in before - set(pictures):  # masks of more heads, or a figure, of the result that was there
                (folder / name).unlink()
    except OSError as error:
        raise sink_error(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [folder / name for name in pictures]


# Of what one picture is written as: Pillow's name, and how.
_SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
}
_MOST_PX = {"WEBP": 16383, "JPEG": 65500}  # a side; what libjpeg takes is less than the format


def picture_kinds(*, opaque: bool) -> tuple[str, ...]:
    """The endings of what ``save_picture`` writes: of all, or where it is not ``opaque``, of those that have transparency."""
    return tuple(ending for ending, (kind, _) in _SAVED.items() if opaque or kind != "JPEG")


def save_picture(path: Path, pixels: UInt8Array, icc: bytes | None = None) -> None:
    """Write one picture, (h, w), (h, w, 3) or (h, w, 4) uint8, as the name's ending says. Raises SinkError."""
    from PIL import Image

    kind, how = _SAVED[path.suffix.lower()]
    if (longest := max(pixels.shape[:2])) > _MOST_PX.get(kind, longest):
        raise SinkError(
            f"{path}: {kind} pictures are at most {_MOST_PX[kind]} px a side, this one has {longest}; name a .png"
        )
    with whole_file(path) as part:
        Image.fromarray(pixels).save(part, kind, icc_profile=icc, **how)


def stages_figure(
    rgb: UInt8Array, heads: list[Any], searched: Region, full_mask: UInt8Array, head_only: UInt8Array
) -> UInt8Array:
    """One picture of all stages: original, portrait, zoom, mask, full mask, result. (H, W, 3) uint8.

    heads: what ``PhotoResult.heads`` holds; the first is shown in the zoom.  searched: the part of the photo the faces
    were found in.  full_mask, head_only: as written.
    """
    first = heads[0]
    boxed = rgb.copy()
    thick = max(2, max(rgb.shape[:2]) // 250)
    for stage in heads:
        _draw_box(boxed, stage.head.crop_px, (70, 150, 255), thick)
        _draw_box(boxed, stage.head.box_px, (90, 220, 120), thick)
    x0, y0, x1, y1 = searched
    grey = cv2.cvtColor((np.clip(first.crop_alpha, 0, 1) * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    full = cv2.cvtColor(full_mask, cv2.COLOR_GRAY2RGB)
    steps = [
        ("1 original: face and crop", boxed),
        ("2 portrait", rgb[y0:y1, x0:x1]),
        ("3 zoom", first.crop),
        ("4 mask of the zoom", grey),
        ("5 full mask", full),
        ("6 result", on_checkerboard(head_only) if head_only.shape[2] == 4 else head_only),
    ]
    tiles = [
        _captioned(letterboxed(np.ascontiguousarray(picture), (_TILE_PX, _TILE_PX), 24), title)
        for title, picture in steps
    ]
    return np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])


def on_checkerboard(rgba: UInt8Array, cell: int | None = None) -> UInt8Array:
    """(H, W, 3) uint8: a transparent picture as editors show it."""
    height, width = rgba.shape[:2]
    board = checkerboard((width, height), cell)[..., None].astype(np.float32)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + board * (1 - alpha) + 0.5).astype(np.uint8)


def _draw_box(picture: UInt8Array, box: Any, colour: tuple[int, int, int], thick: int) -> None:
    x0, y0, x1, y1 = (round(v) for v in box)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick)


def _captioned(picture: UInt8Array, text: str) -> UInt8Array:
    from PIL import Image, ImageDraw, ImageFont

    bar = Image.new("RGB", (picture.shape[1], 34), (24, 24, 24))
    ImageDraw.Draw(bar).text((10, 7), text, fill=(240, 240, 240), font=ImageFont.load_default(18))
    return np.vstack([np.asarray(bar), picture, np.full((6, picture.shape[1], 3), 24, np.uint8)])


def result_folder(out: Path, photo: Path, taken: set[str]) -> Path:
    """DIR/STEM for a photo, or DIR/STEM-2 and so on where another photo of this run has that name. taken: these names, as a
    file system that ignores case sees them."""
    stem = name = portable(photo.stem) or photo.name  # of "...jpg" the stem is "..": another folder
    number = 2
    while name.casefold() in taken:
        name = f"{stem}-{number}"
        number += 1
    taken.add(name.casefold())
    return out / name


def portable(name: str) -> str:
    """A folder's name as all systems have it: Windows leaves out dots and blanks at its end, and then does not find it."""
    return name.rstrip(" .")


def check_folder(out: Path, instead: str = "") -> None:
    """Raise UsageError where ``out`` is no folder, SinkError unless results can be written into it. instead: what else --out may
    name, in words."""
    check_writable(out)
    if out.is_file():
        raise UsageError(f"{out}: is a file; --out names a folder{instead}")
