"""8-bit weights and activations: a third of the file, and twice the speed where the CPU has 8-bit dot products.

Static quantisation in QDQ form, calibrated on crops as the tracker cuts them; the last convolution and what follows it, whose
output is the matte, stay in floating point. A picture's bytes are the network's 8-bit input as they are.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from headstream.nets.zoo import NETS, NetSpec
from headstream.segment.runtime import onnx_runtime
from headstream.shared.colour import crop_resized
from headstream.sinks.partial import whole_file
from headstream.train.augment import head_middle
from headstream.train.data import DataSet
from headstream.train.export import Finish, shipped_planes, write_network
from headstream.train.faces import find_faces
from headstream.train.faster import make_faster
from headstream.types import UInt8Array

_PICTURES = 160  # to calibrate on
_ZOOMS = (1.8, 2.4, 2.4, 3.0)
_QUANTISED = ["Conv", "Concat", "Resize", "Add", "Clip", "Relu"]


def calibration_crops(data: DataSet, side: int) -> UInt8Array:
    """(N, side, side, 3) uint8: the heads of a set of N pictures as the tracker cuts them."""
    crops = []
    for number, name in enumerate(data.names):
        picture = data.load(name)
        cx, cy, face = head_middle(picture)
        half = face * _ZOOMS[number % len(_ZOOMS)] / 2
        region = (int(cx - half), int(cy - half), int(cx - half) + int(2 * half), int(cy - half) + int(2 * half))
        crops.append(crop_resized(picture.rgb, region, side))
    return np.stack(crops)


def crops_of_folders(folders: list[Path], side: int, progress: Callable[[int, int], None] | None = None) -> UInt8Array:
    """Calibration crops of pictures from several folders, drawn from each as many; progress: of the search for their faces."""
    parts = []
    with tempfile.TemporaryDirectory() as cache:
        for number, folder in enumerate(folders):
            data = DataSet("pictures", folder)
            order = np.random.default_rng(1).permutation(len(data.names))[: max(1, _PICTURES // len(folders))]
            data = replace(data, names=tuple(data.names[k] for k in order))
            faces = find_faces(data, Path(cache) / f"{number}.json", progress)
            parts.append(calibration_crops(replace(data, faces=faces), side))
    return np.concatenate(parts)


def export_int8(
    net: nn.Module,
    spec: NetSpec,
    out: Path,
    crops: UInt8Array,
    *,
    finish: Finish | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``net`` as 8-bit ONNX, its activations' ranges taken from ``crops``, (N, spec.side, spec.side, 3) uint8.

    progress: called with the number of crops looked at, and how many there are.  Raises SinkError.
    """
    onnx_runtime()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet(), whole_file(out) as part, tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        write_network(net, spec, plain, shipped_planes(spec), adjustable=bool(finish), half=False)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        nodes = list(onnx.load(str(ready)).graph.node)
        last = max(k for k, node in enumerate(nodes) if node.op_type == "Conv")
        first = next(node for node in nodes if node.op_type == "Conv").input[0]
        _, normalised, multiple = NETS[spec.net]
        # Crops that are padded first are not the convolution's input any more.
        bytes_as_they_are = None if spec.side % multiple else _as_bytes(normalised)
        overrides = _in_seven_bits(nodes[:last]) | ({first: [bytes_as_they_are]} if bytes_as_they_are else {})
        quantize_static(
            str(ready),
            str(part),
            _Reader(crops, progress),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=[node.name for node in nodes[last:]],
            calibrate_method=CalibrationMethod.MinMax,
            # Mean of the crops' ranges: the one crop with the farthest outlier would coarsen all others.
            extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": overrides},
        )
        if bytes_as_they_are:
            _feed_bytes(part, first)
        make_faster(part)
        if finish:
            finish.written_to(part)


class _Reader:
    """Hands the quantiser one crop after the other, as its ``CalibrationDataReader``: whatever has ``get_next`` is one."""

    def __init__(self, crops: UInt8Array, progress: Callable[[int, int], None] | None) -> None:
        self._crops, self._progress, self._done = crops, progress, 0

    def get_next(self) -> dict[str, UInt8Array] | None:
        if self._done == len(self._crops):
            return None
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self._crops))
        return {"rgb": self._crops[self._done - 1][None]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice on every node it leaves alone, which it gives through the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _in_seven_bits(nodes: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """How weights are to be quantised so that every processor says the same. Without 8-bit dot products (x86 before 2019 or so)
    two products of a byte and an 8-bit weight are added in 16 bits, which clips; with weights in 7 bits nothing does. Weights of
    depthwise convolutions are multiplied one by one, and keep 8."""
    dense = (node for node in nodes if node.op_type == "Conv" and _groups(node) == 1)
    return {node.input[1]: [{"axis": 0, "reduce_range": True}] for node in dense}


def _groups(convolution: Any) -> int:
    return next((int(attribute.i) for attribute in convolution.attribute if attribute.name == "group"), 1)


def _as_bytes(normalised: tuple[tuple[float, ...], tuple[float, ...]]) -> dict[str, Any] | None:
    """The quantisation in which a picture's byte stands for its normalised value, within half a grey level; None where the
    channels differ."""
    mean, std = (set(values) for values in normalised)
    if len(mean) != 1 or len(std) != 1:
        return None
    return {"scale": np.array(1 / min(std), np.float32), "zero_point": np.array(round(min(mean)), np.uint8)}


def _feed_bytes(path: Path, tensor: str) -> None:
    """Leave out what turns bytes into the floats of ``tensor`` and those back into the same bytes."""
    import onnx

    model = onnx.load(str(path))
    made_by = {output: node for node in model.graph.node for output in node.output}
    quantised = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == tensor)
    spent = [quantised]
    while spent[-1].op_type != "Cast":
        spent.append(made_by[spent[-1].input[0]])
    for node in model.graph.node:
        node.input[:] = [spent[-1].input[0] if name == quantised.output[0] else name for name in node.input]
    for node in spent:
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.initializer if value.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
