"""Segmentation on ONNX Runtime. The only file that imports onnxruntime."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np

from headstream.errors import ModelError
from headstream.segment.registry import ModelCard, find_model
from headstream.types import Float32Array, Part, UInt8Array

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxSegmenter:
    """A network from an .onnx file, on the CPU or what else ONNX Runtime offers here.

    side: pixels of the square the network looks at; crops of that size are passed on unscaled.  device: what it runs on.
    Safe to call from several threads.
    """

    def __init__(self, card: ModelCard, *, device: str = "auto", threads: int | None = None) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        card.check()
        self.card, self.side = card, card.side
        self.device = _device(device, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads sleep: decoding and encoding need the cores in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.threads = int(options.intra_op_num_threads)
        try:
            self._session = onnxruntime.InferenceSession(str(card.file), options, providers=[_PROVIDERS[self.device]])
        except Exception as error:  # onnxruntime raises its own classes, unknown to Python's hierarchy
            raise ModelError(f"model {card.file} does not load: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        """(N, H, W, 3) uint8 -> alpha (N, H, W) float32, 0..1. The picture is the crop. Raises ValueError for another
        shape, ModelError for a part the network does not know."""
        if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be (N, H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        if part not in self.card.outputs:
            raise ModelError(f"model {self.card.name} knows {', '.join(self.card.outputs)}, not {part!r}")
        count, height, width = rgb.shape[:3]
        if count == 0:
            return np.zeros((0, height, width), np.float32)
        same = (height, width) == (self.side, self.side)
        crops = rgb if same else np.stack([_resized(p, self.side, self.side) for p in rgb])
        alpha = self._run(crops)[:, self.card.outputs.index(part)]
        return alpha if same else np.stack([_resized(a, height, width) for a in alpha])

    def _run(self, crops: UInt8Array) -> Float32Array:
        """(N, side, side, 3) uint8 -> (N, planes, side, side) float32."""
        fed: Any = np.ascontiguousarray(crops)
        if self.card.mean is not None and self.card.std is not None:
            fed = (fed.astype(np.float32) - np.array(self.card.mean, np.float32)) / np.array(self.card.std, np.float32)
            fed = np.ascontiguousarray(fed.transpose(0, 3, 1, 2))
        (alpha,) = self._session.run(None, {self._input: fed})
        result: Float32Array = alpha
        return result


def _resized(image: Any, height: int, width: int) -> Any:
    shrinks = image.shape[0] > height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _device(wanted: str, available: list[str]) -> str:
    if wanted in {"auto", "cpu"}:
        return "cpu"
    if wanted not in _PROVIDERS:
        raise ModelError(f"device {wanted!r} is not known; known: auto, {', '.join(_PROVIDERS)}")
    if _PROVIDERS[wanted] not in available:
        raise ModelError(
            f"device {wanted!r} is not here: this ONNX Runtime offers {', '.join(available)}; use --device cpu"
        )
    return wanted


def load_segmenter(name: str = "default", *, device: str = "auto", threads: int | None = None) -> OnnxSegmenter:
    """A segmenter by name of shipped weights ("default", "lite") or path of an .onnx file with its card beside it.

    device: "auto", "cpu" or "cuda"; a device that is not here is an error, never a silent fall-back.
    Raises ModelError.
    """
    return OnnxSegmenter(find_model(name), device=device, threads=threads)
