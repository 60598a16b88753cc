"""DeepLabV3 on ResNet-34: atrous spatial pyramid pooling with image pooling.

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv:1706.05587.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstream.nets.resnet import ResNet34Encoder

_RATES = {16: (6, 12, 18), 8: (12, 24, 36), 32: (3, 6, 9)}
STRIDES = tuple(sorted(_RATES))
_WIDTH = 256  # channels, as published


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation if kernel == 3 else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class AtrousPyramid(nn.Module):
    """Five views of the same features, near to far, the last of the whole picture."""

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.views = nn.ModuleList([_conv(inputs, width, 1), *(_conv(inputs, width, 3, rate) for rate in rates)])
        # No batch normalisation on one value a channel: with a batch of one it has no variance.
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))
        self.project = nn.Sequential(_conv(width * (len(rates) + 2), width, 1), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        views = [view(x) for view in self.views]
        whole = self.whole(x).expand(-1, -1, *x.shape[2:])
        mixed: Tensor = self.project(torch.cat([*views, whole], 1))
        return mixed


class DeepLabV3(nn.Module):
    """Picture (N, 3, H, W), normalised -> logits (N, outputs, H, W), bilinear from ``output_stride`` (8, 16 or 32)."""

    def __init__(self, outputs: int = 1, *, output_stride: int = 16) -> None:
        super().__init__()
        self.encoder = ResNet34Encoder(output_stride)
        self.pyramid = AtrousPyramid(self.encoder.channels[-1], _WIDTH, _RATES[output_stride])
        self.classifier = nn.Sequential(_conv(_WIDTH, _WIDTH, 3), nn.Conv2d(_WIDTH, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.classifier(self.pyramid(self.encoder(x)[-1]))
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
