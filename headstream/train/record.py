"""What made a run, as plain data that every checkpoint keeps: settings, data, versions; what of it is another now."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

import headstream
from headstream.shared.digest import file_sha256
from headstream.train.config import DataConfig, TrainConfig
from headstream.train.data import DataSet
from headstream.train.sets import OpenedData
from headstream.train.start import initial_file

Record = dict[str, Any]
Differences = dict[str, tuple[Any, Any]]  # setting -> what it was, what it is
# What changes no number, and what is compared by what lies behind it: pictures and weights may be moved.
_FREE = {"workers", "cache_mb", "tensorboard", "init", "teachers", "data"}
_FREE_OF_DATA = {"folder", "hold_out", "validate", "pseudo", "licence"}


def record_of(config: TrainConfig, data: OpenedData, device: torch.device) -> Record:
    """All a run depends on. Only plain data: checkpoints are read with ``weights_only``."""
    return {
        "headstream": headstream.__version__,
        "torch": str(torch.__version__),
        "device": device.type,
        "config": _plain(config),
        "init_sha256": None if config.init is None else file_sha256(initial_file(config.init)),
        "teachers_sha256": [file_sha256(Path(path)) for path in config.teachers],
        "data": [_pictures_of(*sets) for sets in zip(data.train, data.validated, strict=True)],
    }


def differences(was: Record, now: Record) -> Differences:
    """Settings whose change changes the numbers, from one record to another; what an older one lacks had its default."""
    before, after = _settings(was), _settings(now)
    keys = dict.fromkeys([*after, *before])
    return {k: (before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)}


def in_words(different: Differences) -> str:
    """``steps = 8, now 16; seed = 1, now 2``."""
    parts = [f"{key} = {_short(was)}, now {_short(now)}" for key, (was, now) in different.items()]
    return "; ".join(parts[:6] + ([f"and {len(parts) - 6} more"] if len(parts) > 6 else []))


def validation_changed(different: Differences) -> bool:
    """Whether scores before and after cannot be compared."""
    return any(key.endswith(".validated") for key in different)


def _settings(record: Record) -> dict[str, Any]:
    usual = _plain(TrainConfig())
    told = {key: value for key, value in (usual | record["config"]).items() if key not in _FREE}
    told["init"] = record["init_sha256"]
    told["teachers"] = record["teachers_sha256"]
    for index, (entry, pictures) in enumerate(zip(record["config"]["data"], record["data"], strict=True)):
        for key, value in (_plain(DataConfig("", "")) | entry | pictures).items():
            if key not in _FREE_OF_DATA:
                told[f"data[{index}].{key}"] = value
    return told


def _plain(config: TrainConfig | DataConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def _pictures_of(trained: DataSet, validated: DataSet | None) -> Record:
    """How many pictures an entry trains on and validates, and which: by name and size, not by where they lie."""
    return {
        "trained": _fingerprint(trained),
        "validated": _fingerprint(validated) if validated else "none",
    }


def _fingerprint(data: DataSet) -> str:
    if data.kind == "packed":
        lines = [str(_size(data.root)), *data.names]
    else:
        soft = data.pseudo
        lines = [
            f"{name} {_size(data.image_path(name))} {_size(data.truth_path(name))} {_size(soft and soft / f'{name}.png')}"
            for name in data.names
        ]
    return f"{len(data.names)} pictures, sha256 {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def _size(path: Path | None) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return -1 if path is None else path.stat().st_size
    except OSError:
        return -1


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    head, mark, digest = text.partition("sha256 ")
    return (head + mark + digest[:8]) if mark else text[:60]
