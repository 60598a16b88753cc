"""From a shipped .onnx file back to a network that can be trained on: what a run starts from that has no checkpoint.

In the file each batch norm is folded into the convolution before it. Here it is taken out again: weights are scaled so that
what their convolution says of the pictures at hand varies by one, and the norm undoes that. What the network says stays the
same, and in training its norms see what they would have seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headstream.errors import ModelError
from headstream.nets.lite import ENCODERS
from headstream.nets.zoo import LEVELS, NetSpec, Sees, as_called, build
from headstream.train.export import PLANES_KEY, UNTAUGHT_KEY
from headstream.train.picture import BASE_PLANES

_LEAST_VARIANCE = 1e-4  # of a channel; less is silence, and would be blown up
_DIMENSIONS = 4  # of a batch of pictures
_LAST = "decoder.head"  # of the lite net: what gives its planes, four rows each


@dataclass(frozen=True)
class Exported:
    """What an .onnx file of ``export_onnx`` holds. weights: and biases, of its convolutions, by their names in the network.
    planes: what its last convolution gives, in order.  untaught: which of these nothing has taught.  side: pixels of the crops
    it takes."""

    path: Path
    weights: dict[str, Tensor]
    planes: tuple[str, ...]
    untaught: tuple[str, ...]
    side: int


def read_exported(path: Path) -> Exported:
    """The weights in an .onnx file of ``export_onnx``.

    Raises ModelError for any other file.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ModelError(f"starting from {path.name} needs onnx: pip install 'headstream[train]'") from error
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own classes
        raise ModelError(f"{path} cannot be read as ONNX: {(str(error) or 'damaged').splitlines()[0][:120]}") from error
    graph = model.graph
    told = {prop.key: prop.value for prop in model.metadata_props}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # stored in half precision, see export_onnx; or one array for two that are equal
        if node.op_type in {"Cast", "Identity"} and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    found: dict[str, Tensor] = {}
    for node in (n for n in graph.node if n.op_type == "Conv"):
        for kind, name in zip(("weight", "bias"), node.input[1:], strict=False):
            if name not in arrays:
                raise ModelError(
                    f"{path} is in 8 bits, or not of headstream export; start from full precision, such as lite"
                )
            found[f"{_module_of(node.name)}.{kind}"] = torch.from_numpy(arrays[name].astype(np.float32))
    sizes = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim] if graph.input else []
    if not found or len(sizes) != _DIMENSIONS:
        raise ModelError(f"{path} is not of headstream export")
    planes = tuple(told.get(PLANES_KEY, ",".join(BASE_PLANES)).split(","))
    untaught = tuple(plane for plane in told.get(UNTAUGHT_KEY, "").split(",") if plane in planes)
    return Exported(path, found, planes, untaught, sizes[1])


def load_exported(path: Path) -> tuple[nn.Module, NetSpec]:
    """The lite net of an .onnx file, ready to be exported in another way; its norms do nothing. To train on from a file, see
    ``unfold``. Raises ModelError where it is none."""
    exported = read_exported(path)
    widths = [exported.weights.get(f"decoder.blocks.{k}.0.weight") for k in range(LEVELS)]
    if all(width is not None for width in widths):
        decoder = tuple(len(width) for width in widths if width is not None)
        for encoder in ENCODERS:
            spec = NetSpec(
                outputs=exported.planes,
                encoder=encoder,
                decoder=decoder,
                side=exported.side,
                untaught=exported.untaught,
            )
            net = build(spec)
            with suppress(ModelError):
                unfold(net, spec, exported, ())
                return net.eval(), spec
    raise ModelError(f"{path} holds no lite net")


def _module_of(node: str) -> str:
    """A convolution's name in the network from its name in the file: "decoder.blocks.0.0" from
    "/net/net/decoder/blocks.0/blocks.0.0/Conv"."""
    parts: list[str] = []
    for part in node.removeprefix("/net/net/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


@torch.no_grad()
def unfold(net: nn.Module, spec: NetSpec, exported: Exported, rgb: Iterable[Tensor]) -> None:
    """Fill ``net`` with exported weights, its norms measured on some batches.

    rgb: batches (N, 3, S, S) of 0..255, as it will be trained on; without any, the norms do nothing.  Planes of a lite net
    that the file lacks keep their start.
    Raises ModelError where the file is of another network.
    """
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    weights = exported.weights
    if {f"{name}.weight" for name in convolutions} != {name for name in weights if name.endswith(".weight")}:
        raise _other(exported.path, "it has other layers; set net, encoder and decoder as its card says")
    norms = dict(_with_norms(net))
    for name, module in convolutions.items():
        rows = _rows(spec, exported.planes) if name == _LAST else None
        bias = weights.get(f"{name}.bias", torch.zeros(module.out_channels))
        _put(module.weight, weights[f"{name}.weight"], rows, exported.path)
        if module.bias is not None:
            _put(module.bias, bias, rows, exported.path)
        elif (norm := norms.get(module)) is not None:
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            _put(norm.bias, bias, None, exported.path)
    for module, (mean, variance) in _measured(list(norms), as_called(net, spec), rgb):
        norm, scale = norms[module], variance.clamp_min(_LEAST_VARIANCE).sqrt()
        module.weight.div_(scale.view(-1, 1, 1, 1))
        norm.running_mean.copy_(mean / scale)
        norm.running_var.copy_(variance / scale.square())
        norm.weight.copy_(scale * (norm.running_var + norm.eps).sqrt())
        norm.bias.add_(mean)


def _rows(spec: NetSpec, planes: tuple[str, ...]) -> list[tuple[int, int]]:
    """Of a lite net's last convolution: (row in the network, row in the file) of each plane that both have."""
    both = [(spec.outputs.index(name), planes.index(name)) for name in spec.outputs if name in planes]
    return [(4 * here + k, 4 * there + k) for here, there in both for k in range(4)]


def _put(parameter: Tensor, value: Tensor, rows: list[tuple[int, int]] | None, path: Path) -> None:
    """Copy ``value`` into ``parameter``: whole, or some rows."""
    if rows is None and parameter.shape == value.shape:
        parameter.copy_(value)
    elif rows and parameter.shape[1:] == value.shape[1:] and max(there for _, there in rows) < len(value):
        for here, there in rows:
            parameter[here] = value[there]
    else:
        raise _other(path, f"it has weights of {tuple(value.shape)}, not {tuple(parameter.shape)}; see its card")


def _other(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is of another network than this run's: {why}")


def _with_norms(net: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution that has a norm, which is always what is defined next."""
    leaves = [module for module in net.modules() if not list(module.children())]
    for module, following in itertools.pairwise(leaves):
        if isinstance(module, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            yield module, following


def _measured(
    convolutions: list[nn.Conv2d], called: Sees, rgb: Iterable[Tensor]
) -> Iterator[tuple[nn.Conv2d, tuple[Tensor, Tensor]]]:
    """Mean and variance of each channel of what some convolutions say of some batches."""
    sums: dict[nn.Conv2d, list[Tensor]] = {module: [] for module in convolutions}

    def note(module: nn.Module, _: object, said: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        sums[module].append(torch.stack([said.mean((0, 2, 3)), said.square().mean((0, 2, 3))]).double())

    hooks = [module.register_forward_hook(note) for module in convolutions]
    was_training = called.net.training
    called.eval()
    for batch in rgb:
        called(batch.float())
    called.train(was_training)
    for hook in hooks:
        hook.remove()
    for module, said in sums.items():
        if said:
            mean, square = torch.stack(said).mean(0)
            yield module, (mean.float(), (square - mean.square()).clamp_min(0).float())
