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
        found = ", ".join(name for name, there in here.items() if there)
        raise ModelError(f"device {wanted!r} is not here: torch {torch.__version__} found {found}; use --device cpu")
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device {wanted!r} is none: expected {kind}, or {kind}:0, {kind}:1 and so on") from error
