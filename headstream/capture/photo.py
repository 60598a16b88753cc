"""Photos of every common kind as upright 8-bit sRGB, with their own transparency. The only file that opens photos."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstream.capture.named import VIDEOS, check_file
from headstream.errors import SourceError
from headstream.shared.imagefile import MOST_PIXELS, beyond_most, check_most
from headstream.shared.muted import muted
from headstream.types import UInt8Array

_MIN_SIDE_PX = 16
_SUBFILE_TYPE = 254  # TIFF's tag; bit 0: a smaller version of another page
_STRIP = 64  # rows
_ORIENTATION = 274  # EXIF's tag; 1 is upright


@dataclass(frozen=True)
class Photo:
    """One photo, as it is meant to be seen.

    rgb: (H, W, 3) uint8, upright.  alpha: (H, W) uint8 of the photo's own transparency, or None.
    icc: colour profile that ``rgb`` is in, to be embedded in what is made of it; None means sRGB.
    pictures: how many the file holds, pages or those of an animation; ``rgb`` is the first.
    """

    rgb: UInt8Array
    alpha: UInt8Array | None
    icc: bytes | None
    path: Path | None = None
    pictures: int = 1


def read_photo(path: Path, *, least_px: int = _MIN_SIDE_PX) -> Photo:
    """Read a photo: JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP, GIF (its first picture); any mode, depth and rotation.

    least_px: a side, for what there is to be in it.  Raises SourceError saying what is wrong with the file.
    """
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    _register_heif()
    try:
        with muted("PIL"), Image.open(path) as image:
            _check_size(image.size, path, least_px)
            photo = photo_from_image(image, path)
        return replace(photo, pictures=pictures_in(path))
    except Image.DecompressionBombError as error:  # already while it opens it, from twice its limit on
        raise SourceError(beyond_most(path)) from error
    except UnidentifiedImageError as error:
        raise SourceError(
            f"{path}: not a photo headstream can read (JPEG, PNG, WebP, HEIC, TIFF, ...){_for_a_film(path)}"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:  # RuntimeError: AVIF's decoder
        raise SourceError(f"{path}: damaged or cut off: {error}") from error


def read_picture(path: Path) -> UInt8Array:
    """(H, W, 3) uint8 sRGB of a picture of any size in a file. Raises SourceError."""
    photo = read_photo(path, least_px=1)
    return in_profile(photo.rgb, photo.icc, None)


def photo_in(picture: Any) -> Photo:
    """The photo in an open binary file, or in a Pillow image, which may not have been read yet. Raises SourceError."""
    from PIL import Image, UnidentifiedImageError

    _register_heif()
    try:
        with muted("PIL"):
            image = Image.open(picture) if hasattr(picture, "read") else picture
            check_most(image.size, "a picture")
            return photo_from_image(image)
    except Image.DecompressionBombError as error:
        raise SourceError(
            f"a picture of more than {MOST_PIXELS / 1e6:.0f} megapixels; make it smaller first"
        ) from error
    except UnidentifiedImageError as error:  # which tells of the object in memory alone
        raise SourceError("not a photo headstream can read (JPEG, PNG, WebP, HEIC, TIFF, ...)") from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise SourceError(f"a picture that cannot be read, damaged or cut off: {error}") from error


def pictures_in(path: Path) -> int:
    """How many pictures there are to look at; small versions of the same one (TIFF, MPO) are none. In an opening of its own:
    going through the pages leaves their profiles behind, and damage the page it was met on."""
    from PIL import Image

    try:
        with muted("PIL"), Image.open(path) as image:
            count: int = getattr(image, "n_frames", 1) if image.format in {"GIF", "WEBP", "PNG", "TIFF", "AVIF"} else 1
            if image.format == "TIFF" and count > 1:
                for page in range(count):
                    image.seek(page)
                    count -= image.tag_v2.get(_SUBFILE_TYPE, 0) & 1
            return max(1, count)
    except Exception:  # damaged further on, in whatever way; the first picture was whole
        return 1


def _for_a_film(path: Path) -> str:
    return f"; for a film: headstream video {path} --out FILE" if path.suffix.lower() in VIDEOS else ""


def photo_from_image(image: Any, path: Path | None = None) -> Photo:
    """A PIL image as a ``Photo``: EXIF rotation applied, palette, CMYK, grey, 16-bit and alpha converted."""
    image.load()
    image = _upright(image)
    icc = image.info.get("icc_profile")
    alpha = None
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:  # first: Pillow would clip them to 8 bits
        if isinstance(clear := image.info.get("transparency"), int):
            alpha = np.where(np.asarray(image) == clear, np.uint8(0), np.uint8(255))
        image = _from_deep(image)
    elif image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")
    elif image.mode in {"CMYK", "YCCK", "LAB"}:
        image, icc = _to_srgb(image, icc), None
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if alpha is not None and alpha.min() == 255:
        alpha = None
    if icc is not None and icc[16:20] != b"RGB ":
        icc = None  # a profile of grey does not describe what is RGB now
    return Photo(np.ascontiguousarray(np.asarray(image, np.uint8)), alpha, icc, path)


def in_profile(rgb: UInt8Array, own: bytes | None, wanted: bytes | None) -> UInt8Array:
    """(H, W, 3) uint8 colours of one ICC profile (None: sRGB) in another; a damaged one counts as sRGB."""
    if own == wanted:
        return rgb
    from PIL import Image, ImageCms

    before, after = (ImageCms.createProfile("sRGB") if icc is None else io.BytesIO(icc) for icc in (own, wanted))
    try:
        converted = ImageCms.profileToProfile(Image.fromarray(rgb), before, after, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return rgb
    return np.array(converted, np.uint8)


def _upright(image: Any) -> Any:
    """As its EXIF says. Pillow's ``exif_transpose`` writes all EXIF anew, which fails where any tag of it is odd."""
    from PIL import Image

    way = Image.Transpose
    turns = {2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE}
    turns |= {6: way.ROTATE_270, 7: way.TRANSVERSE, 8: way.ROTATE_90}
    try:
        turn = turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that is damaged, in whatever way, tells nothing; the picture was whole
        return image
    return image if turn is None else image.transpose(turn)


def _check_size(size: tuple[int, int], path: Path, least_px: int) -> None:
    check_most(size, path)
    width, height = size
    if min(width, height) < least_px:
        raise SourceError(f"{path}: {width}x{height} is too small to hold a head; at least {least_px}x{least_px}")


def _to_srgb(image: Any, icc: bytes | None) -> Any:
    """CMYK and Lab through their own profile where there is one."""
    from PIL import ImageCms

    if icc:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile: the plain conversion is what every viewer falls back to
    return image.convert("RGB")


def _from_deep(image: Any) -> UInt8Array:
    """16-bit or float grey as (H, W, 3) uint8, by its full scale. A strip at a time: a large scan takes gigabytes as floats."""
    values = np.asarray(image)
    most = np.fmax.reduce(values, axis=None)  # of all but NaN: scans may have some for what is missing
    peak = 65535.0 if most > 255 else 255.0 if most > 1 else 1.0
    rgb = np.empty((*values.shape, 3), np.uint8)
    for row in range(0, len(values), _STRIP):
        strip = values[row : row + _STRIP].astype(np.float32) / peak
        with np.errstate(invalid="ignore"):  # NaN, which has no right colour
            rgb[row : row + _STRIP] = (np.clip(strip, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None]
    return rgb


def _register_heif() -> None:
    try:
        import pi_heif
    except ImportError:
        return  # `headstream doctor` says so; Pillow then says that it cannot read the file
    pi_heif.register_heif_opener()
