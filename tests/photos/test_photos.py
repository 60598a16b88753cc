"""Photos: what is cut out of a picture without past or future."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

import headstream
from headstream.choice import Heads
from headstream.cli import main
from headstream.photos.album import PhotosJob, cut_photos
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import models_dir
from headstream.shared.turned import turned, turned_box
from headstream.track.boxes import overlap
from headstream.track.faces import Face
from headstream.track.finder import FaceFinder
from headstream.types import Float32Array, Part, UInt8Array
from tests.test_looks import Reds


class Counted:
    """The real network, and how often it was asked."""

    def __init__(self, inner: CropSegmenter) -> None:
        self.inner, self.side, self.calls = inner, inner.side, 0

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        self.calls += 1
        return self.inner.predict(rgb, part)


class SeesDouble(FaceFinder):
    """Finds every face three times: as it is, a few pixels off, and in the middle of itself."""

    def search(self, rgb: UInt8Array) -> list[Face]:
        return [seen for face in super().search(rgb) for seen in (face, face.moved(1.0, 5.0, 3.0), _within(face))]


def _within(face: Face) -> Face:
    x0, y0, x1, y1 = face.box_px
    return face.moved(0.3, 0.35 * (x0 + x1), 0.35 * (y0 + y1))


def test_a_face_that_was_found_several_times_is_cut_once(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    once = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(portrait)
    network = Counted(segmenter)
    with SeesDouble(models_dir()) as double:
        twice = PhotoCutter(network, double, CutOptions(heads="all")).cut(portrait)
    assert (len(once.faces), len(twice.faces)) == (1, 3)
    assert network.calls == 2  # of the face's crop, and of the head's
    assert (once.cutout.alpha == twice.cutout.alpha).all()


def test_whom_only_tiles_show_must_have_a_head(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    class Wall(FaceFinder):
        """Sees a face, and is sure of it, where there is a head and where there is none."""

        def search_group(self, rgb: UInt8Array, found: list[Face]) -> list[Face]:
            return [face.moved(1.0, dx, dy) for face in found for dx, dy in ((512, 0), (0, 300))]

    two = np.hstack([portrait, portrait])

    class Half(Wall):
        def search(self, rgb: UInt8Array) -> list[Face]:
            return super().search(rgb[:, :512])

    with Half(models_dir()) as finder:
        everybody = PhotoCutter(segmenter, finder, CutOptions(heads="all")).cut(two)
        largest = PhotoCutter(segmenter, finder, CutOptions(heads="largest")).cut(two)
        third = PhotoCutter(segmenter, finder, CutOptions(heads=3)).cut(two)
    assert (len(everybody.faces), len(everybody.heads)) == (3, 2)
    assert (len(largest.faces), len(largest.heads)) == (1, 1)
    assert (third.heads, third.believed) == ((), 2)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_that_lies_on_its_side_is_cut_as_if_it_stood(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, turns: int
) -> None:
    own = np.full(portrait.shape[:2], 255, np.uint8)
    own[:, :260] = 0  # the photo's transparency goes along
    cutter = PhotoCutter(segmenter, finder, CutOptions(heads="all"))
    stands, lies = cutter.cut(portrait, own), cutter.cut(turned(portrait, turns), turned(own, turns))
    (head,), (other,) = stands.heads, lies.heads
    back = turned(lies.cutout.alpha, 4 - turns) / 255
    assert np.abs(back - stands.cutout.alpha / 255).mean() < 0.01
    colours, expected = turned(lies.cutout.rgba(), 4 - turns)[40:200, 300:400], stands.cutout.rgba()[40:200, 300:400]
    assert np.abs(colours.astype(int) - expected).mean() < 3
    assert overlap(turned_box(other.head.box_px, 4 - turns, lies.frame.size_px), head.head.box_px) > 0.8
    x0, y0, x1, y1 = other.head.crop_px
    assert x1 - x0 == y1 - y0
    assert np.abs(turned(other.crop_alpha, 4 - turns) - head.crop_alpha).mean() < 0.05
    eyes, mouth = other.head.landmarks_px[:2].mean(axis=0), other.head.landmarks_px[3]
    down = {1: (-1, 0), 2: (0, -1), 3: (1, 0)}[turns]
    assert np.dot(mouth - eyes, down) > 0.8 * np.linalg.norm(mouth - eyes)


@pytest.mark.parametrize("roll_deg", [-60, 25, 45])
def test_a_head_that_leans_is_cut_like_one_that_stands(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder, roll_deg: int
) -> None:
    side = 740
    placed = cv2.getRotationMatrix2D((256, 256), 0, 1.0) + np.array([[0, 0, 114], [0, 0, 114]])
    leaning = cv2.getRotationMatrix2D((256, 256), -roll_deg, 1.0) + np.array([[0, 0, 114], [0, 0, 114]])
    pictures = [cv2.warpAffine(portrait, m, (side, side), borderValue=(110, 110, 110)) for m in (placed, leaning)]
    upright, leans = (PhotoCutter(segmenter, finder).cut(picture) for picture in pictures)
    assert upright.heads[0].head.roll_deg == 0
    assert abs(leans.heads[0].head.roll_deg - roll_deg) <= 15
    turned = cv2.warpAffine(upright.cutout.alpha, cv2.getRotationMatrix2D((370, 370), -roll_deg, 1.0), (side, side))
    one, other = turned.astype(int), leans.cutout.alpha.astype(int)
    assert np.minimum(one, other).sum() / np.maximum(one, other).sum() > 0.96


class SeesTwo(FaceFinder):
    """Finds a small face on the left, then a large one on the right."""

    def search(self, rgb: UInt8Array) -> list[Face]:
        boxes = ((60.0, 150.0, 100.0, 190.0), (260.0, 110.0, 340.0, 190.0))
        return [Face(b, np.full((6, 2), ((b[0] + b[2]) / 2, 150), np.float32), 0.9) for b in boxes]

    def search_group(self, rgb: UInt8Array, found: list[Face]) -> list[Face]:
        return []


@pytest.mark.parametrize(
    ("heads", "sides", "believed"),
    [("largest", [80], 1), ("all", [80, 40], 2), (1, [80], 1), (2, [40], 2), (3, [], 2)],
)
def test_heads_are_numbered_from_the_largest_on(heads: Heads, sides: list[int], believed: int) -> None:
    photo: UInt8Array = np.full((300, 400, 3), 90, np.uint8)
    for x0, y0, x1, y1 in ((50, 140, 110, 200), (240, 90, 360, 200)):
        photo[y0:y1, x0:x1] = (220, 40, 40)
    with SeesTwo(models_dir()) as finder:
        result = PhotoCutter(Reds(), finder, CutOptions(heads=heads)).cut(photo)
    assert [round(stage.head.box_px[2] - stage.head.box_px[0]) for stage in result.heads] == sides
    assert result.believed == believed
    assert len(result.faces) == 2
    shown = result.cutout.alpha
    assert [bool(shown[170, x] > 200) for x in (300, 80)] == [80 in sides, 40 in sides]


def test_a_photo_is_looked_at_in_a_mirror_too() -> None:
    class Lopsided(Reds):
        """Sure of what is on the left, and less so of what is on the right."""

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            return np.broadcast_to(np.where(np.arange(self.side) < self.side // 2, 1.0, 0.6), rgb.shape[:3]).astype(
                np.float32
            )

    photo: UInt8Array = np.full((300, 400, 3), 90, np.uint8)
    with SeesTwo(models_dir()) as finder:
        (stage,) = PhotoCutter(Lopsided(), finder, CutOptions()).cut(photo).heads
    assert np.allclose(stage.crop_alpha, 0.8)


def test_one_picture_has_the_colours_of_its_photo(portrait: UInt8Array, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(portrait).save(tmp_path / "me.png", icc_profile=profile)
    cut_photos(PhotosJob((str(tmp_path / "me.png"),), tmp_path / "o.png"))
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.info["icc_profile"] == profile


def test_hair_strand_by_strand(portrait: UInt8Array, tmp_path: Path) -> None:
    photo = tmp_path / "p.png"
    Image.fromarray(portrait).save(photo)
    plain, fine = headstream.cut_image(portrait)[0], headstream.cut_image(portrait, hq=True)[0]
    different = np.abs(plain.alpha.astype(int) - fine.alpha.astype(int)) > 16
    x0, y0, x1, y1 = plain.heads[0].box_px
    assert different[: int(y0)].sum() > 200  # above the face, where there is hair
    assert not different[int(y1) - 4 :, int(x0) + 8 : int(x1) - 8].any()  # the chin's edge is no hair
    assert np.abs(plain.alpha.astype(float) - fine.alpha).mean() < 255 * 0.02
    assert main(["image", str(photo), "--out", str(tmp_path / "cut.png"), "--hq"]) == 0
    with Image.open(tmp_path / "cut.png") as written:
        assert np.array_equal(np.asarray(written), fine.rgba())
    folder, batch = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    photo.rename(folder / "p.png")
    assert main(["batch", str(folder), "--out", str(batch), "--hq", "--workers", "1"]) == 0
    with Image.open(batch / "p" / "head_only.png") as written:
        assert np.array_equal(np.asarray(written), fine.rgba())


def test_hair_strand_by_strand_of_what_shows_through(portrait: UInt8Array) -> None:
    own = np.full(portrait.shape[:2], 255, np.uint8)
    own[:, : portrait.shape[1] // 2] = 90
    opaque, cut = (headstream.cut_image(picture, hq=True)[0] for picture in (portrait, np.dstack([portrait, own])))
    assert np.abs(cut.alpha - opaque.alpha / 255 * own).max() < 1
