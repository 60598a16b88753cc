"""What --background asks for, opened, for any caller: sinks know what is behind a head, not where pictures come from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.named import PHOTOS
from headstream.capture.photo import read_picture
from headstream.sinks.background import parse_background
from headstream.sinks.behind import Background, BlurredScene, FixedPicture, VideoBackground


def backdrop(text: str, *, threads: int | None = None) -> Background | None:
    """What to put behind the head; None for "transparent". threads: of a film's decoder. Raises UsageError, SourceError."""
    wanted = parse_background(text)
    if wanted == "transparent":
        return None
    if isinstance(wanted, tuple):
        return FixedPicture(np.array([[wanted]], np.uint8))
    if not isinstance(wanted, Path):
        return BlurredScene()
    if is_still(wanted):
        return FixedPicture(read_picture(wanted))
    return VideoBackground(wanted, partial(FileSource, threads=threads))


def is_still(behind: Path) -> bool:
    """Whether a film has one picture behind it; a .gif runs, as a film does."""
    return behind.suffix.lower() in PHOTOS - {".gif"}
