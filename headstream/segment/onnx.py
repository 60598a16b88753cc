"""Segmentation on ONNX Runtime."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import weakref
from typing import Any

import numpy as np

from headstream.errors import ModelError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import ModelCard
from headstream.segment.runtime import load_cuda, onnx_runtime
from headstream.shared.cores import cores_here
from headstream.shared.muted import muted
from headstream.types import Float32Array, UInt8Array

log = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
# Of the plugins' wheels: onnxruntime alone has cpu, and coreml on macOS.
_GPU_WHEEL = "onnxruntime-gpu[cuda,cudnn]"
_WHEELS = {"cuda": _GPU_WHEEL, "tensorrt": _GPU_WHEEL, "directml": "onnxruntime-directml"}

_BEHIND = {"tensorrt": ("cuda", "cpu")}  # what runs the operators that a device lacks; behind all others, the CPU
# They make themselves ready anew for each size of a batch, some for minutes.
_ONE_BY_ONE = {"tensorrt", "coreml", "directml"}

_ROUNDING = 0.02  # of networks in 8 bits or half precision: alpha may be so far past 0 or 1
_AT_ONCE = {"cuda": 8}  # frames of a file
# For each new size of a batch the default tries every algorithm, some of them for a second.
_OPTIONS = {"cuda": {"cudnn_conv_algo_search": "HEURISTIC"}}


class OnnxSegmenter(CropSegmenter):
    """A network from an .onnx file, on the CPU or what else ONNX Runtime offers here. Safe to call from several threads."""

    def __init__(self, card: ModelCard, *, device: str = "auto", threads: int | None = None) -> None:
        onnxruntime = onnx_runtime()
        card.check()
        chosen = _device(device, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(4, cores_here())
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads sleep: decoding and encoding need the cores in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        super().__init__(card, chosen, int(options.intra_op_num_threads))
        try:
            self._start(options)
        except ModelError as error:
            if device != "auto" or chosen == "cpu":
                raise
            log.warning("going on on the CPU: %s", error)  # nobody asked for that device
            self.device = "cpu"
            self._start(options)

    def _start(self, options: Any) -> None:
        """Load the network on ``device`` and run it once."""
        self._session = _session(self.card, self.device, options)
        first = self._session.get_inputs()[0]
        self._input = first.name
        self._float = np.float16 if first.type == "tensor(float16)" else np.float32
        # A finish that the file does not take as inputs was fixed when it was exported, and the card only tells of it.
        taken = {put.name for put in self._session.get_overridable_initializers()} & self.card.finish.keys()
        self._finish = {name: np.array(self.card.finish[name], np.float32) for name in taken}
        only = 1 if self.device in _ONE_BY_ONE else None
        self._batch = first.shape[0] if isinstance(first.shape[0], int) else only  # the only size it is given
        # DirectML's sessions are not to be shared by threads, all others are.
        self._turn: Any = threading.Lock() if self.device == "directml" else contextlib.nullcontext()
        self.at_once = 1 if self._batch else _AT_ONCE.get(self.device, 1)
        self._try_out()

    def _try_out(self) -> None:
        """Raise ModelError now, and not at some frame, for a network that is not what its card says."""
        noise = np.random.default_rng(0).integers(0, 256, (1, self.side, self.side, 3), dtype=np.uint8)
        try:
            self._run(noise)
        except ModelError:
            raise
        except Exception as error:
            told = f"model {self.card.name} on {self.device} does not run as its card says"
            raise ModelError(f"{told}: {' '.join(str(error).split())[:300]}") from error

    def _run(self, crops: UInt8Array) -> Float32Array:
        fed: Any = crops
        if self.card.mean is not None and self.card.std is not None:
            fed = (fed.astype(np.float32) - np.array(self.card.mean, np.float32)) / np.array(self.card.std, np.float32)
            fed = fed.astype(self._float, copy=False)
        if self.card.layout == "nchw":
            fed = fed.transpose(0, 3, 1, 2)
        raw = self._answered(np.ascontiguousarray(fed))
        planes = len(self.card.outputs)
        if raw.ndim == 3 and planes == 1:
            raw = raw[:, None]
        if raw.ndim == 4 and raw.shape[1] != planes == raw.shape[3]:  # TensorFlow's way
            raw = raw.transpose(0, 3, 1, 2)
        if raw.ndim != 4 or raw.shape[1] != planes:
            raise ModelError(
                f"model {self.card.name} answers {raw.shape}; its card promises (n, {planes}, height, width)"
            )
        return self._in_range(_activated(raw.astype(np.float32, copy=False), self.card.activation))

    def _in_range(self, alpha: Float32Array) -> Float32Array:
        """Refuses what is no alpha; takes off what rounding has put on."""
        low, high = float(alpha.min()), float(alpha.max())
        if low >= 0 and high <= 1:
            return alpha
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise ModelError(
                f"model {self.card.name} answers {low:.3g} to {high:.3g}, not 0 to 1; if these are logits, its card needs "
                '"activation": "sigmoid", or "softmax" for planes of which one is "background"'
            )
        clipped: Float32Array = alpha.clip(0, 1)
        return clipped

    def _answered(self, fed: Any) -> Any:
        if self._batch in (None, len(fed)):
            return self._asked(fed)
        answers = []
        for k in range(0, len(fed), self._batch):
            some = fed[k : k + self._batch]
            filled = np.concatenate([some, np.repeat(some[-1:], self._batch - len(some), axis=0)])
            answers.append(self._asked(filled)[: len(some)])
        return np.concatenate(answers)

    def _asked(self, fed: Any) -> Any:
        with self._turn:
            return self._session.run(None, {self._input: fed, **self._finish})[0]


def _session(card: ModelCard, device: str, options: Any) -> Any:
    """A network loaded on a device. Raises ModelError where it does not load, or there is no such device that works."""
    onnxruntime = onnx_runtime()
    # The CPU stands behind every other device for the odd operator that it lacks, not instead of it.
    devices = (device, *_BEHIND.get(device, ("cpu",) if device != "cpu" else ()))
    wanted = [(PROVIDERS[name], _OPTIONS.get(name, {})) for name in devices]
    if device != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        if "cuda" in devices:
            load_cuda()
        with muted("onnxruntime"):  # of a device that is not there: told below
            # Its own fall-backs would come in the middle of a film, too, and print on stdout.
            session = onnxruntime.InferenceSession(str(card.file), options, providers=wanted, enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own classes, unknown to Python's hierarchy
        raise ModelError(f"model {card.file} does not load on {device}: {error}") from error
    _sessions.add(session)
    if PROVIDERS[device] not in session.get_providers():
        raise ModelError(f"device {device!r} did not start (driver or library missing); use --device cpu")
    if device != "cpu":
        _check_used(session, card, device)
    return session


_sessions: weakref.WeakSet[Any] = weakref.WeakSet()


def _forked() -> None:
    """Whoever frees a session waits for its threads, and a forked child has none of its parent's: there they are never freed,
    not when the interpreter goes down either, whoever holds them."""
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _check_used(session: Any, card: ModelCard, device: str) -> None:
    """Raise ModelError where the device runs nothing of the network, and tell where it runs less than half of what is heavy."""
    if not hasattr(session, "get_provider_graph_assignment_info"):  # an older ONNX Runtime
        return
    parts = [
        (x.ep_name, [node.op_type for node in x.get_nodes()]) for x in session.get_provider_graph_assignment_info()
    ]
    here = [name for provider, names in parts if provider == PROVIDERS[device] for name in names]
    if not here:
        raise ModelError(f"device {device!r} runs nothing of model {card.name}; use --device cpu")
    heavy, all_heavy = (sum("Conv" in name for name in names) for names in (here, [n for _, ns in parts for n in ns]))
    if 2 * heavy < all_heavy:
        told = (device, heavy, all_heavy, card.name)
        log.warning("device %r runs %d of %d convolutions of model %s; others run the rest", *told)


def _activated(raw: Float32Array, activation: str) -> Float32Array:
    if activation == "none":
        return raw
    if activation == "sigmoid":
        sigmoid: Float32Array = (1 / (1 + np.exp(-np.clip(raw, -60, 60)))).astype(np.float32)
        return sigmoid
    exponent = np.exp(raw - raw.max(axis=1, keepdims=True))
    softmax: Float32Array = exponent / exponent.sum(axis=1, keepdims=True)
    return softmax


def _device(wanted: str, available: list[str]) -> str:
    if wanted == "auto":
        return "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if wanted == "mps":
        raise UsageError(f"device 'mps' is for networks in torch (.pt); this one takes auto, {', '.join(PROVIDERS)}")
    if wanted not in PROVIDERS:
        raise UsageError(f"device {wanted!r} is not known; known: auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[wanted] not in available:
        wheel = _WHEELS.get(wanted)
        advice = (
            f"pip uninstall onnxruntime, pip install '{wheel}', or use --device cpu" if wheel else "use --device cpu"
        )
        raise ModelError(f"device {wanted!r} is not here: this ONNX Runtime offers {', '.join(available)}; {advice}")
    return wanted
