"""The head-segmentation U-Net as diffusers stores it: config.json and diffusion_pytorch_model.safetensors."""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from headstream.nets.head_unet import HeadUNet


class HeadSegmentationModel(ModelMixin, ConfigMixin):
    """``HeadUNet`` under the class name and configuration of okaris/head-segmentation."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        encoder_depth: int = 5,
        input_resolution: int = 512,
        decoder_width: int | None = None,
    ) -> None:
        super().__init__()
        if (in_channels, encoder_depth) != (3, 5):
            raise ValueError(f"in_channels {in_channels} and encoder_depth {encoder_depth} are not 3 and 5")
        # The original project takes the decoder's width from the input's size; others write the size alone another.
        net = HeadUNet(out_channels, width=decoder_width or input_resolution)
        self.encoder, self.decoder, self.segmentation_head = net.encoder, net.decoder, net.segmentation_head

    def forward(self, x: Tensor) -> Tensor:
        """Normalised picture (N, 3, H, W) -> logits (N, out_channels, H, W)."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(x)))
        return logits
