"""What each kind of data set knows of a picture: its truth read and told plane by plane.

A label map knows all of it. A hair-only set knows the hair everywhere and the head only where there is hair; a street photo
with its clothes labelled knows all but the chin.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from headstream.errors import SourceError, UsageError
from headstream.shared.imagefile import read_image
from headstream.train.picture import BASE_PLANES, CELEBA_PARTS, PLANE_CLASSES
from headstream.types import Box, UInt8Array

if TYPE_CHECKING:
    from headstream.train.data import DataSet

# Names of the same parts in the files of CelebAMask-HQ as it is distributed.
_PART_FILES = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
# Where the truth of a kind lies: folder, and endings of its files; no ending where a picture has several files.
TRUTH: dict[str, tuple[str, tuple[str, ...]]] = {
    "celebamask": ("labels", (".png",)),
    "celebamask-hq": ("CelebAMask-HQ-mask-anno", ()),
    "hair": ("hair", (".png",)),
    "masks": ("masks", (".png",)),
    "lfw-parts": ("labels", (".ppm", ".png")),
    "fullbody": ("labels", (".png",)),
}
IMAGES = {"celebamask-hq": "CelebA-HQ-img"}  # of other kinds: images
BY_FACE = {"fullbody"}  # of these kinds truth is told by the face box as well
_WORN_ON_HEAD = {"hair", "hat", "glasses", "sunglasses"}


def read_grey(path: Path) -> UInt8Array:
    """(H, W) uint8 of a mask or label map; of a palette with colours, the numbers. Raises SourceError."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image if image.mode == "L" or _numbers_classes(image) else image.convert("L"))
    except (OSError, SyntaxError) as error:  # the latter for a PNG that breaks off between its parts
        raise SourceError(f"{path}: is not a mask that can be read: {error}") from error
    return values


def _numbers_classes(image: Image.Image) -> bool:
    """Whether an image's palette only paints its numbers, as that of VOC label maps does. One of greys is what tools that make
    files small, or reduce colours, turn a grey picture into: its numbers mean nothing."""
    if image.mode != "P":
        return False
    palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    used = np.unique(np.asarray(image))
    return used[-1] >= len(palette) or bool((palette[used] != palette[used, :1]).any())


def _read_truth(data: DataSet, name: str) -> tuple[Path, UInt8Array]:
    path = data.truth_path(name)
    assert path is not None
    return path, read_grey(path)


def _read_label(data: DataSet, name: str, shape: tuple[int, int]) -> UInt8Array:
    path, label = _read_truth(data, name)
    return fit(label, shape, path, data.image_path(name), nearest=True)


def has_parts(folder: Path, number: int) -> bool:
    """Whether there is a file of any part of a picture of CelebAMask-HQ as distributed. One without is no picture without a
    head, but an archive that was unpacked in part."""
    inner = folder / str(number // 2000)
    return any((inner / f"{number:05d}_{part}.png").exists() for part in _PART_FILES)


def _read_mask(data: DataSet, name: str, shape: tuple[int, int]) -> Any:
    """(H, W) bool: where a mask of 0 and 255 is; or one of 0 and 1, as NumPy and palettes have it."""
    path, mask = _read_truth(data, name)
    return fit(mask * np.uint8(255) if mask.max(initial=0) == 1 else mask, shape, path, data.image_path(name)) > 127


def fit(mask: UInt8Array, shape: tuple[int, int], path: Path, picture: Path, *, nearest: bool = False) -> UInt8Array:
    """``mask`` of a file ``path`` at the (height, width) of its ``picture``. Raises SourceError where it would be stretched."""
    if mask.shape[:2] == shape:
        return mask
    if not _alike(mask.shape[:2], shape):
        advice = "scale or crop it as the picture was"
        if _alike(mask.shape[1::-1], shape):
            advice = "it is of the picture without the turn that its EXIF tells: turn the mask, too"
        (height, width), (tall, wide) = mask.shape[:2], shape
        raise SourceError(
            f"{path}: is {width}x{height}, which does not fit its picture {picture}, {wide}x{tall}; {advice}"
        )
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (height, width) are of one picture, scaled: each side of the smaller within a pixel, for it was rounded."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(sum(one), sum(other))


def _truth(planes: tuple[str, ...], shape: tuple[int, int], found: dict[str, tuple[Any, Any]]) -> Any:
    """Target and known (H, W, P) from plane -> (where it is, where that is known); other planes are unknown."""
    target = np.zeros((*shape, len(planes)), np.uint8)
    known = np.zeros_like(target)
    for k, plane in enumerate(planes):
        if plane in found:
            where, sure = found[plane]
            target[..., k] = np.where(where, 255, 0)
            known[..., k] = np.where(sure, 255, 0)
    return target, known


def _from_label_map(data: DataSet, name: str, label: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    if label.max(initial=0) > len(CELEBA_PARTS):
        raise SourceError(
            f"{data.truth_path(name) or name}: is no map of classes 0 to {len(CELEBA_PARTS)}: it holds {label.max()}"
        )
    table = np.zeros((256, len(data.planes)), np.uint8)
    for k, plane in enumerate(data.planes):
        table[list(PLANE_CLASSES[plane]), k] = 255
    target: UInt8Array = table[label]
    return target, np.full_like(target, 255)


def _celebamask(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    return _from_label_map(data, name, _read_label(data, name, shape))


def _celebamask_hq(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """One file a part, in folders of 2,000; a part that is not in a picture has no file. Later parts lie over earlier."""
    number = int(name)
    folder = data.root / TRUTH[data.kind][0] / str(number // 2000)
    picture = data.image_path(name)
    label: UInt8Array = np.zeros(shape, np.uint8)
    for value, part in enumerate(_PART_FILES, 1):
        path = folder / f"{number:05d}_{part}.png"
        if path.exists():
            label[fit(read_grey(path), shape, path, picture, nearest=True) > 127] = value
    return _from_label_map(data, name, label)


def _from_hair(data: DataSet, hair: Any, background: Any = None) -> tuple[UInt8Array, UInt8Array]:
    """Where there is hair there is head and nothing else; elsewhere only background, if told, is no head."""
    nothing, everywhere = np.zeros_like(hair), np.ones_like(hair)
    sure = hair if background is None else hair | background
    found: dict[str, tuple[Any, Any]] = {plane: (nothing, sure) for plane in data.planes}
    found |= {"head": (hair, sure), "hair": (hair, everywhere)}
    return _truth(data.planes, hair.shape, found)


def _hair(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    return _from_hair(data, _read_mask(data, name, shape))


def _lfw_parts(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """Red hair, green skin (face and neck alike), blue background."""
    path = data.truth_path(name)
    assert path is not None
    strongest = fit(read_image(path), shape, path, data.image_path(name), nearest=True).argmax(axis=2)
    return _from_hair(data, strongest == 0, strongest == 2)


def _masks(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    where = _read_mask(data, name, shape)
    if data.plane == "hair":
        return _from_hair(data, where)
    return _truth(data.planes, shape, {data.plane: (where, np.ones_like(where))})


def body_classes(root: Path) -> list[str]:
    """Names of the classes of a set of kind "fullbody", in the order of their numbers. Raises UsageError."""
    path = root / "labels.txt"
    try:
        classes = path.read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise UsageError(f"data set {root} has no labels.txt with the names of its classes") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8; save it as that") from error
    if missing := [name for name in ("null", "skin", "hair") if name not in classes]:
        raise UsageError(
            f"{path} names no {', '.join(missing)}: it is to name all classes in order, the background null"
        )
    return classes


def _fullbody(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """Hair, hats and glasses are head, clothes are not; skin is head by the face box, and unknown around the chin."""
    label = _read_label(data, name, shape)
    classes = body_classes(data.root)
    worn = np.isin(label, [i for i, c in enumerate(classes) if c in _WORN_ON_HEAD])
    hair = label == classes.index("hair")
    skin = label == classes.index("skin")
    ground = label == classes.index("null")
    face_skin, unknown = np.zeros_like(skin), skin
    if face is not None:
        x0, y0, x1, y1 = face
        side = max(x1 - x0, y1 - y0)
        ys, xs = np.ogrid[: shape[0], : shape[1]]
        beside = np.abs(xs - (x0 + x1) / 2) < 0.62 * side
        face_skin = skin & beside & (ys < y1 - 0.15 * side)
        below = skin & ((ys > y1 + 0.35 * side) | ~beside)
        unknown = skin & ~face_skin & ~below
    head = worn | face_skin
    found = {"head": (head, ~unknown), "hair": (hair, np.ones_like(hair)), "body": (~head & ~ground, ~unknown)}
    return _truth(data.planes, shape, found)


def _pictures(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    return _truth(data.planes, shape, {})


_Loader = Callable[["DataSet", str, tuple[int, int], Box | None], tuple[UInt8Array, UInt8Array]]
KINDS: dict[str, _Loader] = {
    "celebamask": _celebamask,
    "celebamask-hq": _celebamask_hq,
    "hair": _hair,
    "masks": _masks,
    "lfw-parts": _lfw_parts,
    "fullbody": _fullbody,
    "pictures": _pictures,
    "packed": _pictures,
}
# Planes that the truth of a kind tells from all else, see ``tells``; of "masks" and "packed" each set says it itself.
TOLD: dict[str, tuple[str, ...]] = {
    "celebamask": tuple(PLANE_CLASSES),
    "celebamask-hq": tuple(PLANE_CLASSES),
    "hair": ("hair",),
    "lfw-parts": ("head", "hair"),
    "fullbody": BASE_PLANES,
}


def tells(data: DataSet, plane: str) -> bool:
    """Whether a set's truth tells a plane from all else. A hair-only set knows some of the head, and nothing that is none: a
    score of it would be a recall, and what learnt from it alone would take everything."""
    if data.kind == "packed":
        from headstream.train.packed import packed_told

        return plane in packed_told(data.root)
    if data.pseudo and plane in BASE_PLANES:
        return True
    return plane in ((data.plane,) if data.kind == "masks" else TOLD.get(data.kind, ()))
