"""What a photo's head is put on, and how much of the photo is kept around it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import headstream
from headstream.capture.photo import Photo
from headstream.cli import main
from headstream.errors import SinkError, SourceError, UsageError
from headstream.photos.picture import HeadPictures
from headstream.sinks.photo import save_picture
from headstream.types import Cutout, Frame, UInt8Array
from tests.media import pattern, swapped_profile, write_video

SIZE = (96, 64)
REGION = (20, 10, 60, 50)


def photo(own: UInt8Array | None = None, icc: bytes | None = None) -> Photo:
    return Photo(pattern(*SIZE, 0), own, icc)


def cutout(rgb: UInt8Array) -> Cutout:
    """A soft-edged square, smaller than its region."""
    alpha = np.zeros((40, 40), np.uint8)
    alpha[6:30, 8:36] = 128
    alpha[10:26, 12:32] = 255
    return Cutout(Frame(rgb), (), REGION, alpha)


def profile() -> bytes:
    made: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made


def test_on_nothing_it_is_the_cut_out() -> None:
    cut = cutout(photo().rgb)
    made = HeadPictures().of(photo(), cut)
    assert made.box_px == (0, 0, *SIZE)
    assert np.array_equal(made.pixels, cut.rgba())


def test_before_a_colour_alpha_mixes_the_two() -> None:
    cut = cutout(photo().rgb)
    made = HeadPictures("#ff8000").of(photo(), cut).pixels
    plain = Image.new("RGBA", SIZE, (255, 128, 0, 255))
    plain.alpha_composite(Image.fromarray(cut.rgba()))
    assert made.shape == (64, 96, 3)
    assert np.abs(made.astype(int) - np.asarray(plain)[..., :3]).max() <= 1
    assert (made[cut.alpha == 0] == (255, 128, 0)).all()
    assert (made[cut.alpha == 255] == photo().rgb[cut.alpha == 255]).all()


def test_the_blurred_photo_has_no_halo_of_the_head_nor_of_what_shows_through() -> None:
    rgb = np.full((240, 320, 3), (40, 90, 160), np.uint8)
    rgb[80:160, 120:200] = (250, 20, 20)  # the head
    rgb[:, 280:] = 255  # of which the photo shows nothing
    own = np.full((240, 320), 255, np.uint8)
    own[:, 276:] = 0
    cut = Cutout(Frame(rgb), (), (116, 76, 204, 164), np.full((88, 88), 255, np.uint8))
    made = HeadPictures("blur").of(Photo(rgb, own, None), cut).pixels
    outside = cut.alpha == 0
    assert np.abs(made[outside].astype(int) - (40, 90, 160)).max() < 12
    assert np.array_equal(made[76:164, 116:204], rgb[76:164, 116:204])


def test_a_picture_fills_the_photo_and_is_cropped_about_its_middle(tmp_path: Path) -> None:
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 48:144] = (0, 200, 0)
    wide[:, :48] = wide[:, 144:] = (200, 0, 0)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    cut = cutout(photo().rgb)
    made = HeadPictures(str(tmp_path / "wide.png")).of(photo(), cut).pixels
    assert (made[cut.alpha == 0] == (0, 200, 0)).all()
    again = HeadPictures(str(tmp_path / "wide.png"))
    again.of(photo(), cut)
    assert np.array_equal(again.of(photo(), cut).pixels, made)  # the first did not draw on the picture itself


def test_of_a_film_the_first_frame_is_taken(tmp_path: Path) -> None:
    write_video(tmp_path / "f.mkv", [pattern(*SIZE, index) for index in range(3)], codec="ffv1", pix_fmt="bgr0")
    cut = cutout(np.zeros((64, 96, 3), np.uint8))
    made = HeadPictures(str(tmp_path / "f.mkv")).of(photo(), cut).pixels
    assert np.array_equal(made[cut.alpha == 0], pattern(*SIZE, 0)[cut.alpha == 0])


def test_what_is_put_behind_has_its_colours_in_the_profile_of_the_photo(tmp_path: Path) -> None:
    cut = cutout(photo().rgb)
    made = HeadPictures("#ff0000").of(photo(icc=swapped_profile()), cut).pixels
    assert np.abs(made[0, 0].astype(int) - (0, 255, 0)).max() <= 2
    assert (made[cut.alpha == 255] == photo().rgb[cut.alpha == 255]).all()
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "own.png", icc_profile=swapped_profile())
    made = HeadPictures(str(tmp_path / "own.png")).of(photo(), cut).pixels
    assert np.abs(made[0, 0].astype(int) - (255, 0, 0)).max() <= 2
    made = HeadPictures("#ff0000").of(photo(icc=b"none" * 50), cut).pixels
    assert (made[0, 0] == (255, 0, 0)).all()


@pytest.mark.parametrize("background", ["transparent", "#102030", "blur"])
def test_trimmed_it_is_what_there_is_of_the_head(background: str) -> None:
    cut = cutout(photo().rgb)
    whole, trimmed = (HeadPictures(background, trim=trim).of(photo(), cut) for trim in (False, True))
    assert trimmed.box_px == (28, 16, 56, 40)
    assert np.array_equal(trimmed.pixels, whole.pixels[16:40, 28:56])


@pytest.mark.parametrize("region", [REGION, (0, 0, 0, 0)])
def test_a_head_of_which_the_photo_shows_nothing_is_trimmed_to_nothing_less_than_the_photo(
    region: tuple[int, int, int, int],
) -> None:
    x0, y0, x1, y1 = region
    cut = Cutout(Frame(photo().rgb), (), region, np.zeros((y1 - y0, x1 - x0), np.uint8))
    made = HeadPictures(trim=True).of(photo(), cut)
    assert made.box_px == (0, 0, *SIZE)
    assert not made.pixels[..., 3].any()


@pytest.mark.parametrize(("ending", "most"), [("webp", 16383), ("jpg", 65500)])
def test_the_longest_sides_of_formats_are_told(ending: str, most: int, tmp_path: Path) -> None:
    save_picture(tmp_path / f"a.{ending}", np.zeros((1, most, 3), np.uint8))
    with pytest.raises(SinkError, match=rf"at most {most} px a side, this one has {most + 1}; name a \.png"):
        save_picture(tmp_path / f"b.{ending}", np.zeros((1, most + 1, 3), np.uint8))


def test_what_is_no_background_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("none")
    (tmp_path / "a.mp4").write_text("none")
    for wrong, error in (
        ("green", UsageError),
        (str(tmp_path / "a.png"), SourceError),
        (str(tmp_path / "a.mp4"), SourceError),
    ):
        with pytest.raises(error):
            HeadPictures(wrong)


class TestImage:
    @pytest.mark.parametrize("name", ["o.png", "o.webp"])
    def test_trimmed_into_one_file(self, portrait: UInt8Array, tmp_path: Path, name: str) -> None:
        Image.fromarray(portrait).save(tmp_path / "me.png")
        assert main(["image", str(tmp_path / "me.png"), "--out", str(tmp_path / name), "--trim"]) == 0
        cut = headstream.cut_image(portrait)[0]
        with Image.open(tmp_path / name) as written:
            assert (written.format, written.mode) == (name[2:].upper(), "RGBA")
            box = Image.fromarray(cut.alpha).getbbox()
            assert np.array_equal(np.asarray(written), np.asarray(Image.fromarray(cut.rgba()).crop(box)))

    def test_before_a_background_into_a_jpeg(
        self, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        me, out = tmp_path / "me.png", tmp_path / "o.jpg"
        icc = profile()
        Image.fromarray(portrait).save(me, icc_profile=icc)
        asked = ["image", str(me), "--out", str(out), "--background", "#0000ff"]
        assert main(asked) == 0
        with Image.open(out) as written:
            assert (written.format, written.mode, written.size) == ("JPEG", "RGB", (512, 512))
            assert written.info["icc_profile"] == icc
            assert np.abs(np.asarray(written)[500, 5].astype(int) - (0, 0, 255)).max() < 4
        before = out.read_bytes()
        assert main(asked) == 2  # a shell makes names of *.jpg after --out, too
        assert "is there already" in capsys.readouterr().err
        assert out.read_bytes() == before
        assert main([*asked[:2], "--out", str(tmp_path / "p.jpg")]) == 2
        assert "has no transparency; name a .png or .webp, or give a --background" in capsys.readouterr().err

    def test_into_a_folder(self, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Image.fromarray(portrait).save(tmp_path / "me.png")
        asked = [
            "image",
            str(tmp_path / "me.png"),
            "--out",
            str(tmp_path),
            "--background",
            "blur",
            "--trim",
            "--stages",
        ]
        assert main([*asked, "--json"]) == 0
        (done,) = json.loads(capsys.readouterr().out)["done"]
        x0, y0, x1, y1 = done["box_px"]
        with (
            Image.open(tmp_path / "me" / "head_only.png") as head,
            Image.open(tmp_path / "me" / "full_mask.png") as mask,
        ):
            assert (head.mode, head.size, mask.size) == ("RGB", (x1 - x0, y1 - y0), (512, 512))
            assert mask.getbbox() == (x0, y0, x1, y1)

    def test_a_batch_does_the_same_and_knows_when_it_is_another(self, portrait: UInt8Array, tmp_path: Path) -> None:
        folder, out, back = tmp_path / "in", tmp_path / "out", tmp_path / "back.png"
        folder.mkdir()
        Image.fromarray(portrait).save(folder / "me.png")
        Image.new("RGB", (40, 40), (0, 90, 0)).save(back)
        batch = ["batch", str(folder), "--out", str(out), "--workers", "1"]
        asked = ["--background", str(back), "--trim"]
        assert main([*batch, *asked]) == 0
        assert main(["image", str(folder / "me.png"), "--out", str(tmp_path / "alone"), *asked]) == 0
        first = (out / "me" / "head_only.png").read_bytes()
        assert first == (tmp_path / "alone" / "me" / "head_only.png").read_bytes()
        Image.new("RGB", (40, 40), (0, 90, 250)).save(back)
        assert main([*batch, *asked]) == 0
        assert (out / "me" / "head_only.png").read_bytes() != first
        assert main([*batch, "--background", "green"]) == 2
