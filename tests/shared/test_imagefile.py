"""Pictures in files: under any name, and with a word where it fails."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from headstream.errors import SinkError, SourceError
from headstream.shared.imagefile import image_bytes, read_image, write_image
from tests.media import pattern


@pytest.mark.parametrize("name", ["plain.png", "Gesichtsmaße 顔 №1.png"])
def test_a_picture_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    rgb = pattern(40, 30, 0)
    write_image(tmp_path / name, rgb)
    assert np.array_equal(read_image(tmp_path / name), rgb)
    write_image(tmp_path / name, rgb[..., 0])
    assert np.array_equal(read_image(tmp_path / name, grey=True), rgb[..., 0])


def test_a_jpeg_is_as_good_as_asked_for() -> None:
    poor, good = (image_bytes(pattern(64, 48, 0), ".jpg", quality=quality) for quality in (20, 95))
    assert len(poor) < len(good)


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_bytes(b"a text")
    for name, words in (("no.png", "No such file"), ("empty.png", "not a picture"), ("text.png", "not a picture")):
        with pytest.raises(SourceError, match=words):
            read_image(tmp_path / name)


def begun(width: int, height: int) -> bytes:
    """The beginning of a PNG, up to its pixels."""
    about = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", about), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("size_px", "words"),
    [((13360, 13360), "13360x13360 is 178 megapixels"), ((25000, 25000), "is more than 178 megapixels")],
)
def test_a_picture_that_is_too_large_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_px: tuple[int, int], words: str
) -> None:
    (tmp_path / "large.png").write_bytes(begun(*size_px))
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(SourceError, match=rf"large.png: {words}"):
        read_image(tmp_path / "large.png")


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    for name, words in (("no/a.png", "No such file"), ("a.nosuch", "written as .nosuch"), ("a", "without ending")):
        with pytest.raises(SinkError, match=words):
            write_image(tmp_path / name, pattern(8, 8, 0))
