"""An exported network put otherwise answers the same, to the bit; and what is not as expected is left as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from headstream.nets.zoo import NetSpec, build  # noqa: E402
from headstream.segment.runtime import onnx_runtime  # noqa: E402
from headstream.train.export import Finish, export_onnx  # noqa: E402
from headstream.train.faster import make_faster  # noqa: E402
from headstream.train.quantise import export_int8  # noqa: E402
from headstream.types import UInt8Array  # noqa: E402

CROPS = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def answer(path: Path, fed: Any) -> Any:
    session = onnx_runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: fed})[0]


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def exported(spec: NetSpec, out: Path, finish: Finish, *, int8: bool) -> Path:
    torch.manual_seed(0)
    net = build(spec).eval()
    if int8:
        export_int8(net, spec, out, CROPS, finish=finish)
    else:
        export_onnx(net, spec, out, finish=finish)
    return out


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("finish", [Finish(), Finish(gain=2.0, against_body=1.5)])
def test_networks_answer_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, int8: bool, finish: Finish
) -> None:
    spec = replace(NetSpec("lite", ("head", "hair", "body")), side=64)
    now = exported(spec, tmp_path / "now.onnx", finish, int8=int8)
    monkeypatch.setattr("headstream.train.export.make_faster", lambda path: None)
    monkeypatch.setattr("headstream.train.quantise.make_faster", lambda path: None)
    before = exported(spec, tmp_path / "before.onnx", finish, int8=int8)
    expected = answer(before, CROPS)
    assert expected.shape == (3, 2, 64, 64)
    assert expected.std() > 0
    np.testing.assert_array_equal(answer(now, CROPS), expected)
    assert (kinds(before)["Resize"], kinds(before)["DepthToSpace"]) == (4, 1)
    assert (kinds(now)["Resize"], kinds(now)["DepthToSpace"]) == (0 if int8 else 4, 0)


def test_what_would_say_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(NetSpec("custom-cnn", ("head",)), side=64)
    path, other = (exported(spec, tmp_path / f"{gain}.onnx", Finish(gain=gain), int8=False) for gain in (1.0, 3.0))
    before = path.read_bytes()
    for made in (other.read_bytes(), b"no network"):
        monkeypatch.setattr("headstream.train.faster._rewritten", lambda _, made=made: made)
        make_faster(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("net", ["lite", "custom-cnn"])
def test_eight_bits_of_crops_that_are_padded(tmp_path: Path, net: str) -> None:
    spec = NetSpec(net, ("head",), side=72)
    torch.manual_seed(0)
    crops = np.ascontiguousarray(np.pad(CROPS, ((0, 0), (0, 8), (0, 8), (0, 0)), mode="edge"))
    made = build(spec).eval()
    export_onnx(made, spec, tmp_path / "whole.onnx")
    export_int8(made, spec, tmp_path / "eight.onnx", crops)
    answers = [answer(tmp_path / f"{name}.onnx", crops) for name in ("whole", "eight")]
    assert answers[1].shape == (3, 1, 72, 72)
    assert np.abs(answers[0] - answers[1]).max() < 0.05


def test_planes_that_depend_on_each_other_are_shuffled_where_they_were(tmp_path: Path) -> None:
    """A softmax over the planes of a pixel is another before they are shuffled."""
    spec = replace(NetSpec("lite", ("background", "skin", "hair")), side=64)
    net = build(spec).eval()
    export_onnx(net, spec, tmp_path / "n.onnx")
    made = kinds(tmp_path / "n.onnx")
    assert made["Softmax"] == 1
    assert made["DepthToSpace"] == 0
    from headstream.train.export import Deployed, shipped_planes

    with torch.no_grad():
        expected = Deployed(net, spec, shipped_planes(spec))(torch.from_numpy(CROPS)).numpy()
    np.testing.assert_allclose(answer(tmp_path / "n.onnx", CROPS), expected, atol=1e-3)


def resized(path: Path, *, scales: tuple[float, ...] = (1, 1, 2, 2), step: float = 0.5, **attributes: str) -> Path:
    """A file of one Resize between DequantizeLinear and QuantizeLinear."""
    said = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} | attributes
    arrays = {"scales": np.array(scales, np.float32), "s": np.float32(0.5), "z": np.uint8(3), "t": np.float32(step)}
    nodes = [
        helper.make_node("Identity", ["in"], ["x"]),
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Resize", ["a", "", "scales"], ["b"], **said),
        helper.make_node("QuantizeLinear", ["b", "t", "z"], ["out"]),
    ]
    size = ["n", 2, int(3 * scales[2]), int(5 * scales[3])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.UINT8, ["n", 2, 3, 5])],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, size)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({}, 0),
        ({"mode": "linear"}, 1),
        ({"coordinate_transformation_mode": "half_pixel", "nearest_mode": "ceil"}, 1),
        ({"scales": (1, 1, 3, 2)}, 1),
        ({"step": 0.25}, 1),
    ],
)
def test_only_what_doubles_bytes_as_they_are_is_copied(tmp_path: Path, more: dict[str, Any], left: int) -> None:
    path = resized(tmp_path / "r.onnx", **more)
    fed: UInt8Array = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 5), dtype=np.uint8)
    expected = answer(path, fed)
    make_faster(path)
    assert kinds(path)["Resize"] == left
    np.testing.assert_array_equal(answer(path, fed), expected)


def shuffled(path: Path, after: list[Any], *, mode: str = "CRD", planes: int = 3) -> Path:
    """A file of a DepthToSpace and ``after``, nodes from its output ``d`` to ``out``."""
    nodes = [
        helper.make_node("Identity", ["in"], ["x"]),
        helper.make_node("Mul", ["in", "in"], ["side"]),
        helper.make_node("DepthToSpace", ["x"], ["d"], blocksize=2, mode=mode),
        *after,
    ]
    arrays = {"from": np.array([1]), "to": np.array([3]), "axis": np.array([1]), "step": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 4 * planes, 3, 5])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", None, 6, 10])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


SLICED = [helper.make_node("Slice", ["d", "from", "to", "axis", "step"], ["out"])]
OF_TWO = [
    helper.make_node("DepthToSpace", ["side"], ["other"], blocksize=2, mode="CRD"),
    helper.make_node("Add", ["d", "other"], ["out"]),
]
ONE_OFF_ALL = [
    helper.make_node("Slice", ["d", "from", "to", "axis", "step"], ["some"]),
    helper.make_node("Slice", ["some", "from", "to", "axis", "step"], ["one"]),
    helper.make_node("Sub", ["d", "one"], ["out"]),
]


@pytest.mark.parametrize(
    ("after", "mode", "left"),
    [(SLICED, "CRD", 0), (SLICED, "DCR", 1), (OF_TWO, "CRD", None), (ONE_OFF_ALL, "CRD", None)],
)
def test_whatever_comes_after_a_shuffle_the_answer_stays(
    tmp_path: Path, after: list[Any], mode: str, left: int | None
) -> None:
    path = shuffled(tmp_path / "s.onnx", after, mode=mode)
    fed = np.random.default_rng(0).normal(size=(2, 12, 3, 5)).astype(np.float32)
    expected = answer(path, fed)
    make_faster(path)
    np.testing.assert_array_equal(answer(path, fed), expected)
    assert left is None or kinds(path)["DepthToSpace"] == left
