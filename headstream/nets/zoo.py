"""Every network headstream trains, by name: how to build it, what it wants to see, how to ask it about any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstream.errors import ModelError
from headstream.nets.custom_cnn import CustomCNN
from headstream.nets.deeplab import STRIDES, DeepLabV3
from headstream.nets.head_unet import HeadUNet
from headstream.nets.lite import ENCODERS, LiteUNet

LEVELS = 4  # of the lite decoder
_HALF = ((127.5,) * 3, (127.5,) * 3)
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # of 0..255


@dataclass(frozen=True)
class NetSpec:
    """All it takes to build a network again.

    net: "lite", "unet34", "deeplabv3" or "custom-cnn".  outputs: names of its planes.  encoder, decoder: of the lite
    U-Net.  output_stride: of DeepLabV3.  side: pixels of the square crops it is trained for and called with.
    untaught: planes that nothing it was trained on told it of; two specs that differ in these build the same network.
    """

    net: str = "lite"
    outputs: tuple[str, ...] = ("head", "hair", "body")
    encoder: str = "lite0"
    decoder: tuple[int, ...] = (48, 32, 24, 16)
    output_stride: int = 16
    side: int = 256
    untaught: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.net not in NETS:
            raise ModelError(f"network {self.net!r} is not known; known: {', '.join(NETS)}")
        if self.encoder not in ENCODERS:
            raise ModelError(f"encoder {self.encoder!r} is not known; known: {', '.join(ENCODERS)}")
        if len(self.decoder) != LEVELS or not all(type(width) is int and width > 0 for width in self.decoder):
            raise ModelError(f"decoder {list(self.decoder)}: expected {LEVELS} widths, in channels")
        if self.output_stride not in STRIDES:
            raise ModelError(f"output_stride {self.output_stride!r}: expected one of {', '.join(map(str, STRIDES))}")
        if not isinstance(self.outputs, tuple) or not self.outputs or not all(type(x) is str for x in self.outputs):
            raise ModelError(f"outputs {self.outputs!r}: expected names of planes")
        if not isinstance(self.untaught, tuple) or not set(self.untaught) <= set(self.outputs):
            raise ModelError(f"untaught {self.untaught!r}: expected some of {', '.join(self.outputs)}")
        if type(self.side) is not int or self.side < 1:
            raise ModelError(f"side {self.side!r}: expected pixels")

    @property
    def known(self) -> tuple[str, ...]:
        """The planes that it can be asked for; all, where it was taught none."""
        return tuple(name for name in self.outputs if name not in self.untaught) or self.outputs

    def as_dict(self) -> dict[str, Any]:
        """As kept in checkpoints."""
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> NetSpec:
        """From a checkpoint; keys that older ones lack keep their defaults. Raises ModelError."""
        try:
            known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
            return NetSpec(**known)
        except (AttributeError, TypeError) as error:
            raise ModelError(f"what a checkpoint says of its network cannot be: {error}") from error


# name -> (builder, (mean, std) of 0..255 input, what sizes must be a multiple of)
NETS: dict[str, tuple[Callable[[NetSpec], nn.Module], tuple[tuple[float, ...], tuple[float, ...]], int]] = {
    "lite": (lambda spec: LiteUNet(len(spec.outputs), spec.encoder, spec.decoder), _HALF, 32),
    "unet34": (lambda spec: HeadUNet(len(spec.outputs)), _IMAGENET, 32),
    "deeplabv3": (lambda spec: DeepLabV3(len(spec.outputs), output_stride=spec.output_stride), _IMAGENET, 16),
    "custom-cnn": (lambda spec: CustomCNN(len(spec.outputs)), _HALF, 16),
}


def build(spec: NetSpec) -> nn.Module:
    """A new network."""
    return NETS[spec.net][0](spec)


class Sees(nn.Module):
    """A network as it is called from outside: (N, 3, H, W) of 0..255 in, logits (N, outputs, H, W) out, any size.

    Normalises, pads the right and lower border to the sizes the network takes, and crops the answer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], multiple: int) -> None:
        super().__init__()
        self.net, self.multiple = net, multiple
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        height, width = rgb.shape[2:]
        x = (rgb - self.mean) / self.std
        right, below = -width % self.multiple, -height % self.multiple
        if right or below:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.net(x)
        return logits[:, :, :height, :width] if right or below else logits


def alpha_of(logits: Tensor, outputs: tuple[str, ...]) -> Tensor:
    """Logits (N, outputs, H, W) -> alpha 0..1 of each: exclusive classes where one is "background", else each its own."""
    return torch.softmax(logits, 1) if "background" in outputs else torch.sigmoid(logits)


def as_called(net: nn.Module, spec: NetSpec) -> Sees:
    """``net`` wrapped for pictures of 0..255 and any size."""
    _, (mean, std), multiple = NETS[spec.net]
    return Sees(net, mean, std, multiple)
