"""From what a user calls a model to a segmenter that runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from headstream.errors import UsageError
from headstream.nets.hub import is_hub_name
from headstream.segment.crops import CropSegmenter
from headstream.segment.registry import check_readable, find_model, is_shipped

_ONNX_FILES = (".onnx", ".json")  # the network, or a card of one
_TORCH_FILES = {".pt", ".ckpt", ".safetensors"}
MOST_THREADS = 256  # a crop is small: more are a slip, and each would be started
_OTHERS_FILES = {".pth", ".bin", ".h5", ".tflite", ".toml"}  # nothing we read, and no hub's name either


def load_segmenter(
    name: str | Path = "default", *, device: str = "auto", threads: int | None = None, fast: bool = False
) -> CropSegmenter:
    """A segmenter by name of shipped weights, by file or folder, or from the Hugging Face hub.

    name: "default", "lite", "lite-int8", "lite-photo-int8" or "tiny"; an .onnx file with its card beside it, or a card; a .pt
    of ``headstream train``; a .safetensors or Lightning .ckpt of the head-segmentation U-Net; a folder of diffusers' format;
    "owner/name" or "owner/name@revision" on the hub, which is asked only if the weights are not in its cache (and never
    with HF_HUB_OFFLINE=1), and not where a folder ``owner`` is here.
    device: "auto", "cpu", "cuda", and for ONNX "tensorrt", "coreml", "directml", for torch "mps"; a device that is not here
    is an error, never a silent fall-back. Where "auto" finds a GPU that does not start, it says so and takes the CPU.
    threads: of ONNX Runtime, 1 to 256; None is as many as cores, up to 4.
    fast: whether "default" means the weights for video and not those for photos.
    Raises UsageError for a name, file, word for a device or number of threads that there is not, ModelError for weights
    that are not what they should be.
    """
    whole = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):
        raise UsageError(f"threads is {threads!r}; expected a whole number from 1 to {MOST_THREADS}, or None")
    if not isinstance(device, str):
        raise UsageError(f"device is {device!r}; expected a word such as auto, cpu or cuda")
    path = model_path(name)
    name = str(path) if str(name).startswith("~") else str(name)
    on_hub = _is_on_hub(name)
    if on_hub or path.suffix in _TORCH_FILES or (name and path.is_dir() and not is_shipped(name)):
        if importlib.util.find_spec("torch") is None:
            raise UsageError(f"model {name} needs torch: pip install 'headstream[torch]'")
        if on_hub:
            pinned(name)  # whether it is there is known seconds before torch is loaded
        from headstream.nets.formats import load_network
        from headstream.segment.torch_net import TorchSegmenter

        return TorchSegmenter(load_network(name), device=device)
    from headstream.segment.onnx import OnnxSegmenter

    return OnnxSegmenter(find_model(name, fast=fast), device=device, threads=threads)


def model_path(name: str | Path) -> Path:
    """Where a model of that name would lie, if it is one's own. Raises UsageError for what no file can be called, where it
    cannot be looked for, and for what may not be read."""
    try:
        path = Path(name).expanduser()
        check_readable(path)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"model {str(name)!r}: nothing can have such a name ({error})") from error
    except OSError as error:  # too long, or in a folder that is not to be read
        raise UsageError(f"model {str(name)[:80]!r}: cannot be looked for: {error.strerror}") from error
    return path


def pinned(name: str) -> str:
    """The same weights by a name that goes on meaning them, also on other machines: one on the hub with its commit, for
    which it is fetched if it is not in the cache. Other names as they are. Raises ModelError, UsageError."""
    if not _is_on_hub(name):
        return name
    from headstream.nets.hub import snapshot

    found = snapshot(name)
    return f"{found.name}@{found.commit}"


def _is_on_hub(name: str) -> bool:
    """Whether a name is one of the hub's, owner/name, and not a path. Raises UsageError for a path where nothing is: a
    mistyped one is not to be asked of anybody."""
    path = Path(name)
    if path.exists():
        if "/" in name and path.is_file() and path.suffix not in {*_ONNX_FILES, *_TORCH_FILES}:
            known = ", ".join([*_ONNX_FILES, *sorted(_TORCH_FILES)])
            raise UsageError(f"model {name} is a file of an unknown kind; known: {known}")
        return False
    if path.suffix in {*_ONNX_FILES, *_TORCH_FILES, *_OTHERS_FILES} or name.startswith((".", "/")) or "\\" in name:
        raise UsageError(f"model {name}: no such file or folder")
    if "/" not in name:
        return False
    first = path.parts[0]
    if Path(first).is_dir():
        raise UsageError(
            f"model {name}: no such file or folder in {first} (with a folder {first} here, it is no hub's name)"
        )
    if not is_hub_name(name):
        raise UsageError(f"model {name}: no such file or folder, and not owner/name or owner/name@revision of the hub")
    return True
