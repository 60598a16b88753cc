"""What FFmpeg's muxer for .mov writes of streams that come from a file alone: an HDR film's mastering metadata.

The boxes go to the end of the picture's sample description, in a table that is the last in the file: nothing else moves.
https://developer.apple.com/documentation/quicktime-file-format/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headstream.shared.mastering import Mastering

_HEAD = struct.Struct(">I4s")  # length and kind
_TO_DESCRIPTIONS = (b"minf", b"stbl", b"stsd")
_BEFORE_FIRST = 8  # version and count of sample descriptions
_HANDLER_AT = 16  # of what kind a track is
_POINT, _CANDELA = 50_000, 10_000  # steps in 1


def write_mastering(path: Path, mastering: Mastering) -> bool:
    """Tell players of a finished file what an HDR film was made on. Returns whether there is a place for it. Lets OSError out."""
    with path.open("r+b") as file:
        at, kind = _last_box(file)
        if kind != b"moov":
            return False
        file.seek(at)
        table = bytearray(file.read())
        if not _put(table, _boxes(mastering)):
            return False
        file.seek(at)
        file.write(table)
    return True


def _last_box(file: IO[bytes]) -> tuple[int, bytes]:
    """Where the last of the outermost boxes begins, and its kind."""
    size, at, following, kind = file.seek(0, 2), 0, 0, b""
    while following < size:
        at = following
        file.seek(at)
        length, kind = _HEAD.unpack(file.read(_HEAD.size))
        following += struct.unpack(">Q", file.read(8))[0] if length == 1 else max(length, _HEAD.size)
    return at, kind


def _put(table: bytearray, boxes: bytes) -> bool:
    """Put boxes into the first sample description of the picture's track; all that hold it grow."""
    for track in _inside(table, 0, b"trak"):
        media = next(_inside(table, track, b"mdia"))
        kinds = [table[at + _HANDLER_AT : at + _HANDLER_AT + 4] for at in _inside(table, media, b"hdlr")]
        if kinds != [b"vide"]:
            continue
        holders = [0, track, media]
        for kind in _TO_DESCRIPTIONS:
            holders.append(next(_inside(table, holders[-1], kind)))
        holders.append(holders[-1] + _HEAD.size + _BEFORE_FIRST)
        place = holders[-1] + _HEAD.unpack_from(table, holders[-1])[0]
        for at in holders:
            length, kind = _HEAD.unpack_from(table, at)
            _HEAD.pack_into(table, at, length + len(boxes), kind)
        table[place:place] = boxes
        return True
    return False


def _inside(table: bytearray, holder: int, wanted: bytes) -> Iterator[int]:
    """Where boxes of a kind begin that lie in another."""
    at, end = holder + _HEAD.size, holder + _HEAD.unpack_from(table, holder)[0]
    while at < end:
        length, kind = _HEAD.unpack_from(table, at)
        if kind == wanted:
            yield at
        at += max(length, _HEAD.size)


def _boxes(mastering: Mastering) -> bytes:
    """mdcv, of both or not at all, and clli."""
    made = b""
    if mastering.primaries is not None and mastering.luminance is not None:
        red, green, blue, white = mastering.primaries
        points = [round(value * _POINT) for point in (green, blue, red, white) for value in point]
        least, most = (round(value * _CANDELA) for value in mastering.luminance)
        made += _box(b"mdcv", struct.pack(">8H2I", *points, most, least))
    if mastering.light is not None:
        made += _box(b"clli", struct.pack(">2H", *mastering.light))
    return made


def _box(kind: bytes, content: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + len(content), kind) + content
