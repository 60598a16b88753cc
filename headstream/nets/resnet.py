"""A ResNet-34 encoder, written here because torchvision has no CPU-only build.

He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385. State-dict names are torchvision's, so its
checkpoints, and those of everything built on it, load as they are.
"""

from __future__ import annotations

from torch import Tensor, nn

_DEPTHS = (3, 4, 6, 3)
_WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        total: Tensor = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return total


class ResNet34Encoder(nn.Module):
    """Picture (N, 3, H, W) -> feature maps at stride 2, 4, 8, 16, 32 of 64, 64, 128, 256, 512 channels.

    output_stride: 32; or 16 or 8, where later stages widen their view by dilation instead of shrinking the picture.
    """

    channels = (64, 64, 128, 256, 512)

    def __init__(self, output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs, reached, dilation = 64, 4, 1
        for index, (depth, width) in enumerate(zip(_DEPTHS, _WIDTHS, strict=True)):
            stride = 1 if index == 0 else 2
            if stride == 2 and reached >= output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            blocks = [BasicBlock(inputs, width, stride=stride, dilation=dilation)]
            blocks += [BasicBlock(width, width, dilation=dilation) for _ in range(depth - 1)]
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
            inputs = width

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1(x)))
        features = [x]
        x = self.maxpool(x)
        for index in range(1, 5):
            x = getattr(self, f"layer{index}")(x)
            features.append(x)
        return features
