"""Which device torch computes on."""

from __future__ import annotations

import torch

from headstream.errors import ModelError, UsageError


def choose_device(wanted: str = "auto") -> torch.device:
    """The device asked for, or the fastest. One that is not here is an error, never a silent fall-back."""
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if here[name]))
    kind = wanted.split(":")[0]
    if kind not in here:
        raise UsageError(f"device {wanted!r} is not known to torch; known: auto, {', '.join(here)}")
    if not here[kind]:
        raise _not_here(wanted, [name for name, there in here.items() if there])
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device {wanted!r} is none: expected {kind}, or {kind}:0, {kind}:1 and so on") from error
    if kind == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise _not_here(wanted, [f"cuda:{index}" for index in range(count)])
    return device


def _not_here(wanted: str, found: list[str]) -> ModelError:
    there = ", ".join(found)
    return ModelError(f"device {wanted!r} is not here: torch {torch.__version__} found {there}; use --device cpu")
