"""Segmentation on torch: the networks headstream trains, and others' head networks, on CUDA, MPS or the CPU."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Sequence

import numpy as np
import torch

from headstream.errors import ModelError
from headstream.nets.device import choose_device
from headstream.nets.formats import Network
from headstream.nets.zoo import alpha_of, as_called
from headstream.segment.crops import CropSegmenter
from headstream.segment.device_crops import DeviceCrops
from headstream.segment.places import Place
from headstream.segment.recorded import RecordedNet
from headstream.segment.registry import ModelCard
from headstream.types import Float32Array, Part, UInt8Array

log = logging.getLogger(__name__)

_LARGEST_BATCH = 32
_FRAMES_AT_ONCE = 8

if hasattr(os, "register_at_fork"):  # torch waits for ever there for the threads that OpenMP had in the parent
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class TorchSegmenter(CropSegmenter):
    """A torch network. On CUDA and MPS it makes its crops itself; on CUDA in half precision, where the matrix units are,
    and as CUDA graphs. Safe to call from several threads, one after the other there: pictures pass through one buffer."""

    def __init__(self, network: Network, *, device: str = "auto") -> None:
        chosen = choose_device(device)
        card = ModelCard(
            name=network.name,
            kind="segmenter",
            file=network.file,
            sha256="",
            revision=network.revision,
            licence="that of its authors",
            side=network.side,
            outputs=network.spec.known,
            details={"network": network.spec.net, "parameters": sum(p.numel() for p in network.net.parameters())},
        )
        super().__init__(card, str(chosen), torch.get_num_threads())
        self._outputs = network.spec.outputs
        self._turn = threading.Lock()
        try:
            self._start(network, chosen)
        except ModelError as error:
            if device != "auto" or chosen.type == "cpu":
                raise
            log.warning("going on on the CPU: %s", error)  # nobody asked for that device
            self._start(network, torch.device("cpu"))

    def _start(self, network: Network, chosen: torch.device) -> None:
        """Put a copy of the network on a device, and run it once there. Raises ModelError where that cannot be."""
        self.device = str(chosen)
        self.makes_crops = chosen.type != "cpu"
        self.at_once = _FRAMES_AT_ONCE if self.makes_crops else 1
        self._crops = DeviceCrops(chosen, self.side)
        self._dtype = torch.float16 if chosen.type == "cuda" else torch.float32
        try:
            called = as_called(copy.deepcopy(network.net).eval().requires_grad_(False), network.spec)
            called = called.to(chosen, self._dtype, memory_format=torch.channels_last)
            self._net = RecordedNet(called) if chosen.type == "cuda" else called
            if self.makes_crops:
                self._run(np.zeros((1, self.side, self.side, 3), np.uint8))
        except RuntimeError as error:
            told = " ".join(str(error).split())[:200]
            raise ModelError(f"device {self.device!r} does not run {self.name}: {told}; use --device cpu") from error

    @torch.inference_mode()
    def predict_places(self, places: Sequence[Place], parts: Sequence[Part]) -> tuple[UInt8Array, Float32Array]:
        """Crops (N, S, S, 3) uint8 of squares of pictures, and like ``predict_parts`` what the network says of them:
        (P, N, S, S)."""
        planes = self._planes(parts)
        if not places:
            side = self.side
            return np.zeros((0, side, side, 3), np.uint8), np.zeros((len(planes), 0, side, side), np.float32)
        with self._turn:
            crops = self._crops(places)
            alpha = self._answer(crops)[:, planes].swapaxes(0, 1)
            return crops.cpu().numpy(), self._checked(alpha.cpu().numpy())

    def _planes(self, parts: Sequence[Part]) -> list[int]:
        super()._planes(parts)
        return [self._outputs.index(part) for part in parts]

    @torch.inference_mode()
    def _run(self, crops: UInt8Array) -> Float32Array:
        if not self.makes_crops:
            return self._checked(self._answer(torch.from_numpy(crops)).numpy())
        with self._turn:
            return self._checked(self._answer(self._crops.uploaded([crops])[0]).cpu().numpy())

    def _checked(self, alpha: Float32Array) -> Float32Array:
        """Raises ModelError where it is no number, which cuts nothing."""
        if alpha.min(initial=0) >= 0:  # NaN is not
            return alpha
        why = ", or too large for half precision: use --device cpu" if self._dtype == torch.float16 else ""
        raise ModelError(f"model {self.name} answers NaN on {self.device}; its weights are damaged{why}")

    def _answer(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, S, S, 3) of any number type -> alpha (N, outputs, S, S)."""
        # Seen as (N, 3, S, S), that is channels_last as it lies: nothing is moved on the way.
        x = crops.permute(0, 3, 1, 2).to(self._dtype)
        return torch.cat([alpha_of(self._net(some).float(), self._outputs) for some in x.split(_LARGEST_BATCH)])
