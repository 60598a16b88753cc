#!/usr/bin/env python3
"""Cut the hard pictures and put them on one sheet, to be looked at.

    scripts/hard_pictures.py --data DATA [--list configs/hard-pictures.txt] [--model default] --out hard.png

The list names a picture of DATA a line, without its ending, and after a tab what is hard about it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from headstream.cli.console import progress_bar, say
from headstream.errors import UsageError
from headstream.evaluate.pictures import contact_sheet
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.load import load_segmenter
from headstream.segment.registry import models_dir
from headstream.shared.imagefile import read_image, write_image
from headstream.track.finder import FaceFinder
from headstream.types import UInt8Array

_PAIRS_A_ROW = 5
_BEHIND = np.array((30, 160, 90), np.float32)


def picture_file(data: Path, entry: str) -> Path:
    """The file of an entry, whatever its ending."""
    found = [data / f"{entry}{ending}" for ending in (".jpg", ".jpeg", ".png")]
    for path in found:
        if path.is_file():
            return path
    raise UsageError(f"{data / entry} is there neither as .jpg nor as .png")


def cut_over_colour(cutter: PhotoCutter, rgb: UInt8Array) -> tuple[str, UInt8Array]:
    """The largest head over plain green, and what to write below it."""
    cutout = cutter.cut(rgb).cutout
    rgba = cutout.rgba().astype(np.float32)
    alpha = rgba[..., 3:] / 255
    over = (rgba[..., :3] * alpha + _BEHIND * (1 - alpha) + 0.5).astype(np.uint8)
    return ("" if cutout.heads else "no head found"), over


def main() -> None:
    """Read the list, cut, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--list", type=Path, default=Path(__file__).parents[1] / "configs" / "hard-pictures.txt")
    parser.add_argument("--model", default="default")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    entries = [line.split("\t") for line in options.list.read_text(encoding="utf-8").splitlines() if line]
    tiles: list[tuple[str, UInt8Array]] = []
    with FaceFinder(models_dir()) as finder, progress_bar("cutting", unit="pictures") as progress:
        cutter = PhotoCutter(load_segmenter(options.model), finder, CutOptions())
        for number, (entry, why) in enumerate(entries, 1):
            rgb = read_image(picture_file(options.data, entry))
            tiles += [(f"{number} {why}", rgb), cut_over_colour(cutter, rgb)]
            progress(number, len(entries))
    wide = 2 * _PAIRS_A_ROW
    sheet = contact_sheet([tiles[start : start + wide] for start in range(0, len(tiles), wide)])
    write_image(options.out, sheet)
    say(f"wrote {options.out}: {len(entries)} pictures, each beside what was cut out of it")


if __name__ == "__main__":
    main()
