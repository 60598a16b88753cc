"""From a checkpoint to what ships: one .onnx file and its card."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstream.nets.zoo import NetSpec, alpha_of, as_called
from headstream.shared.digest import file_sha256
from headstream.sinks.partial import whole_file
from headstream.train.card import making_of
from headstream.train.faster import make_faster

# Of an .onnx file's own notes: what its last convolution gives, in order, and what of that it was not taught.
PLANES_KEY, UNTAUGHT_KEY = "planes", "untaught"


@dataclass(frozen=True)
class Finish:
    """From logits, which say how likely a pixel is head, to a matte, which says how much of it is.

    gain: what logits are multiplied by: a chance of 0.7 means a pixel of head, most of the time, not one of 70 % head.
    against_body: how much of softplus(body + 1) is taken off the head's logits first: where neck is as likely as chin,
    the cut goes above it. Chosen on validation pictures; both leave the hair's and the background's outline in place.
    An exported file has them as inputs of these names with defaults, so that another card may finish it in another way.
    """

    gain: float = 1.0
    against_body: float = 0.0

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return self != Finish()

    def written_to(self, file: Path) -> None:
        """Make these numbers the defaults of an .onnx file that ``write_network`` has made adjustable."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        model = onnx.load(str(file))
        for tensor in model.graph.initializer:
            if tensor.name in _FINISH:
                value = np.array(getattr(self, tensor.name), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, []))
        onnx.checker.check_model(model)
        onnx.save(model, str(file))


_FINISH = tuple(field.name for field in fields(Finish))
# While a file is made: of equal numbers exporters and optimisers make one, and a gain of 1 they leave out.
_PLACEHOLDER = Finish(3.0, 5.0)


def finished(logits: Tensor, outputs: tuple[str, ...], finish: Finish | Deployed) -> Tensor:
    """Logits (N, outputs, H, W) as they are to be turned into alpha."""
    if {"head", "body"} <= set(outputs):
        planes = list(logits.split(1, dim=1))
        head, body = outputs.index("head"), outputs.index("body")
        planes[head] = planes[head] - finish.against_body * _softplus(planes[body] + 1)
        logits = torch.cat(planes, dim=1)
    return logits * finish.gain


def _softplus(x: Tensor) -> Tensor:
    """softplus(min(x, 15)), by what runtimes compute many values at a time: five times as fast. Past 15, nothing is left of
    a head all the same, and the sigmoid would round to 0."""
    return -F.logsigmoid(-x.clamp(max=15))


class Deployed(nn.Module):
    """The network as it is called: (N, S, S, 3) uint8 in, (N, planes, S, S) float32 alpha out."""

    gain: Tensor
    against_body: Tensor

    def __init__(self, net: nn.Module, spec: NetSpec, planes: tuple[str, ...], finish: Finish | None = None) -> None:
        super().__init__()
        self.net = as_called(net, spec)
        self.outputs = tuple(name if name in spec.known else "" for name in spec.outputs)  # an untaught body is none
        self.has_finish = bool(finish)
        for name in _FINISH:
            self.register_buffer(name, torch.tensor(getattr(finish or Finish(), name)))
        self.keep = [spec.outputs.index(plane) for plane in planes]

    def forward(self, rgb: Tensor) -> Tensor:
        logits = self.net(rgb.permute(0, 3, 1, 2).float())
        if self.has_finish:
            logits = finished(logits, self.outputs, self)
        alpha = alpha_of(logits, self.outputs)
        first, last = self.keep[0], self.keep[-1]
        return alpha[:, first : last + 1] if len(self.keep) == last - first + 1 else alpha[:, self.keep]


def shipped_planes(spec: NetSpec) -> tuple[str, ...]:
    """The outputs worth exporting: what it was taught, but the body, which only teaches the head what it is not."""
    return tuple(name for name in spec.known if name not in {"body", "background"})


def export_onnx(
    net: nn.Module,
    spec: NetSpec,
    out: Path,
    *,
    half: bool = True,
    planes: tuple[str, ...] = (),
    finish: Finish | None = None,
) -> None:
    """Write ``net`` as ONNX with a dynamic batch, for crops of ``spec.side`` pixels.

    half: store weights in half precision; they are used in single all the same, and the file is half the size.
    planes: the outputs to keep; none named keeps ``shipped_planes``.  finish: what is done to the logits last.
    Raises SinkError.
    """
    with whole_file(out) as part:
        write_network(net, spec, part, planes or shipped_planes(spec), adjustable=bool(finish), half=half)
        if finish:
            finish.written_to(part)


def write_network(
    net: nn.Module, spec: NetSpec, path: Path, planes: tuple[str, ...], *, adjustable: bool, half: bool
) -> None:
    """Write ``net`` as ``export_onnx`` does. adjustable: with a finish whose numbers are to be filled in, by
    ``Finish.written_to``, after whatever else is done to the file."""
    model = Deployed(net, spec, planes, _PLACEHOLDER if adjustable else None).eval()
    example = torch.zeros((1, spec.side, spec.side, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes on its own future
        torch.onnx.export(
            model,
            (example,),
            str(path),
            input_names=["rgb"],
            output_names=["alpha"],
            dynamic_axes={"rgb": {0: "n"}, "alpha": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
    make_faster(path)
    _store(path, spec, half=half)


def _store(path: Path, spec: NetSpec, *, half: bool) -> None:
    """Note the planes, and halve the file if asked to: large float32 initialisers become float16 with a Cast behind, which any
    runtime folds at load."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    helper.set_model_props(model, {PLANES_KEY: ",".join(spec.outputs), UNTAUGHT_KEY: ",".join(spec.untaught)})
    casts = []
    for tensor in model.graph.initializer if half else ():
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_card(onnx_file: Path, details: dict[str, Any]) -> Path:
    """Write the JSON card beside an .onnx file; file name and sha256 are filled in. Raises SinkError."""
    digest = file_sha256(onnx_file)
    card = {"file": onnx_file.name, "sha256": digest} | details
    path = onnx_file.with_suffix(".json")
    with whole_file(path) as part:
        part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def card_details(net: nn.Module, spec: NetSpec, *checkpoints: Path) -> dict[str, Any]:
    """What can be told of a network from its checkpoint (or those it is the mean of): what it is, and how it was made."""
    shape = f", {spec.encoder} encoder, decoder {'-'.join(map(str, spec.decoder))}" if spec.net == "lite" else ""
    return {
        "kind": "segmenter",
        "side": spec.side,
        "outputs": list(shipped_planes(spec)),
        "parameters": sum(p.numel() for p in net.parameters()),
        "network": f"{spec.net}{shape}",
    } | making_of(checkpoints)
