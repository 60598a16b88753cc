"""Pictures with truth, from data sets that each know a different part of it.

Every set yields the same ``Picture``: target planes (head, hair, the body below the head, and others on request) and, for
each, where its truth is known. A hair-only set knows the hair everywhere and the head only where there is hair; the loss
is taken where the truth is known. Soft labels predicted by a teacher can fill in the rest (``pseudo``). Nothing is held
in memory: a set is a folder and a list of names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from headstream.errors import SourceError, UsageError
from headstream.imagefile import read_image
from headstream.types import Box, UInt8Array

BASE_PLANES = ("head", "hair", "body")
HEAD, HAIR, BODY = range(3)
# The 18 parts of CelebAMask-HQ, in the order of its flat label maps, from 1 on.
PARTS = (
    "skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear", "right_ear",
    "mouth", "upper_lip", "lower_lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
# Names of the same parts in the files of CelebAMask-HQ as it is distributed.
_PART_FILES = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
# What each plane is made of, as numbers of the flat label maps.
PLANE_CLASSES: dict[str, tuple[int, ...]] = {part: (k,) for k, part in enumerate(PARTS, 1)} | {
    "head": tuple(range(1, 16)),
    "body": (16, 17, 18),
    "face": (1, 2, 3, 4, 5, 6, 7, 10, 11, 12),
}
TARGETS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "hair": ("hair",),
    "face": ("face",),
    "parts": tuple(PARTS),
}
# Where the truth of a kind lies: folder, and endings of its files; no ending where a picture has several files.
_TRUTH: dict[str, tuple[str, tuple[str, ...]]] = {
    "celebamask": ("labels", (".png",)),
    "celebamask-hq": ("CelebAMask-HQ-mask-anno", ()),
    "hair": ("hair", (".png",)),
    "masks": ("masks", (".png",)),
    "lfw-parts": ("labels", (".ppm", ".png")),
    "fullbody": ("labels", (".png",)),
}
_IMAGES = {"celebamask-hq": "CelebA-HQ-img"}  # of other kinds: images
_WORN_ON_HEAD = {"hair", "hat", "glasses", "sunglasses"}
_LARGEST_SIDE_PX = 640  # of a picture in memory: over twice the side of a network input
_PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Picture:
    """A training picture.

    rgb: (H, W, 3) uint8.  target: (H, W, P) uint8, alpha 0..255 of each plane; the first three are head, hair and body.
    known: (H, W, P) uint8, 255 where that truth is known, else 0.
    person: (H, W) uint8 alpha of head and body together if it can be cut out, else None.
    face_px: face box x0, y0, x1, y1, or None where no face was found.
    """

    rgb: UInt8Array
    target: UInt8Array
    known: UInt8Array
    person: UInt8Array | None
    face_px: Box | None


@dataclass(frozen=True)
class DataSet:
    """One folder of pictures and truth.

    kind: "celebamask" (images/, labels/ of 19 classes), "celebamask-hq" (as distributed: CelebA-HQ-img/ and
    CelebAMask-HQ-mask-anno/), "hair" (images/, hair/ of 0 and 255), "masks" (images/, masks/ of 0 and 255, of
    ``plane``), "lfw-parts" (images/, labels/ in the three colours of LFW part labels), "fullbody" (images/, labels/ and
    labels.txt), "pictures" (images/ or the folder itself; no truth) or "packed" (a file of ``headstream pack``).
    planes: what to load; the first three are always head, hair and body.
    weight: how often it is drawn, relative to the others.  names: stems to use; empty means all.  exclude: stems never
    to use.  pseudo: folder of NAME.png soft labels (R head, G hair, B body) that fill in what is unknown.
    pseudo_unsure: soft labels further than this from both 0 and 1 stay unknown; 0.5 takes all.
    """

    kind: str
    root: Path
    weight: float = 1.0
    names: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    pseudo: Path | None = None
    pseudo_unsure: float = 0.5
    plane: str = "head"
    planes: tuple[str, ...] = BASE_PLANES
    faces: dict[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"data set kind {self.kind!r} is not known; known: {', '.join(KINDS)}")
        if not self.root.exists():
            raise UsageError(f"data set {self.root} does not exist")
        if self.planes[:3] != BASE_PLANES:
            raise ValueError(f"planes must begin with {BASE_PLANES}, got {self.planes}")
        if not self.names:
            stems = self.all_names()
            object.__setattr__(self, "names", tuple(s for s in stems if s not in self.exclude))
        if not self.names:
            raise UsageError(f"data set {self.root} holds no .jpg or .png")

    def all_names(self) -> list[str]:
        """Stems of all pictures there, in use or not."""
        if self.kind == "packed":
            from headstream.train.packed import packed_names

            return packed_names(self.root)
        if not self.root.is_dir():
            raise UsageError(f"data set {self.root} is a file; of kind {self.kind!r} it is a folder")
        return sorted(p.stem for p in self.images.iterdir() if p.suffix.lower() in _PICTURES)

    @property
    def images(self) -> Path:
        """Where the pictures are."""
        inner = self.root / _IMAGES.get(self.kind, "images")
        return inner if inner.is_dir() else self.root

    def image_path(self, name: str) -> Path:
        """The file of a picture."""
        path = self.images / f"{name}.jpg"
        return path if path.exists() else self.images / f"{name}.png"

    def truth_path(self, name: str) -> Path | None:
        """The file of a picture's truth, there or not; None for a kind that has not one file a picture."""
        folder, endings = _TRUTH.get(self.kind, ("", ()))
        paths = [self.root / folder / f"{name}{ending}" for ending in endings]
        return next((path for path in paths if path.exists()), paths[-1] if paths else None)

    def check_truth(self) -> None:
        """Raise UsageError if a picture has no truth where its kind has it: found now, not at step 900."""
        if self.kind not in _TRUTH:
            return
        folder = self.root / _TRUTH[self.kind][0]
        if not folder.is_dir():
            raise UsageError(
                f"data set {self.root} has no folder {folder.name}/, where kind {self.kind!r} has its truth"
            )
        if self.kind == "fullbody" and not (self.root / "labels.txt").is_file():
            raise UsageError(f"data set {self.root} has no labels.txt with the names of its classes")
        missing = [name for name in self.names if (path := self.truth_path(name)) and not path.exists()]
        if self.kind == "celebamask-hq":
            missing = [name for name in self.names if not name.isdecimal()]
        if missing:
            raise UsageError(
                f"data set {self.root}: {len(missing)} of {len(self.names)} pictures have no truth in {folder.name}/, "
                f"such as {missing[0]}; add it, or name them in a file of hold_out"
            )

    def rgb(self, name: str) -> UInt8Array:
        """The picture alone, (H, W, 3) uint8. Raises SourceError."""
        if self.kind == "packed":
            from headstream.train.packed import load_packed

            return load_packed(self, name).rgb
        return read_image(self.image_path(name))

    def load(self, name: str) -> Picture:
        """Read one picture and its truth. Raises SourceError for a damaged file."""
        if self.kind == "packed":
            from headstream.train.packed import load_packed

            return load_packed(self, name)
        rgb = read_image(self.image_path(name))
        face = self.faces.get(name)
        target, known = KINDS[self.kind](self, name, rgb.shape[:2], face)
        if self.pseudo is None or not (path := self.pseudo / f"{name}.png").exists():
            return bounded(finished(rgb, target, known, face))
        base = np.s_[..., :3]
        told = known[base] > 0
        soft = _fit(read_image(path), rgb.shape[:2])
        no_hair = (known[..., HAIR] > 0) & (target[..., HAIR] == 0)
        soft[no_hair] = _without_hair(soft[no_hair])
        target[base] = np.where(told, target[base], soft)
        known[base] = 255
        picture = finished(rgb, target, known, face)  # cut out along the soft labels, sure or not
        unsure = np.abs(soft.astype(np.float32) / 255 - 0.5) < 0.5 - self.pseudo_unsure
        known[base][unsure & ~told] = 0
        return bounded(picture)


def lies_in(kind: str, root: Path) -> bool:
    """Whether a folder is laid out as a kind that has truth is."""
    return (root / _IMAGES.get(kind, "images")).is_dir() and (root / _TRUTH[kind][0]).is_dir()


def _without_hair(soft: UInt8Array) -> UInt8Array:
    """What soft labels (N, 3) of head, hair and body say where it is known that there is no hair: P(x | not hair). A teacher
    that takes background for hair takes it for head, too; the truth about hair then tells the head's outline as well."""
    head, hair, body = np.moveaxis(soft.astype(np.float32), -1, 0)
    rest = np.float32(255) / np.maximum(
        255 - hair, 8
    )  # 8: where a teacher was certain of hair, little is left to go by
    told = np.stack([np.maximum(head - hair, 0) * rest, np.zeros_like(hair), body * rest], axis=-1)
    return (np.clip(told, 0, 255) + 0.5).astype(np.uint8)


def finished(rgb: UInt8Array, target: UInt8Array, known: UInt8Array, face: Box | None) -> Picture:
    """A ``Picture``, with the person's cut-out where head and body are known everywhere."""
    person = None
    if known[..., HEAD].min() > 0 and known[..., BODY].min() > 0:
        # Sharpened: where a teacher was unsure, half a background would come along.
        person = cv2.max(np.ascontiguousarray(target[..., HEAD]), np.ascontiguousarray(target[..., BODY]))
        person = cv2.convertScaleAbs(cv2.subtract(person, 64), alpha=2.0)
    return Picture(rgb, target, known, person, face)


def read_grey(path: Path) -> UInt8Array:
    """(H, W) uint8 of a mask or label map; palettes are read as their numbers. Raises SourceError."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image if image.mode in {"L", "P"} else image.convert("L"))
    except OSError as error:
        raise SourceError(f"{path}: is not a mask that can be read: {error}") from error
    return values


def _read_truth(data: DataSet, name: str) -> UInt8Array:
    path = data.truth_path(name)
    assert path is not None
    return read_grey(path)


def _fit(mask: UInt8Array, shape: tuple[int, int], *, nearest: bool = False) -> UInt8Array:
    if mask.shape[:2] == shape:
        return mask
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)


def by_planes(image: UInt8Array, change: Callable[[UInt8Array], UInt8Array]) -> UInt8Array:
    """``change`` applied to an (H, W, P) picture four planes at a time, which is as many as OpenCV moves at once."""
    if image.ndim == 2 or image.shape[2] <= 4:
        return change(image)
    parts = [change(np.ascontiguousarray(image[..., k : k + 4])) for k in range(0, image.shape[2], 4)]
    return np.dstack(parts)


def bounded(picture: Picture, side: int = _LARGEST_SIDE_PX) -> Picture:
    """The picture with a longer side of at most ``side``."""
    scale = side / max(picture.rgb.shape[:2])
    if scale >= 1:
        return picture

    def small(x: UInt8Array) -> UInt8Array:
        return by_planes(x, lambda part: cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))

    known = np.where(small(picture.known) == 255, 255, 0).astype(np.uint8)
    person = None if picture.person is None else small(picture.person)
    face = None
    if picture.face_px is not None:
        x0, y0, x1, y1 = (v * scale for v in picture.face_px)
        face = (x0, y0, x1, y1)
    return Picture(small(picture.rgb), small(picture.target), known, person, face)


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


def _from_label_map(data: DataSet, label: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    table = np.zeros((256, len(data.planes)), np.uint8)
    for k, plane in enumerate(data.planes):
        table[list(PLANE_CLASSES[plane]), k] = 255
    target: UInt8Array = table[label]
    return target, np.full_like(target, 255)


def _celebamask(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    return _from_label_map(data, _fit(_read_truth(data, name), shape, nearest=True))


def _celebamask_hq(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """One file a part, in folders of 2,000; a part that is not in a picture has no file. Later parts lie over earlier."""
    number = int(name)
    folder = data.root / _TRUTH[data.kind][0] / str(number // 2000)
    label: UInt8Array = np.zeros((512, 512), np.uint8)
    for value, part in enumerate(_PART_FILES, 1):
        path = folder / f"{number:05d}_{part}.png"
        if path.exists():
            mask = read_grey(path)
            if label.shape != mask.shape:
                label = _fit(label, mask.shape, nearest=True)
            label[mask > 127] = value
    return _from_label_map(data, _fit(label, shape, nearest=True))


def _from_hair(data: DataSet, hair: Any, background: Any = None) -> tuple[UInt8Array, UInt8Array]:
    """Where there is hair there is head and nothing else; elsewhere only background, if told, is no head."""
    nothing, everywhere = np.zeros_like(hair), np.ones_like(hair)
    sure = hair if background is None else hair | background
    found: dict[str, tuple[Any, Any]] = {plane: (nothing, sure) for plane in data.planes}
    found |= {"head": (hair, sure), "hair": (hair, everywhere)}
    return _truth(data.planes, hair.shape, found)


def _hair(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    return _from_hair(data, _fit(_read_truth(data, name), shape) > 127)


def _lfw_parts(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """Red hair, green skin (face and neck alike), blue background."""
    path = data.truth_path(name)
    assert path is not None
    strongest = _fit(read_image(path), shape, nearest=True).argmax(axis=2)
    return _from_hair(data, strongest == 0, strongest == 2)


def _masks(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    where = _fit(_read_truth(data, name), shape) > 127
    if data.plane == "hair":
        return _from_hair(data, where)
    return _truth(data.planes, shape, {data.plane: (where, np.ones_like(where))})


def _fullbody(data: DataSet, name: str, shape: tuple[int, int], face: Box | None) -> tuple[UInt8Array, UInt8Array]:
    """Hair, hats and glasses are head, clothes are not; skin is head by the face box, and unknown around the chin."""
    label = _fit(_read_truth(data, name), shape, nearest=True)
    classes = (data.root / "labels.txt").read_text(encoding="utf-8").split()
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


_Loader = Callable[[DataSet, str, tuple[int, int], "Box | None"], tuple[UInt8Array, UInt8Array]]
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


def read_names(path: Path) -> frozenset[str]:
    """Stems listed in a file, one a line."""
    if not path.is_file():
        raise UsageError(f"list of names {path} does not exist")
    try:
        return frozenset(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise UsageError(f"list of names {path} is not text in UTF-8; save it as that") from error
