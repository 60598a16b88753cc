"""What --background asks for, opened, for any caller: sinks know what is behind a head, not where pictures come from."""

from __future__ import annotations

from functools import partial

from headstream.capture.file import FileSource
from headstream.capture.photo import read_picture
from headstream.sinks.background import open_background, parse_background
from headstream.sinks.behind import Background


def backdrop(text: str, *, threads: int | None = None) -> Background | None:
    """What to put behind the head; None for "transparent". threads: of a film's decoder. Raises UsageError, SourceError."""
    return open_background(parse_background(text), partial(FileSource, threads=threads), read_picture)
