"""A plain encoder-decoder: convolution, batch normalisation, ReLU; pooling down, transposed convolution up, no skips.

The network people write first, kept as the measure of what the others add.
"""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS = (32, 64, 128, 256)


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class CustomCNN(nn.Module):
    """Picture (N, 3, H, W), normalised -> logits (N, outputs, H, W); H, W multiples of 16."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        down: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            down += [_twice(inputs, width), nn.MaxPool2d(2)]
            inputs = width
        self.encoder = nn.Sequential(*down)
        up: list[nn.Module] = []
        for width in (*reversed(_WIDTHS[:-1]), 16):
            up += [nn.ConvTranspose2d(inputs, width, 2, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            up += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        self.decoder = nn.Sequential(*up)
        self.head = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.decoder(self.encoder(x)))
        return logits
