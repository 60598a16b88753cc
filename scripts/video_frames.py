#!/usr/bin/env python3
"""Take evenly spaced frames out of video files, as training pictures: VIDEO... --out DIR [--each 25]."""

from __future__ import annotations

import argparse
from pathlib import Path

from headstream.capture.file import FileSource
from headstream.shared.imagefile import write_image


def main() -> None:
    """Write DIR/images/STEM-INDEX.jpg."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=25)
    options = parser.parse_args()
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    for path in options.videos:
        with FileSource(path) as source:
            step = max(1, source.frames_expected // options.each)
            for frame in source:
                if frame.index % step == 0:
                    write_image(options.out / "images" / f"{path.stem}-{frame.index:05d}.jpg", frame.rgb)


if __name__ == "__main__":
    main()
