"""The lite U-Net: an EfficientNet-Lite encoder without its last stage, and a plain narrow decoder.

Encoder: Liu et al., "EfficientNet-Lite" (TensorFlow blog, 2020), after Tan and Le, arXiv:1905.11946: no squeeze-and-
excite, ReLU6, so that it quantises well. State-dict names are those of the public ImageNet checkpoints, which load as
they are. Decoder: nearest upsampling, skip concatenated, one 3x3 convolution a level; the last step from stride 2 to
full size is a pixel shuffle, which costs a quarter of a convolution at full size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (expand ratio, kernel, stride, channels, repeats) of EfficientNet-B0; the Lite family scales width and depth.
_STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4))
# name -> (width, depth) multipliers
ENCODERS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4)}
# stages whose output is the last at its stride: 2, 4, 8, 16, 32
_SKIPS = (0, 1, 2, 4, 5)


def _round_channels(channels: float) -> int:
    """Nearest multiple of 8, never more than 10 % below ``channels`` (the published rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """Inverted residual without squeeze-and-excite. Attribute names are the checkpoint's."""

    def __init__(self, inputs: int, outputs: int, *, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self._has_expand = expand != 1
        if self._has_expand:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self._residual = stride == 1 and inputs == outputs
        self._act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self._act(self._bn0(self._expand_conv(x))) if self._has_expand else x
        y = self._act(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._residual else y


class EfficientNetLiteEncoder(nn.Module):
    """Picture (N, 3, H, W) -> five feature maps at stride 2, 4, 8, 16, 32. ``channels`` lists their widths."""

    def __init__(self, name: str = "lite0") -> None:
        super().__init__()
        width, depth = ENCODERS[name]
        # The Lite family never scales the stem, nor the depth of the first and last stage.
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = _norm(32)
        self._act = nn.ReLU6(inplace=True)
        blocks: list[MBConv] = []
        inputs, self._ends, channels = 32, [], []
        for index, (expand, kernel, stride, outputs, repeats) in enumerate(_STAGES):
            outputs = _round_channels(outputs * width)
            repeats = repeats if index == 0 else math.ceil(repeats * depth)
            for step in range(repeats):
                blocks.append(MBConv(inputs, outputs, expand=expand, kernel=kernel, stride=stride if step == 0 else 1))
                inputs = outputs
            if index in _SKIPS:
                self._ends.append(len(blocks) - 1)
                channels.append(outputs)
        self._blocks = nn.ModuleList(blocks)
        self.channels = tuple(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self._act(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._ends:
                features.append(x)
        return features

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load a public EfficientNet-Lite ImageNet checkpoint; the classifier and the stage we cut off are left out."""
        wanted = self.state_dict()
        missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
        if missing:
            raise ValueError(f"not an EfficientNet-Lite checkpoint of this width and depth: {missing[:3]} missing")
        self.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False)


class Decoder(nn.Module):
    """Feature maps at stride 2..32 -> (N, outputs * 4, H/2, W/2), ready for a pixel shuffle."""

    def __init__(self, skips: tuple[int, ...], widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        inputs = skips[-1]
        for skip, width in zip(reversed(skips[:-1]), widths, strict=True):
            self.blocks.append(
                nn.Sequential(
                    nn.Conv2d(inputs + skip, width, 3, padding=1, bias=False), _norm(width), nn.ReLU(inplace=True)
                )
            )
            inputs = width
        self.head = nn.Conv2d(inputs, outputs * 4, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for block, skip in zip(self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        return self.head(x)


class LiteUNet(nn.Module):
    """Picture (N, 3, H, W) in -1..1 -> logits (N, outputs, H, W). H and W must be multiples of 32.

    encoder: one of ``ENCODERS``.  widths: channels of the decoder's four levels, from stride 16 to 2.
    """

    def __init__(self, outputs: int, encoder: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = EfficientNetLiteEncoder(encoder)
        self.decoder = Decoder(self.encoder.channels, widths, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.decoder(self.encoder(x)), 2)
