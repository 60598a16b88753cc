"""The shipped weights: where they are, what their cards say, and that they are what the cards say."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstream.errors import ModelError, UsageError
from headstream.shared.digest import file_sha256

# One file in 8 bits, finished in two ways (see ModelCard.finish): with firm edges that keep away from the neck for photos, with
# softer ones, which flicker less, for video. "lite" is the same in full precision: to start training from.
DEFAULT_MODEL = "lite-photo-int8"
DEFAULT_FAST_MODEL = "lite-int8"

# Where a tensor's data are, in ONNX's protobuf: a key, and how long its value is that follows.
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")


def models_dir() -> Path:
    """The folder of weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise ModelError(f"the models folder is missing beside {package}; reinstall headstream")


@dataclass(frozen=True)
class ModelCard:
    """What a weight file's JSON card says of it.

    kind: "segmenter" or "face-detector".  side: pixels of the square input.  outputs: planes in order; one may be
    "background".  sha256: of the file; "" in a card of one's own means that nobody promised one.
    mean, std: of 0..255 input, for a network that does not normalise by itself; None where it does.
    revision: the hub's commit, of weights from there.
    finish: what an .onnx file's inputs of these names are given where it has them, such as "gain" and "against_body" of
    ``headstream export``: several cards may finish one file's mattes each in its way.
    layout: "nhwc" or "nchw" of the input.  activation: what turns the output into alpha: "none", "sigmoid" or "softmax".
    details: the whole card.
    """

    name: str
    kind: str
    file: Path
    sha256: str
    licence: str
    side: int = 0
    outputs: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str = "nhwc"
    activation: str = "none"
    revision: str = ""
    finish: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def mark(self, digest: Callable[[Path], str]) -> str:
        """What other weights, or the same fed, read or finished in another way, have another of. digest: tells it of a file
        that nobody promised anything of."""
        told: list[object] = [self.sha256 or digest(self.file), *(digest(path) for path in _data_of(self.file))]
        call = (self.mean, self.std, self.layout, self.activation)
        if call != (None, None, "nhwc", "none"):  # else the file itself says how
            told += [call, self.side, self.outputs]
        if self.finish:
            told.append(sorted(self.finish.items()))
        return hashlib.sha256(" ".join(map(str, told)).encode()).hexdigest() if told[1:] else str(told[0])

    def check(self) -> None:
        """Raise ModelError unless the file is there and is the one the card describes, UsageError if it may not be read."""
        if not self.file.is_file():
            own = self.file.parent == models_dir()
            raise ModelError(f"weights {self.file} are missing" + "; reinstall headstream" * own)
        check_readable(self.file)
        if not self.sha256:
            return
        found = file_sha256(self.file)
        if found != self.sha256:
            raise ModelError(
                f"weights {self.file} are damaged: sha256 {found[:12]}..., card says {self.sha256[:12]}..."
            )


def _data_of(network: Path) -> list[Path]:
    """Files beside an .onnx file that hold its weights, as most exporters write large ones: it names them alone, and not what
    is in them."""
    if network.suffix != ".onnx" or not network.is_file():
        return []
    raw = network.read_bytes()
    names = {raw[found.end() : found.end() + found[1][0]] for found in _LOCATION.finditer(raw)}
    paths = sorted(network.parent / os.fsdecode(name) for name in names if b"\0" not in name)
    return [path for path in paths if path.is_file()]


def check_readable(path: Path) -> None:
    """Raise UsageError for a file that is there and may not be read."""
    if path.is_file() and not os.access(path, os.R_OK):
        raise UsageError(f"{path}: no permission to read it")


_EXAMPLE = (
    '{"kind": "segmenter", "file": "x.onnx", "side": 512, "outputs": ["background", "head"], "activation": "softmax", '
    '"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}'
)


def read_card(path: Path) -> ModelCard:
    """The card at ``path``. Raises ModelError if it is not one, or lacks what its kind of model needs; UsageError if it may
    not be read."""
    check_readable(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        _check(raw)
        normalises = "mean" in raw
        card = ModelCard(
            name=path.stem,
            kind=raw["kind"],
            file=path.parent / raw["file"],
            sha256=raw.get("sha256", ""),
            licence=raw.get("licence", "not told"),
            side=int(raw.get("side", 0)),
            outputs=tuple(raw.get("outputs", ())),
            mean=tuple(map(float, raw["mean"])) if normalises else None,
            std=tuple(map(float, raw["std"])) if normalises else None,
            layout=raw.get("layout", "nchw" if normalises else "nhwc"),
            activation=raw.get("activation", "none"),
            finish={name: float(value) for name, value in raw.get("finish", {}).items()},
            details=raw,
        )
        return card
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} is not a model card: {error}; one that is: {_EXAMPLE}") from error


def _check(raw: Any) -> None:
    """Raise ValueError saying what a card lacks, or has wrong."""
    if not isinstance(raw, dict):
        raise ValueError(f"it holds a {type(raw).__name__}, not an object")
    needed = ["kind", "file"] + ["side", "outputs"] * (raw.get("kind") == "segmenter")
    needed += ["mean", "std"] * ("mean" in raw or "std" in raw)
    if missing := [key for key in needed if key not in raw]:
        raise ValueError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for key in ("file", "sha256"):
        if not isinstance(raw.get(key, ""), str):
            raise ValueError(f"{key} is {raw[key]!r}, expected text")
    finish = raw.get("finish", {})
    if not isinstance(finish, dict) or not all(map(_is_number, finish.values())):
        raise ValueError(f"finish is {finish!r}, expected numbers by name, such as gain")
    if raw["kind"] != "segmenter":
        return
    side, outputs = raw["side"], raw["outputs"]
    if type(side) is not int or side < 1:
        raise ValueError(f"side is {side!r}, expected the pixels of the square input")
    named = isinstance(outputs, list) and all(isinstance(plane, str) for plane in outputs)
    if not named or not set(outputs) - {"background"}:
        raise ValueError(f"outputs is {outputs!r}, expected the names of the output's planes, in order")
    for key in ("mean", "std"):
        if key in raw and not (isinstance(raw[key], list) and len(raw[key]) == 3 and all(map(_is_number, raw[key]))):
            raise ValueError(f"{key} is {raw[key]!r}, expected three numbers, of R, G and B of 0..255")
    if min(raw.get("std", [1])) <= 0:
        raise ValueError(f"std is {raw['std']!r}, expected numbers above 0")
    for key, known in (("layout", ("nhwc", "nchw")), ("activation", ("none", "sigmoid", "softmax"))):
        if key in raw and raw[key] not in known:
            raise ValueError(f"{key} is {raw[key]!r}, expected one of {', '.join(known)}")


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and math.isfinite(value)


def shipped_models() -> list[ModelCard]:
    """Cards of all shipped weights, by name."""
    return [read_card(path) for path in sorted(models_dir().glob("*.json"))]


def is_shipped(name: str) -> bool:
    """Whether a name is one of shipped weights, or "default": these come before a folder that happens to be called so."""
    return name == "default" or any(card.name == name and card.kind == "segmenter" for card in shipped_models())


def find_model(name: str, *, fast: bool = False) -> ModelCard:
    """The card of a shipped segmenter, of an .onnx file that has its card beside it, or one named itself: several may be
    of one file.

    fast: whether "default" means the one for video.  Raises UsageError naming what there is; ModelError for a broken card.
    """
    path = Path(name)
    if path.suffix in {".onnx", ".json"}:
        beside = path.with_suffix(".json")
        if not path.is_file():
            raise UsageError(f"model {name}: no such file")
        if not beside.is_file():
            raise UsageError(f"model {name} has no card; expected {beside} (see: headstream models info lite)")
        card = read_card(beside)
        if card.kind != "segmenter":
            raise ModelError(f"{beside}: kind is {card.kind!r}, expected 'segmenter'")
        return card
    default = DEFAULT_FAST_MODEL if fast else DEFAULT_MODEL
    wanted = default if name == "default" else name
    segmenters = [card for card in shipped_models() if card.kind == "segmenter"]
    for card in segmenters:
        if card.name == wanted:
            return card
    known = ", ".join(card.name for card in segmenters) or "none"
    raise UsageError(
        f"model {name!r} is not known; shipped: {known}; or name an .onnx file with its card beside it, or a card"
    )
