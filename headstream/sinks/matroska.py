"""What FFmpeg's muxer for .mkv and .webm is not told by PyAV: the shape of pixels that are not square (DV, HDV, DVDs).

The muxer takes it from a field of the stream that PyAV does not set, and writes no display size. It does leave spare room
behind its table of contents: the few bytes move in there, and nothing behind the tracks moves.
https://www.rfc-editor.org/rfc/rfc9559.html
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

_SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_VOID, _CRC32, _INFO, _TRACKS, _TRACK, _VIDEO = 0xEC, 0xBF, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2  # the unit is pixels if none is told
_HEADER_BYTES = 1 << 20  # more than comes before the tracks' end
_MOST_VOID = 9  # bytes of an id and a length

_Element = tuple[int, bytes]


def write_shape(path: Path, size_px: tuple[int, int], sample_aspect_ratio: Fraction) -> bool:
    """Tell a finished file how wide its picture is shown. Returns whether there was room for it. Lets OSError out."""
    with path.open("r+b") as file:
        head = file.read(_HEADER_BYTES)
        _, _, at = _element(head, 0)
        kind, begin, _ = _element(head, at)
        if kind != _SEGMENT:
            return False
        end, parts = begin, list[_Element]()
        while not parts or parts[-1][0] != _TRACKS:
            kind, content, end = _element(head, end)
            if end > len(head):
                return False
            parts.append((kind, head[content:end]))
        if [kind for kind, _ in parts] != [_SEEK_HEAD, _VOID, _INFO, _TRACKS]:
            return False
        width, height = size_px
        shown = (round(width * sample_aspect_ratio), height)
        (_, seek_head), _, (_, info), (_, tracks) = parts
        rest = _made(_INFO, info) + _made(_TRACKS, _shaped(tracks, shown))
        new = _made(_SEEK_HEAD, seek_head)
        room = end - begin - len(new) - len(rest) - _MOST_VOID
        if room < 0:
            return False
        moved = {_INFO: len(new) + _MOST_VOID + room}
        moved[_TRACKS] = moved[_INFO] + len(_made(_INFO, info))
        new = _made(_SEEK_HEAD, _sought(seek_head, moved))
        file.seek(begin)
        file.write(new + bytes([_VOID]) + struct.pack(">Q", 1 << 56 | room) + bytes(room) + rest)
        return True


def _shaped(tracks: bytes, shown_px: tuple[int, int]) -> bytes:
    """The tracks with the displayed size in the picture's."""
    width, height = (value.to_bytes(4, "big") for value in shown_px)
    display = {_DISPLAY_WIDTH: width, _DISPLAY_HEIGHT: height}

    def told(video: bytes) -> bytes:
        others = [(k, c) for k, c in _children(video) if k not in {*display, _DISPLAY_UNIT}]
        return _joined([*others, *display.items()])

    made = []
    for kind, content in _children(tracks):
        if kind == _TRACK:
            content = _joined([(k, told(c) if k == _VIDEO else c) for k, c in _children(content)])
        made.append((kind, content))
    return _with_checksum(made)


def _sought(seek_head: bytes, moved: dict[int, int]) -> bytes:
    """The table of contents, with new places of some elements."""
    made = []
    for kind, content in _children(seek_head):
        entry = dict(_children(content)) if kind == _SEEK else {}
        place = moved.get(int.from_bytes(entry.get(_SEEK_ID, b""), "big"))
        if place is not None:
            entry[_SEEK_POSITION] = place.to_bytes(len(entry[_SEEK_POSITION]), "big")
            content = _joined([*entry.items()])
        made.append((kind, content))
    return _with_checksum(made)


def _with_checksum(children: list[_Element]) -> bytes:
    rest = _joined([(kind, content) for kind, content in children if kind != _CRC32])
    summed = any(kind == _CRC32 for kind, _ in children)
    return _made(_CRC32, struct.pack("<I", zlib.crc32(rest))) + rest if summed else rest


def _joined(elements: list[_Element]) -> bytes:
    return b"".join(_made(kind, content) for kind, content in elements)


def _children(content: bytes) -> list[_Element]:
    found, at = list[_Element](), 0
    while at < len(content):
        kind, begin, end = _element(content, at)
        found.append((kind, content[begin:end]))
        at = end
    return found


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """An element's id, and where its content begins and ends."""
    id_bytes = 9 - data[at].bit_length()
    sized = at + id_bytes
    size_bytes = 9 - data[sized].bit_length()
    begin = sized + size_bytes
    size = int.from_bytes(data[sized:begin], "big") & (1 << 7 * size_bytes) - 1
    return int.from_bytes(data[at:sized], "big"), begin, begin + size


def _made(kind: int, content: bytes) -> bytes:
    """An element with the shortest length there is for it."""
    size_bytes = next(n for n in range(1, 9) if len(content) < (1 << 7 * n) - 1)
    size = (len(content) | 1 << 7 * size_bytes).to_bytes(size_bytes, "big")
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size + content
