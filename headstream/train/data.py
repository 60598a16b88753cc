"""Data sets: folders of pictures with truth, each of which knows a different part of it.

Every set yields the same ``Picture``; the loss is taken where its truth is known. Soft labels predicted by a teacher can
fill in the rest (``pseudo``). Nothing is held in memory: a set is a folder and a list of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstream.errors import UsageError
from headstream.shared.imagefile import read_image
from headstream.train.picture import BASE_PLANES, HAIR, LARGEST_SIDE_PX, Picture, bounded, finished
from headstream.train.truth import IMAGES, KINDS, TRUTH, body_classes, fit, has_parts
from headstream.types import Box, UInt8Array

_PICTURES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".Jpg", ".Png", ".Jpeg")
_NO_NAME = re.compile(r"\t|(^|\s)#(\s|$)")  # what ends the name in a line of a list


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
    largest_px: a picture's longer side is brought down to this; None leaves pictures as large as they are.
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
    largest_px: int | None = LARGEST_SIDE_PX
    faces: dict[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"data set kind {self.kind!r} is not known; known: {', '.join(KINDS)}")
        with _reading(self.root):
            if not self.root.exists():
                raise UsageError(f"data set {self.root} does not exist")
            stems = self.names or self.all_names()
        if self.planes[:3] != BASE_PLANES:
            raise ValueError(f"planes must begin with {BASE_PLANES}, got {self.planes}")
        if not self.names:
            object.__setattr__(self, "names", tuple(s for s in stems if s not in self.exclude))
        if not self.names:
            raise UsageError(f"data set {self.root} holds no .jpg or .png")
        if odd := [name for name in self.names if not _is_text(name)]:
            raise UsageError(
                f"data set {self.root}: {odd[0]!r} is no name in UTF-8, as lists and results are; rename it"
            )

    def all_names(self) -> list[str]:
        """Stems of all pictures there, in use or not."""
        if self.kind == "packed":
            from headstream.train.packed import packed_names

            return packed_names(self.root)
        if not self.root.is_dir():
            raise UsageError(f"data set {self.root} is a file; of kind {self.kind!r} it is a folder")
        found = (p for p in self.images.iterdir() if p.suffix in _PICTURES and not p.name.startswith("."))
        return sorted({p.stem for p in found})

    @property
    def images(self) -> Path:
        """Where the pictures are."""
        inner = self.root / IMAGES.get(self.kind, "images")
        return inner if inner.is_dir() else self.root

    def image_path(self, name: str) -> Path:
        """The file of a picture."""
        paths = [self.images / f"{name}{ending}" for ending in _PICTURES]
        return next((path for path in paths if path.exists()), paths[0])

    def truth_path(self, name: str) -> Path | None:
        """The file of a picture's truth, there or not; None for a kind that has not one file a picture."""
        folder, endings = TRUTH.get(self.kind, ("", ()))
        paths = [self.root / folder / f"{name}{ending}" for ending in endings]
        return next((path for path in paths if path.exists()), paths[-1] if paths else None)

    def check_truth(self) -> None:
        """Raise UsageError if a picture has no truth where its kind has it: found now, not at step 900."""
        with _reading(self.root):
            self._check_truth()

    def _check_truth(self) -> None:
        if self.kind == "packed":
            self.load(self.names[0])  # one tells of all whether the planes are there
        if self.kind not in TRUTH:
            return
        folder = self.root / TRUTH[self.kind][0]
        if not folder.is_dir():
            raise UsageError(
                f"data set {self.root} has no folder {folder.name}/, where kind {self.kind!r} has its truth"
            )
        if self.kind == "fullbody":
            body_classes(self.root)
        missing = [name for name in self.names if (path := self.truth_path(name)) and not path.exists()]
        if self.kind == "celebamask-hq":
            missing = [name for name in self.names if not name.isdecimal() or not has_parts(folder, int(name))]
        if missing:
            raise UsageError(
                f"data set {self.root}: {len(missing)} of {len(self.names)} pictures have no truth in {folder.name}/, "
                f"such as {missing[0]}; add it, or leave them out (hold_out of a configuration, --names of evaluate)"
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
        picture_path = self.image_path(name)
        rgb = read_image(picture_path)
        face = self.faces.get(name)
        target, known = KINDS[self.kind](self, name, rgb.shape[:2], face)
        if self.pseudo is None or not (path := self.pseudo / f"{name}.png").exists():
            return bounded(finished(rgb, target, known, face), self.largest_px)
        base = np.s_[..., :3]
        told = known[base] > 0
        soft = fit(read_image(path), rgb.shape[:2], path, picture_path)
        no_hair = (known[..., HAIR] > 0) & (target[..., HAIR] == 0)
        soft[no_hair] = _without_hair(soft[no_hair])
        target[base] = np.where(told, target[base], soft)
        known[base] = 255
        picture = finished(rgb, target, known, face)  # cut out along the soft labels, sure or not
        unsure = np.abs(soft.astype(np.float32) / 255 - 0.5) < 0.5 - self.pseudo_unsure
        known[base][unsure & ~told] = 0
        return bounded(picture, self.largest_px)


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    """Raises UsageError for folders within that may not be read."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"data set {root} cannot be read: {error.filename or root}: {error.strerror}") from error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def lies_in(kind: str, root: Path) -> bool:
    """Whether a folder is laid out as a kind that has truth is."""
    return (root / IMAGES.get(kind, "images")).is_dir() and (root / TRUTH[kind][0]).is_dir()


def _without_hair(soft: UInt8Array) -> UInt8Array:
    """What soft labels (N, 3) of head, hair and body say where it is known that there is no hair: P(x | not hair). A teacher
    that takes background for hair takes it for head, too; the truth about hair then tells the head's outline as well."""
    head, hair, body = np.moveaxis(soft.astype(np.float32), -1, 0)
    rest = np.float32(255) / np.maximum(255 - hair, 8)  # where a teacher was certain of hair, little is left to go by
    told = np.stack([np.maximum(head - hair, 0) * rest, np.zeros_like(hair), body * rest], axis=-1)
    return (np.clip(told, 0, 255) + 0.5).astype(np.uint8)


def read_names(path: Path) -> frozenset[str]:
    """Stems listed in a file, one a line; folders and pictures' endings are taken off, and what follows a tab or a "# "."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"list of names {path} is not text in UTF-8; save it as that") from error
    except FileNotFoundError as error:
        raise UsageError(f"list of names {path} does not exist") from error
    except OSError as error:
        raise UsageError(f"list of names {path} cannot be read: {error.strerror}") from error
    texts = (_NO_NAME.split(line.strip(), maxsplit=1)[0].strip() for line in lines)
    names = (Path(text) for text in texts if text)
    return frozenset(name.stem if name.suffix in _PICTURES else name.name for name in names)
