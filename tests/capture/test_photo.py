"""Photos of every kind, as they are meant to be seen."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import AppendingTiffWriter

from headstream.capture.photo import photo_in, read_photo
from headstream.errors import SourceError
from tests.media import pattern

RGB = pattern(64, 48, 0)
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def near(a: np.ndarray, b: np.ndarray, mean: float) -> bool:
    return a.shape == b.shape and bool(np.abs(a.astype(int) - b).mean() <= mean)


@pytest.mark.parametrize(
    ("suffix", "options", "mean"),
    [
        (".png", {}, 0),
        (".jpg", {"quality": 97, "subsampling": 0}, 3),
        (".webp", {"lossless": True}, 0),
        (".bmp", {}, 0),
        (".tiff", {}, 0),
        (".gif", {}, 40),
    ],
)
def test_file_kinds(tmp_path: Path, suffix: str, options: dict[str, object], mean: float) -> None:
    path = tmp_path / f"p{suffix}"
    Image.fromarray(RGB).save(path, **options)  # type: ignore[arg-type]
    photo = read_photo(path)
    assert near(photo.rgb, RGB, mean)
    assert photo.alpha is None


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_files_of_several_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    rest = [Image.fromarray(pattern(64, 48, 30 * index)) for index in (1, 2)]
    Image.fromarray(RGB).save(path, save_all=True, append_images=rest)
    photo = read_photo(path)
    assert photo.pictures == 3
    assert near(photo.rgb, RGB, 40)
    Image.fromarray(RGB).save(path)
    assert read_photo(path).pictures == 1


def test_smaller_versions_are_not_further_pictures(tmp_path: Path) -> None:
    first, other = Image.fromarray(RGB), Image.fromarray(RGB[::2, ::2])
    first.save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=[other])  # what many phones write
    with AppendingTiffWriter(tmp_path / "p.tif", True) as tiff:
        for image, kind in ((first, 0), (other, 1)):
            image.save(tiff, "TIFF", tiffinfo={254: kind})
            tiff.newFrame()
    for name in ("p.jpg", "p.tif"):
        photo = read_photo(tmp_path / name)
        assert (photo.pictures, photo.rgb.shape) == (1, RGB.shape)


def test_heic() -> None:
    pytest.importorskip("pi_heif")
    assert near(read_photo(Path(__file__).parents[1] / "data" / "pattern.heic").rgb, RGB, 6)


def test_damaged_heic(tmp_path: Path) -> None:
    path = tmp_path / "broken.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(SourceError, match=r"damaged|not a photo"):
        read_photo(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "r.png"
    Image.fromarray(np.ascontiguousarray(undo[orientation](RGB))).save(path, exif=exif)
    assert near(read_photo(path).rgb, RGB, 0)


def test_an_odd_tag_of_exif_costs_no_photo(tmp_path: Path) -> None:
    turned = struct.pack("<HHHIIHHIII", 2, 274, 3, 1, 6, 34853, 4, 1, 38, 0)
    in_words = b"52.5163 N\0\0"  # where three fractions are expected
    latitude = struct.pack("<HHHIII", 1, 2, 2, len(in_words), 56, 0) + in_words
    exif = b"Exif\0\0II*\0\x08\0\0\0" + turned + latitude
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(RGB)))
    lying.save(tmp_path / "i.jpg", exif=exif, icc_profile=profile, quality=97, subsampling=0)
    photo = read_photo(tmp_path / "i.jpg")
    assert near(photo.rgb, RGB, 3)
    assert photo.icc == profile


def test_damaged_exif_costs_no_photo(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "i.png", exif=b"Exif\0\0no TIFF at all")
    assert near(read_photo(tmp_path / "i.png").rgb, RGB, 0)


def test_grey_palette_and_one_bit(tmp_path: Path) -> None:
    for mode, mean in (("L", 60), ("P", 30), ("1", 130)):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(RGB).convert(mode).save(path)
        rgb = read_photo(path).rgb
        assert near(rgb, RGB, mean)
        if mode != "P":
            assert (rgb[..., 0] == rgb[..., 2]).all()


def test_cmyk_without_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "c.jpg"
    Image.fromarray(RGB).convert("CMYK").save(path, quality=97)
    assert near(read_photo(path).rgb, RGB, 6)


def test_sixteen_bits(tmp_path: Path) -> None:
    grey = (np.linspace(0, 65535, 64)[None].repeat(48, 0)).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "d.png")
    rgb = read_photo(tmp_path / "d.png").rgb
    assert near(rgb[..., 0], (grey // 257).astype(np.uint8), 1)


@pytest.mark.parametrize(("suffix", "kind"), [("png", np.uint16), ("tif", np.int32), ("tif", np.float32)])
def test_deep_grey_is_never_held_as_floats_as_a_whole(tmp_path: Path, suffix: str, kind: type) -> None:
    deep: np.ndarray = np.random.default_rng(0).integers(0, 65536, (1000, 1001)).astype(kind)
    path = tmp_path / f"d.{suffix}"
    Image.fromarray(deep).save(path)
    tracemalloc.start()
    try:
        rgb = read_photo(path).rgb
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(rgb[..., 1], (deep.astype(np.float32) / 65535 * 255 + 0.5).astype(np.uint8))
    assert peak < 10 * deep.size  # bytes: the numbers copied once, and the picture; three copies as floats were 12


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_its_own_transparency_is_kept(tmp_path: Path, mode: str) -> None:
    rgba = np.dstack([RGB, np.where(np.arange(64) < 20, 0, 255)[None].repeat(48, 0).astype(np.uint8)])
    image = Image.fromarray(rgba)
    path = tmp_path / "a.png"
    if mode == "P":
        image.quantize(64).save(path)
    else:
        image.convert(mode).save(path)
    alpha = read_photo(path).alpha
    assert alpha is not None
    assert alpha[0, 0] == 0
    assert alpha[0, 63] == 255


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_grey_is_not_handed_on(mode: str, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = srgb[:16] + b"GRAY" + srgb[20:]
    clear = 7 if mode == "L" else None
    Image.fromarray(RGB).convert(mode).save(tmp_path / "i.png", icc_profile=grey, transparency=clear)
    assert read_photo(tmp_path / "i.png").icc is None


def test_a_palette_keeps_its_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).quantize(8).save(tmp_path / "i.png", icc_profile=profile)
    assert read_photo(tmp_path / "i.png").icc == profile


def test_sixteen_bit_grey_with_a_transparent_value(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(tmp_path / "i.png", transparency=0)
    photo = read_photo(tmp_path / "i.png")
    assert np.abs(photo.rgb[..., 0] - deep / 257).max() <= 1
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, deep == 0)


def test_a_colour_profile_is_handed_on(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "i.png", icc_profile=profile)
    assert read_photo(tmp_path / "i.png").icc == profile


class TestRefused:
    def refusal(self, path: Path) -> str:
        with pytest.raises(SourceError) as raised:
            read_photo(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.refusal(tmp_path / "no.jpg")

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "e.jpg").touch()
        assert "empty" in self.refusal(tmp_path / "e.jpg")

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "t.jpg").write_text("not a photo")
        assert "not a photo" in self.refusal(tmp_path / "t.jpg")

    def test_cut_off(self, tmp_path: Path) -> None:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(tmp_path / "w.png")
        data = (tmp_path / "w.png").read_bytes()
        (tmp_path / "c.png").write_bytes(data[: len(data) // 2])
        assert "damaged or cut off" in self.refusal(tmp_path / "c.png")

    def test_one_pixel(self, tmp_path: Path) -> None:
        Image.new("RGB", (1, 1)).save(tmp_path / "o.png")
        assert "1x1 is too small" in self.refusal(tmp_path / "o.png")

    def test_four_hundred_megapixels(self, tmp_path: Path) -> None:
        Image.new("1", (20000, 20000)).save(tmp_path / "b.png")
        assert "is more than 178 megapixels, the most headstream takes" in self.refusal(tmp_path / "b.png")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refusal(tmp_path)

    def test_a_name_no_file_can_have(self, tmp_path: Path) -> None:
        assert "cannot be read: File name too long" in self.refusal(tmp_path / ("x" * 300 + ".jpg"))

    @pytest.mark.skipif(ROOT, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        Image.fromarray(RGB).save(tmp_path / "sub" / "p.png")
        (tmp_path / "sub" / "p.png").chmod(0)
        assert "no permission" in self.refusal(tmp_path / "sub" / "p.png")
        (tmp_path / "sub").chmod(0)
        assert "no permission" in self.refusal(tmp_path / "sub" / "p.png")
        (tmp_path / "sub").chmod(0o700)


def test_the_first_page_is_its_own_whatever_follows(tmp_path: Path) -> None:
    red, green = (Image.new("RGB", (40, 30), colour) for colour in ("red", "green"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "pages.tif"
    green.encoderinfo = {"icc_profile": profile}
    red.save(path, save_all=True, append_images=[green])
    assert read_photo(path).pictures == 2
    assert read_photo(path).icc is None
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * data[first])
    for entry in range(struct.unpack_from("<H", data, second)[0]):
        if struct.unpack_from("<H", data, second + 2 + 12 * entry)[0] == 259:
            struct.pack_into("<H", data, second + 2 + 12 * entry + 8, 34712)  # a compression Pillow does not know
    path.write_bytes(data)
    photo = read_photo(path)
    assert tuple(photo.rgb[0, 0]) == (255, 0, 0)
    assert photo.pictures == 1


def test_floats_from_black_to_white(tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(48, 0)
    Image.fromarray(grey).save(tmp_path / "f.tif")
    assert near(read_photo(tmp_path / "f.tif").rgb[..., 0], np.rint(grey * 255), 1)


def test_a_missing_value_among_floats_changes_no_other(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 64, dtype=np.float32)[None].repeat(48, 0)
    Image.fromarray(grey).save(tmp_path / "whole.tif")
    grey[0, 0] = np.nan
    Image.fromarray(grey).save(tmp_path / "gap.tif")
    whole, gap = (read_photo(tmp_path / name).rgb for name in ("whole.tif", "gap.tif"))
    np.testing.assert_array_equal(gap[1:], whole[1:])


def test_cmyk_with_a_damaged_profile(tmp_path: Path) -> None:
    path = tmp_path / "c.jpg"
    Image.fromarray(RGB).convert("CMYK").save(path, quality=97, icc_profile=bytes(200))
    photo = read_photo(path)
    assert photo.icc is None
    assert near(photo.rgb, RGB, 6)


class TestWarnings:
    def test_those_of_pillow_and_numpy_are_nobodys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.fromarray(RGB).save(tmp_path / "large.png")
        Image.fromarray(np.full((48, 64), np.nan, np.float32)).save(tmp_path / "nan.tiff")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB[..., 0].size - 1)
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            for name in ("large.png", "nan.tiff"):
                read_photo(tmp_path / name)
            warnings.warn("another's", stacklevel=1)
        assert [str(one.message) for one in shown] == ["another's"]

    def test_threads_leave_the_programs_own_as_they_are(self) -> None:
        """Of two photos read at once, the first begun is the first done."""
        begun, both, first_done = threading.Event(), threading.Event(), threading.Event()

        class Read(io.BytesIO):
            def __init__(self, told: threading.Event, awaited: threading.Event) -> None:
                self.told, self.awaited = told, awaited
                super().__init__()
                Image.fromarray(RGB).save(self, "PNG")
                self.seek(0)

            def read(self, size: int | None = -1, /) -> bytes:
                self.told.set()
                assert self.awaited.wait(30)
                return super().read(size)

        before = list(warnings.filters)
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            inside = list(warnings.filters)
            first, second = (
                threading.Thread(target=photo_in, args=(Read(*e),)) for e in ((begun, both), (both, first_done))
            )
            first.start()
            assert begun.wait(30)
            second.start()
            assert both.wait(30)
            warnings.warn("meanwhile", stacklevel=1)
            first.join()
            first_done.set()
            second.join()
            assert warnings.filters == inside
        assert [str(one.message) for one in shown] == ["meanwhile"]
        assert warnings.filters == before
