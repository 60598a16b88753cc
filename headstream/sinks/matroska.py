"""What FFmpeg's muxer for .mkv and .webm leaves out or writes in a way that not all players read.

It takes the shape of pixels that are not square (DV, HDV, DVDs) from a field of the stream that PyAV does not set, and writes
no display size. FFV1 it calls V_FFV1, which mpv before 0.38 does not know; by the name that AVI gave it all find it.
An HDR film's mastering metadata it writes of streams only that come from a file. The muxer leaves spare room behind its table of
contents: the few bytes move in there, and nothing behind the tracks moves. Where that is too little, a tag made it: ``SPARE``.
https://www.rfc-editor.org/rfc/rfc9559.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from headstream.shared.mastering import Mastering

_SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_VOID, _CRC32, _INFO, _TRACKS, _TRACK, _VIDEO = 0xEC, 0xBF, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2  # the unit is pixels if none is told
_CODEC_ID, _CODEC_PRIVATE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0x86, 0x63A2, 0xB0, 0xBA
_BITMAP_INFO = struct.Struct("<IiiHH4sIiiII")  # Windows' BITMAPINFOHEADER
_COLOUR, _MASTERING, _MOST_LIGHT, _MEAN_LIGHT = 0x55B0, 0x55D0, 0x55BC, 0x55BD
_POINTS, _MOST, _LEAST = range(0x55D1, 0x55D9), 0x55D9, 0x55DA  # x and y of red, green, blue and white; luminance
_CLUSTER, _TAGS, _TAG, _SIMPLE_TAG, _TAG_NAME = 0x1F43B675, 0x1254C367, 0x7373, 0x67C8, 0x45A3
SPARE = ("HEADSTREAM_SPARE", "." * 120)  # a tag of the file, which ``write_mastering`` takes away
_HEADER_BYTES = 1 << 20  # more than comes before the tracks' end
_MOST_VOID = 9  # bytes of an id and a length
_MOST_HEAD = 12  # of any element's

_Element = tuple[int, bytes]


def write_shape(path: Path, size_px: tuple[int, int], sample_aspect_ratio: Fraction) -> bool:
    """Tell a finished file how wide its picture is shown. Returns whether there was room for it. Lets OSError out."""
    width, height = size_px
    shown_px = (round(width * sample_aspect_ratio), height)
    return _rewrite_tracks(path, lambda track: _shaped(track, shown_px))


def write_old_name(path: Path) -> bool:
    """Call the FFV1 of a finished file as AVI does. Returns whether there was room for it. Lets OSError out."""
    return _rewrite_tracks(path, _renamed)


def write_mastering(path: Path, mastering: Mastering) -> bool:
    """Tell players of a finished file, which has the tag ``SPARE``, what an HDR film was made on. Returns whether there was room
    for it. Lets OSError out."""
    return _rewrite_tracks(path, lambda track: _mastered(track, mastering), spare=True)


def _rewrite_tracks(path: Path, changed: Callable[[list[_Element]], list[_Element]], *, spare: bool = False) -> bool:
    """Write each track of a finished file anew, as ``changed`` has it, where there is room for it. spare: or a tag's, too."""
    with path.open("r+b") as file:
        head = file.read(_HEADER_BYTES)
        _, _, at = _element(head, 0)
        kind, begin, _ = _element(head, at)
        if kind != _SEGMENT:
            return False
        end, parts = begin, list[_Element]()
        while not parts or parts[-1][0] != (_TAGS if spare else _TRACKS):
            kind, start, end = _element(head, end)
            if kind == _CLUSTER:
                return False
            if end + _MOST_HEAD > len(head):
                head += file.read(end + _MOST_HEAD - len(head))
            if end > len(head):
                return False
            parts.append((kind, head[start:end]))
        if [kind for kind, _ in parts[:4]] != [_SEEK_HEAD, _VOID, _INFO, _TRACKS]:
            return False
        made = [(kind, _changed(kind, content, changed)) for kind, content in parts[2:]]
        rest = _joined(made)
        moved, at = dict[int, int](), end - begin - len(rest)
        for kind, content in made:
            moved[kind] = at
            at += len(_made(kind, content))
        new = _made(_SEEK_HEAD, _sought(parts[0][1], moved))
        room = moved[_INFO] - len(new) - _MOST_VOID
        if room < 0:
            return False
        file.seek(begin)
        file.write(new + bytes([_VOID]) + struct.pack(">Q", 1 << 56 | room) + bytes(room) + rest)
        return True


def _changed(kind: int, content: bytes, changed: Callable[[list[_Element]], list[_Element]]) -> bytes:
    """An element of the head as it is to be: the tracks, and the tags without ``SPARE``."""
    if kind == _TRACKS:
        return _with_checksum(
            [(k, _joined(changed(_children(c))) if k == _TRACK else c) for k, c in _children(content)]
        )
    if kind == _TAGS:
        tags = [(k, _unspared(c) if k == _TAG else c) for k, c in _children(content)]
        return _with_checksum([(k, c) for k, c in tags if k != _TAG or _SIMPLE_TAG in dict(_children(c))])
    return content


def _unspared(tag: bytes) -> bytes:
    name = SPARE[0].encode()
    return _joined([(k, c) for k, c in _children(tag) if k != _SIMPLE_TAG or dict(_children(c)).get(_TAG_NAME) != name])


def _mastered(track: list[_Element], mastering: Mastering) -> list[_Element]:
    """A picture's track with what its film was made on, beside its colours."""
    told, light = list[_Element](), list[_Element]()
    if mastering.primaries is not None:
        told += zip(_POINTS, (_float(value) for point in mastering.primaries for value in point), strict=True)
    if mastering.luminance is not None:
        told += [(_MOST, _float(mastering.luminance[1])), (_LEAST, _float(mastering.luminance[0]))]
    if mastering.light is not None:
        light = [
            (kind, value.to_bytes(2, "big"))
            for kind, value in zip((_MOST_LIGHT, _MEAN_LIGHT), mastering.light, strict=True)
        ]

    def lit(colour: bytes) -> bytes:
        return _joined([*_children(colour), *light, *([(_MASTERING, _joined(told))] if told else [])])

    def shown(video: bytes) -> bytes:
        parts = _children(video)
        return _joined([(k, lit(c) if k == _COLOUR else c) for k, c in parts])

    return [(k, shown(c) if k == _VIDEO else c) for k, c in track]


def _float(value: Fraction) -> bytes:
    return struct.pack(">f", float(value))


def _shaped(track: list[_Element], shown_px: tuple[int, int]) -> list[_Element]:
    """A track with the displayed size in its picture's."""
    width, height = (value.to_bytes(4, "big") for value in shown_px)
    display = {_DISPLAY_WIDTH: width, _DISPLAY_HEIGHT: height}

    def told(video: bytes) -> bytes:
        others = [(k, c) for k, c in _children(video) if k not in {*display, _DISPLAY_UNIT}]
        return _joined([*others, *display.items()])

    return [(k, told(c) if k == _VIDEO else c) for k, c in track]


def _renamed(track: list[_Element]) -> list[_Element]:
    """A track with V_FFV1 as V_MS/VFW/FOURCC, whose private data begin with a header of AVI's."""
    values = dict(track)
    if values[_CODEC_ID] != b"V_FFV1":
        return track
    own, video = values.get(_CODEC_PRIVATE, b""), dict(_children(values[_VIDEO]))
    width, height = (int.from_bytes(video[key], "big") for key in (_PIXEL_WIDTH, _PIXEL_HEIGHT))
    header = _BITMAP_INFO.pack(
        _BITMAP_INFO.size + len(own), width, height, 1, 24, b"FFV1", width * height * 3, 0, 0, 0, 0
    )
    changed = {_CODEC_ID: b"V_MS/VFW/FOURCC", _CODEC_PRIVATE: header + own}
    return [*((k, c) for k, c in track if k not in changed), *changed.items()]


def _sought(seek_head: bytes, moved: dict[int, int]) -> bytes:
    """The table of contents, with new places of some elements."""
    made = []
    for kind, content in _children(seek_head):
        entry = dict(_children(content)) if kind == _SEEK else {}
        place = moved.get(int.from_bytes(entry.get(_SEEK_ID, b""), "big"))
        if place is not None:
            digits = max(len(entry[_SEEK_POSITION]), (place.bit_length() + 7) // 8)
            entry[_SEEK_POSITION] = place.to_bytes(digits, "big")
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
