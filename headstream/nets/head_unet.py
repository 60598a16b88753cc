"""The ResNet-34 U-Net of okaris/head-segmentation, layer for layer and name for name.

Ronneberger et al., "U-Net", arXiv:1505.04597, in the form segmentation_models_pytorch gives it: nearest upsampling, skips
concatenated, two 3x3 convolutions with batch normalisation a level, decoder of 512, 256, 128, 64, 32 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstream.nets.resnet import ResNet34Encoder


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class UpBlock(nn.Module):
    """Twice the size, the skip beside it, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs + skip, outputs)
        self.conv2 = _conv(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], 1)
        result: Tensor = self.conv2(self.conv1(x))
        return result


class UNetDecoder(nn.Module):
    """Five blocks, from stride 32 to full size; the last has no skip."""

    def __init__(self, channels: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        skips = (*reversed(channels[:-1]), 0)
        inputs = (channels[-1], *widths[:-1])
        self.blocks = nn.ModuleList(UpBlock(i, s, o) for i, s, o in zip(inputs, skips, widths, strict=True))

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        skips: list[Tensor | None] = [*reversed(features[:-1]), None]
        for block, skip in zip(self.blocks, skips, strict=True):
            x = block(x, skip)
        return x


class HeadUNet(nn.Module):
    """Picture (N, 3, H, W), normalised by ImageNet's mean and std -> logits (N, outputs, H, W); H, W multiples of 32.

    width: channels of the first decoder block; each further one has half as many.
    """

    def __init__(self, outputs: int = 2, *, width: int = 512) -> None:
        super().__init__()
        widths = tuple(width // 2**level for level in range(5))
        self.encoder = ResNet34Encoder()
        self.decoder = UNetDecoder(self.encoder.channels, widths)
        self.segmentation_head = nn.Sequential(nn.Conv2d(widths[-1], outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(x)))
        return logits
