"""From what a user calls a model to a segmenter that runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from headstream.errors import ModelError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import find_model

_TORCH_FILES = {".pt", ".ckpt", ".safetensors"}


def load_segmenter(
    name: str | Path = "default", *, device: str = "auto", threads: int | None = None, fast: bool = False
) -> CropSegmenter:
    """A segmenter by name of shipped weights, by file or folder, or from the Hugging Face hub.

    name: "default", "lite" or "lite-int8"; an .onnx file with its card beside it; a .pt of ``headstream train``; a
    .safetensors or Lightning .ckpt of the head-segmentation U-Net; a folder of diffusers' format; "owner/name" or
    "owner/name@revision" on the hub, which is asked only if the weights are not in its cache (and never with
    HF_HUB_OFFLINE=1).  device: "auto", "cpu", "cuda", and for ONNX "tensorrt", "coreml", "directml", for torch "mps"; a
    device that is not here is an error, never a silent fall-back.  threads: of ONNX Runtime.
    fast: whether "default" means the weights for video, in 8 bits, and not those for photos.  Raises ModelError.
    """
    path, name = Path(name), str(name)
    if path.suffix in _TORCH_FILES or path.is_dir() or _is_hub_name(name):
        if importlib.util.find_spec("torch") is None:
            raise UsageError(f"model {name} needs torch: pip install 'headstream[torch]'")
        from headstream.nets.formats import load_network
        from headstream.segment.torch_net import TorchSegmenter

        return TorchSegmenter(load_network(name), device=device)
    from headstream.segment.onnx import OnnxSegmenter

    return OnnxSegmenter(find_model(name, fast=fast), device=device, threads=threads)


def _is_hub_name(name: str) -> bool:
    """owner/name, where no such path exists: ./models/x and C:\\x are paths, so is anything with a suffix."""
    owner, slash, rest = name.partition("/")
    plain = bool(slash and owner and rest) and "/" not in rest and "\\" not in name and not name.startswith((".", "~"))
    if plain and Path(name).suffix == ".onnx":
        return False
    if plain and Path(name).exists():
        raise ModelError(f"model {name} is a file of an unknown kind; known: .onnx, {', '.join(sorted(_TORCH_FILES))}")
    return plain
