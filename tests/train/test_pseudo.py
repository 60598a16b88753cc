"""What teachers see comes to lie where they saw it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from headstream.train.data import DataSet
from headstream.train.picture import Picture
from headstream.train.pseudo import soft_label, write_soft_labels
from headstream.train.quantise import calibration_crops
from headstream.types import Float32Array, UInt8Array

WIDTH, HEIGHT = 240, 160
FACE = (140, 50, 180, 90)  # its middle is not the picture's, nor as far from the left as from the top


def slopes() -> UInt8Array:
    """A picture whose red tells how far right a pixel is, and whose green how far down."""
    xs, ys = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([xs, ys, xs // 2 + ys // 2], axis=-1).astype(np.uint8)


def picture() -> Picture:
    nothing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Picture(slopes(), nothing, nothing, None, FACE)


def as_it_is(crops: UInt8Array) -> Float32Array:
    """A teacher that takes a picture for its own truth."""
    return (crops / 255).astype(np.float32)


def half_as_sure(crops: UInt8Array) -> Float32Array:
    return as_it_is(crops) / np.float32(2)


def test_labels_lie_where_they_were_seen() -> None:
    label = soft_label(picture(), [as_it_is], side=96)
    near = np.s_[18:122, 108:212]  # in the widest of all framings
    assert np.abs(label[near].astype(int) - slopes()[near]).max() <= 2
    assert not label[:, : 160 - 60].any()
    assert not label[: 70 - 60].any()


def test_several_teachers_give_their_mean() -> None:
    label = soft_label(picture(), [as_it_is, half_as_sure], side=96)
    near = np.s_[18:122, 108:212]
    assert np.abs(label[near].astype(int) - slopes()[near] * 0.75).max() <= 2


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), slopes()[..., ::-1])
    return DataSet("pictures", tmp_path, faces=dict.fromkeys("abc", FACE))


def test_labels_that_are_there_are_kept(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    out.mkdir()
    (out / "b.png").write_bytes(b"made before")
    told: list[tuple[int, int]] = []
    write_soft_labels(data, [as_it_is], out, side=64, progress=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (out / "b.png").read_bytes() == b"made before"
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]
    written = cv2.imread(str(out / "a.png"))
    assert written is not None
    assert np.abs(written[70, 160, ::-1].astype(int) - (160, 70, 115)).max() <= 2


def test_crops_to_calibrate_on_are_framed_as_the_tracker_does(data: DataSet) -> None:
    crops = calibration_crops(data, 64)
    assert crops.shape == (3, 64, 64, 3)
    for crop, zoom in zip(crops.astype(int), (1.8, 2.4, 2.4), strict=True):
        assert np.abs(crop[32, 32, :2] - (160, 70)).max() <= 2
        for plane, across in ((0, crop[32, [0, -1], 0]), (1, crop[[0, -1], 32, 1])):
            assert across[1] - across[0] == pytest.approx(40 * zoom * 63 / 64, abs=3), plane
