"""Weights from files, whoever wrote them: safetensors, and pickles only where torch can read them without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstream.errors import ModelError
from headstream.nets.zoo import NetSpec, build
from headstream.shared.muted import muted


def read_pickle(path: Path) -> dict[str, Any]:
    """The contents of a .pt or .ckpt file, by ``weights_only`` loading. Raises ModelError for anything else."""
    try:
        with muted("torch"):  # of pickles it is about to refuse
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error) or "damaged").splitlines()[0][:160]
        raise ModelError(f"{path} cannot be loaded safely (weights only): {reason}") from error
    except Exception as error:  # of many classes; torch says how to load it all the same, which nobody should
        raise ModelError(
            f"{path} cannot be loaded safely: it is no checkpoint, or one with objects in it that loading would run"
        ) from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds a {type(state).__name__}, not a checkpoint")
    return state


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of a headstream training run. Raises ModelError if it is not one."""
    state = read_pickle(path)
    if missing := {"ema", "spec"} - state.keys():
        raise ModelError(f"{path} is not a headstream training checkpoint: {', '.join(sorted(missing))} missing")
    return state


def load_trained(path: Path) -> tuple[nn.Module, NetSpec]:
    """The averaged network of a training checkpoint, ready to predict, and what it is."""
    state = load_checkpoint(path)
    spec = NetSpec.from_dict(state["spec"])
    return fill(build(spec), state["ema"], path).eval(), spec


def load_averaged(paths: Sequence[Path]) -> tuple[nn.Module, NetSpec]:
    """The mean of several checkpoints of one network: often better than each (Wortsman et al., arXiv:2203.05482).

    They must lie on one training path or start from one network; the mean knows the planes that each of them was taught.
    Raises ModelError if they are different networks.
    """
    loaded = [load_trained(path) for path in paths]
    net, spec = loaded[0]
    for path, (_, other) in zip(paths, loaded, strict=True):
        if other != spec:
            raise ModelError(f"{path} is another network than {paths[0]}; only checkpoints of one can be averaged")
    states = [one.state_dict() for one, _ in loaded]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    untaught = tuple(plane for plane in spec.outputs if any(plane in other.untaught for _, other in loaded))
    return fill(net, mean, paths[0]).eval(), replace(spec, untaught=untaught)


def fill(net: nn.Module, state: dict[str, Tensor], path: Path) -> nn.Module:
    """Load ``state`` into ``net``. Raises ModelError naming what does not fit."""
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ModelError(f"{path} does not fit the network: {' '.join(lines[1:3] or lines)[:240]}") from error
    return net
