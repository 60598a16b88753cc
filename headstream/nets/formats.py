"""Networks from whatever they were saved as: by headstream, by diffusers, by Lightning; locally or on the hub.

Safetensors and ONNX hold numbers only. A pickle is read where torch can do so without running it, and refused otherwise.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from headstream.errors import ModelError, UsageError
from headstream.nets.checkpoint import fill, load_trained, read_pickle
from headstream.nets.head_unet import HeadUNet
from headstream.nets.hub import WEIGHTS, snapshot
from headstream.nets.zoo import NetSpec

_HEAD_UNET_PX = 512
_WIDTH_OF = "decoder.blocks.0.conv1.0.weight"  # whose first dimension is how wide the decoder is
_LIGHTNING_PREFIX = "neural_net."


@dataclass(frozen=True)
class Network:
    """A network ready to predict. side: pixels of the square it was trained on.  file: what it was read from.
    revision: the hub's commit, of weights from there."""

    name: str
    net: nn.Module
    spec: NetSpec
    side: int
    file: Path
    revision: str = ""


def load_network(name: str) -> Network:
    """A network by file, folder or hub name ("owner/name", "owner/name@revision"). Raises ModelError, UsageError."""
    path = Path(name)
    if path.is_dir():
        return _from_diffusers(name, path)
    if path.suffix and not path.is_file() and path.suffix in {".pt", ".ckpt", ".safetensors"}:
        raise UsageError(f"model {name}: no such file")
    if path.suffix == ".safetensors":
        return _head_unet(_read_safetensors(path), path, _HEAD_UNET_PX)
    if path.suffix == ".ckpt":
        return _from_lightning(path)
    if path.suffix == ".pt":
        net, spec = load_trained(path)
        return Network(path.stem, net, spec, spec.side, path)
    return _from_hub(name)


def _head_unet(state: dict[str, Tensor], path: Path, side: int) -> Network:
    """The ResNet-34 U-Net; how wide it is and how many outputs it has is read off its weights."""
    try:
        outputs = state["segmentation_head.0.weight"].shape[0]
        width = state[_WIDTH_OF].shape[0]
    except KeyError as error:
        raise ModelError(f"{path} does not hold a head-segmentation U-Net: {error} is missing") from error
    except (AttributeError, IndexError) as error:
        raise ModelError(f"{path} does not hold a head-segmentation U-Net: {error}") from error
    names = _planes(outputs, path)
    net = fill(HeadUNet(outputs, width=width), state, path).eval()
    return Network(path.stem, net, NetSpec("unet34", names), side, path)


def _planes(outputs: int, where: object) -> tuple[str, ...]:
    """What so many outputs of a U-Net are. Raises ModelError."""
    names = {1: ("head",), 2: ("background", "head")}.get(outputs)
    if names is None:
        raise ModelError(f"{where} has {outputs} outputs; expected head, or background and head")
    return names


def _pixels(side: object, key: str, where: object) -> int:
    """The side of a network's input, as the setting ``key`` tells. Raises ModelError."""
    if type(side) is not int or side < 1:
        raise ModelError(f"{where}: its {key} is {side!r}, expected pixels")
    return side


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError("safetensors files need a package: pip install 'headstream[torch]'") from error
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
    return state


def _from_lightning(path: Path) -> Network:
    """A checkpoint of the original project: weights under neural_net., the input size in its hyper-parameters."""
    raw = read_pickle(path)
    weights, settings = raw.get("state_dict"), raw.get("hyper_parameters", {})
    if not isinstance(weights, dict):
        raise ModelError(f"{path} is not a Lightning checkpoint: no state_dict in it")
    settings = settings if isinstance(settings, dict) else {}
    named = {k: v for k, v in weights.items() if isinstance(k, str)}
    own = {k.removeprefix(_LIGHTNING_PREFIX): v for k, v in named.items() if k.startswith(_LIGHTNING_PREFIX)}
    encoder = settings.get("encoder_name", "resnet34")
    if encoder != "resnet34":
        raise ModelError(f"{path} has the encoder {encoder}; only resnet34 is known")
    key = "nn_image_input_resolution"
    return _head_unet(own, path, _pixels(settings.get(key, _HEAD_UNET_PX), key, path))


def _from_hub(name: str) -> Network:
    found = snapshot(name)
    network = _from_diffusers(name, found.folder)
    return replace(network, name=Path(found.name).name, revision=found.commit)


def _decoder_width(file: Path) -> int | None:
    """How wide the decoder in a .safetensors file is; None where the file does not tell, and loading it will tell why."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as weights:
            return int(weights.get_slice(_WIDTH_OF).get_shape()[0])
    except (OSError, SafetensorError, IndexError):
        return None


def _check_config(name: str, file: Path) -> None:
    """Raise ModelError for a configuration that is none: of a bare word diffusers asks the hub for another one."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # diffusers says so
    if not isinstance(config, dict):
        raise ModelError(f"model {name} does not load: its config.json is no JSON object")


def _from_diffusers(name: str, folder: Path) -> Network:
    """diffusers' format, from a folder."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DISABLE_TELEMETRY", "1")
    try:
        from diffusers.utils import logging as diffusers_log

        from headstream.nets.diffusers_model import HeadSegmentationModel
    except ImportError as error:
        raise UsageError(f"model {name} needs diffusers: pip install 'headstream[torch]' ({error})") from error
    _check_config(name, folder / "config.json")
    # strict: a weight that is missing must not be made up at random, which diffusers does with a warning.
    options: dict[str, Any] = {"use_safetensors": True, "low_cpu_mem_usage": False, "local_files_only": True}
    options["decoder_width"] = _decoder_width(folder / WEIGHTS)
    verbosity = diffusers_log.get_verbosity()
    diffusers_log.set_verbosity(diffusers_log.CRITICAL)  # of settings it does not know, and errors that are told below
    try:
        model, told = HeadSegmentationModel.from_pretrained(str(folder), output_loading_info=True, **options)
    except Exception as error:  # diffusers raises many classes, some of them private
        raise ModelError(f"model {name} does not load: {' '.join(str(error).split())[:300]}") from error
    finally:
        diffusers_log.set_verbosity(verbosity)
    wrong = [key for what in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in told.get(what, ())]
    wrong = [str(key) for key in wrong if not str(key).endswith("num_batches_tracked")]
    if wrong:
        raise ModelError(f"model {name} is not a head-segmentation U-Net: {', '.join(wrong[:3])} do not fit")
    names = _planes(model.config.out_channels, f"model {name}")
    side = _pixels(model.config.input_resolution, "input_resolution", f"model {name}")
    weights = folder / WEIGHTS
    file = weights if weights.is_file() else folder  # where they are in several files
    return Network(folder.name, model.eval(), NetSpec("unet34", names), side, file)
