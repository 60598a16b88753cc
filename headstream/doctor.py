"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from headstream.errors import HeadstreamError
from headstream.segment.runtime import onnx_runtime
from headstream.shared.libraries import remedy

# By the names they are installed and imported by, those first that others need.
_REQUIRED = {
    "numpy": "numpy",
    "opencv-contrib-python": "cv2",
    "mediapipe": "mediapipe",
    "onnxruntime": "onnxruntime",
    "av": "av",
    "pillow": "PIL.Image",
    "typer": "typer",
    "rich": "rich",
}
_OPTIONAL = {
    "pi-heif": "HEIC and AVIF photos: pip install pi-heif",
    "torch": "training and the torch back-end: pip install 'headstream[train]' or 'headstream[torch]'",
    "matplotlib": "curves of training and tracks: pip install 'headstream[train]'",
    "onnx": "export: pip install 'headstream[train]'",
    "pyvirtualcam": "a virtual camera: pip install 'headstream[vcam]' (GPL-2)",
    "diffusers": "head networks from folders and the hub: pip install 'headstream[torch]'",
    "safetensors": "head networks from folders and the hub: pip install 'headstream[torch]'",
    "starlette": "the studio and the overlay: pip install 'headstream[studio]'",
    "uvicorn": "the studio and the overlay: pip install 'headstream[studio]'",
    "websockets": "the studio: pip install 'headstream[studio]'",
    "mss": "cutting what is on the screen: pip install 'headstream[screen]'",
    "fsspec": "batches from and to object stores: pip install 'headstream[cluster]'",
    "s3fs": "batches on s3://: pip install 'headstream[cluster]'",
    "ray": "batches on a cluster: pip install 'headstream[cluster]'",
}
_ENCODERS = {
    "prores_aw": ".mov with alpha (ProRes 4444)",
    "prores_ks": ".mov of odd widths",
    "libvpx-vp9": ".webm with alpha (VP9)",
    "ffv1": ".mkv with alpha, lossless (FFV1)",
    "libx264": ".mp4 over a background (H.264)",
    "png": "PNG sequences",
    "libwebp_anim": "animated .webp",
    "apng": ".apng",
    "gif": ".gif",
    "aac": "AAC sound",
    "libopus": "Opus sound for .webm",
}
_DECODERS = ("h264", "hevc", "vp9", "libdav1d", "prores", "mjpeg", "gif", "ffv1", "mpeg4")


@dataclass(frozen=True)
class Finding:
    """One line of the report. state: "ok", "missing" (something works less) or "broken" (the main job fails)."""

    topic: str
    name: str
    state: str
    note: str


def examine() -> list[Finding]:
    """Everything headstream depends on here, tried for real: imports, encoders, weights, detectors, one inference."""
    found = [
        Finding("system", "python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", "platform", "ok", f"{platform.platform()}, {os.cpu_count()} cores"),
    ]
    required = [_package(name, module) for name, module in _REQUIRED.items()]
    found += required + _optional_packages() + _codecs() + _models()
    lacking = ", ".join(row.name for row in required if row.state != "ok")
    if lacking:  # nothing is learnt from trying: OpenCV's second import tells another error than its first
        return [*found, Finding("run", "portrait", "broken", f"not tried without {lacking}")]
    return found + _devices() + _virtual_camera() + _microphones() + _inference()


def _package(name: str, module: str) -> Finding:
    """Whether it loads, which its being installed does not tell: system libraries may be missing."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # some print what they lack where --json belongs
            _load(module)
    except HeadstreamError as error:
        return Finding("package", name, "broken", str(error))
    except (ImportError, OSError) as error:
        return Finding("package", name, "broken", remedy(error))
    try:
        return Finding("package", name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding("package", name, "ok", "from another wheel")


def _load(module: str) -> None:
    """Import a package the way headstream does."""
    if module == "onnxruntime":
        onnx_runtime()
    elif module == "mediapipe":
        from headstream.track.faces import load_mediapipe

        load_mediapipe()
    else:
        importlib.import_module(module)


def _optional_packages() -> list[Finding]:
    rows = []
    for name, why in _OPTIONAL.items():
        try:
            rows.append(Finding("package", name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append(Finding("package", name, "missing", why))
    return rows


def _codecs() -> list[Finding]:
    try:
        import av
    except ImportError as error:
        return [Finding("codec", "av", "broken", remedy(error))]
    rows = []
    for mode, names in (("w", tuple(_ENCODERS)), ("r", _DECODERS)):
        for name in names:
            try:
                av.Codec(name, mode)
                state = "ok"
            except (ValueError, av.error.FFmpegError):
                state = "missing"
            note = _ENCODERS[name] if mode == "w" else "decodes"
            rows.append(Finding("encoder" if mode == "w" else "decoder", name, state, note))
    return rows


def _models() -> list[Finding]:
    from headstream.segment.registry import shipped_models

    rows = []
    try:
        for card in shipped_models():
            try:
                card.check()
                rows.append(Finding("model", card.name, "ok", f"sha256 {card.sha256[:16]}... {card.licence}"))
            except HeadstreamError as error:
                rows.append(Finding("model", card.name, "broken", str(error)))
    except HeadstreamError as error:
        rows.append(Finding("model", "models", "broken", str(error)))
    return rows


def _devices() -> list[Finding]:
    from headstream.segment.load import load_segmenter
    from headstream.segment.onnx import PROVIDERS

    offered = onnx_runtime().get_available_providers()
    rows = [Finding("device", "cpu", "ok", "ONNX Runtime, the default")]
    there = [name for name, provider in PROVIDERS.items() if provider in offered and name != "cpu"]
    rows += [_tried(name, "ONNX Runtime", lambda device: load_segmenter(device=device)) for name in there]
    if "cuda" not in there:
        note = "needs an NVIDIA GPU and another wheel: pip uninstall onnxruntime, pip install 'onnxruntime-gpu[cuda,cudnn]'"
        rows.append(Finding("device", "cuda", "missing", note))
    return rows + _torch_devices()


def _torch_devices() -> list[Finding]:
    """What --device takes for networks that run on torch."""
    try:
        import torch

        from headstream.nets.device import choose_device
    except (ImportError, OSError):
        return []  # told among the packages

    def convolved(device: str) -> object:
        there = choose_device(device)  # a copy alone succeeds on a card that torch has no kernels for
        return torch.nn.Conv2d(3, 4, 3).to(there)(torch.ones(1, 3, 8, 8, device=there)).sum().item()

    return [_tried(name, f"torch {torch.__version__}", convolved) for name in ("cuda", "mps")]


def _tried(device: str, runtime: str, start: Callable[[str], object]) -> Finding:
    """What comes of starting something on a device."""
    try:
        start(device)
    except (HeadstreamError, RuntimeError) as error:  # torch's way to say that a driver does not work
        return Finding("device", device, "missing", f"{runtime}: {' '.join(str(error).split())[:200]}")
    return Finding("device", device, "ok", runtime)


def _virtual_camera() -> list[Finding]:
    from headstream.sinks.vcam import examine as examine_camera

    return [Finding("vcam", what, "ok" if well else "missing", note) for what, well, note in examine_camera()]


def _microphones() -> list[Finding]:
    from headstream.capture.microphone import list_microphones

    try:
        names = list_microphones()
    except HeadstreamError as error:
        return [Finding("microphone", "none", "missing", str(error))]
    rows = [Finding("microphone", name, "ok", "for live --record --microphone") for name in names]
    return rows or [Finding("microphone", "none", "missing", "the system names none")]


def _inference() -> list[Finding]:
    """The detectors and the network on the portrait that comes along: found, or what went wrong."""
    try:
        from headstream.api import cut_image
        from headstream.demo import PORTRAIT

        found = len(cut_image(PORTRAIT))
    except (HeadstreamError, OSError) as error:
        return [Finding("run", "portrait", "broken", str(error))]
    state = "ok" if found == 1 else "broken"
    return [Finding("run", "portrait", state, f"{found} head found and cut")]
