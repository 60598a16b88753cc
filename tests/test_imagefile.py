"""Pictures in files: under any name, and with a word where it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstream.errors import SinkError, SourceError
from headstream.imagefile import read_image, write_image
from tests.media import pattern


@pytest.mark.parametrize("name", ["plain.png", "Gesichtsmaße 顔 №1.png"])
def test_a_picture_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    rgb = pattern(40, 30, 0)
    write_image(tmp_path / name, rgb)
    assert np.array_equal(read_image(tmp_path / name), rgb)
    write_image(tmp_path / name, rgb[..., 0])
    assert np.array_equal(read_image(tmp_path / name, grey=True), rgb[..., 0])


def test_a_jpeg_is_as_good_as_asked_for(tmp_path: Path) -> None:
    for quality in (20, 95):
        write_image(tmp_path / f"{quality}.jpg", pattern(64, 48, 0), quality=quality)
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_bytes(b"a text")
    for name, words in (("no.png", "No such file"), ("empty.png", "not a picture"), ("text.png", "not a picture")):
        with pytest.raises(SourceError, match=words):
            read_image(tmp_path / name)


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    for name, words in (("no/a.png", "No such file"), ("a.nosuch", "written as .nosuch"), ("a", "without ending")):
        with pytest.raises(SinkError, match=words):
            write_image(tmp_path / name, pattern(8, 8, 0))
