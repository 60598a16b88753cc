"""Segmentation on torch: the networks headstream trains, and others' head networks, on CUDA, MPS or the CPU."""

from __future__ import annotations

import torch

from headstream.nets.device import choose_device
from headstream.nets.formats import Network
from headstream.nets.zoo import alpha_of, as_called
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import ModelCard
from headstream.types import Float32Array, UInt8Array

_LARGEST_BATCH = 32
_FRAMES_AT_ONCE = 8


class TorchSegmenter(CropSegmenter):
    """A torch network. Half precision on CUDA, where the matrix units are; single elsewhere. Not safe to share between
    threads on CUDA, where pictures pass through one pinned buffer."""

    def __init__(self, network: Network, *, device: str = "auto") -> None:
        chosen = choose_device(device)
        card = ModelCard(
            name=network.name,
            kind="segmenter",
            file=network.file,
            sha256="",
            licence="that of its authors",
            side=network.side,
            outputs=network.spec.outputs,
            details={"network": network.spec.net, "parameters": sum(p.numel() for p in network.net.parameters())},
        )
        super().__init__(card, str(chosen), torch.get_num_threads())
        self._on = chosen
        self.at_once = _FRAMES_AT_ONCE if chosen.type != "cpu" else 1
        self._dtype = torch.float16 if chosen.type == "cuda" else torch.float32
        called = as_called(network.net.eval().requires_grad_(False), network.spec)
        self._net = called.to(chosen, self._dtype, memory_format=torch.channels_last)
        self._staging: torch.Tensor | None = None

    @torch.inference_mode()
    def _run(self, crops: UInt8Array) -> Float32Array:
        parts = [self._batch(crops[k : k + _LARGEST_BATCH]) for k in range(0, len(crops), _LARGEST_BATCH)]
        alpha: Float32Array = torch.cat(parts).cpu().numpy()
        return alpha

    def _batch(self, crops: UInt8Array) -> torch.Tensor:
        # (N, H, W, 3) seen as (N, 3, H, W) is channels_last as it lies: nothing is moved on the way.
        x = self._uploaded(crops).permute(0, 3, 1, 2).to(self._dtype)
        return alpha_of(self._net(x).float(), self.card.outputs)

    def _uploaded(self, crops: UInt8Array) -> torch.Tensor:
        """The crops on the device; to CUDA by way of page-locked memory, which copies at the bus's own speed."""
        pictures = torch.from_numpy(crops)
        if self._on.type != "cuda":
            return pictures.to(self._on)
        if self._staging is None or self._staging.shape[0] < len(crops):
            self._staging = torch.empty(pictures.shape, dtype=torch.uint8, pin_memory=True)
        staged = self._staging[: len(crops)]
        staged.copy_(pictures)
        return staged.to(self._on)  # waits: the next batch goes into the same memory
