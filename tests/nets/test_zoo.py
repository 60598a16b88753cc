"""Every network through the same tests, whoever wrote it: forward, backward, odd sizes, save and load, ONNX parity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.errors import ModelError  # noqa: E402
from headstream.nets.checkpoint import load_trained  # noqa: E402
from headstream.nets.deeplab import DeepLabV3  # noqa: E402
from headstream.nets.lite import EfficientNetLiteEncoder  # noqa: E402
from headstream.nets.resnet import ResNet34Encoder  # noqa: E402
from headstream.nets.zoo import NETS, NetSpec, Sees, alpha_of, as_called, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.train.export import Deployed, export_onnx, shipped_planes, write_card  # noqa: E402

SPECS = [
    NetSpec("lite", decoder=(16, 16, 8, 8)),
    NetSpec("custom-cnn", outputs=("hair",)),
    NetSpec("deeplabv3", outputs=("head",)),
    NetSpec("deeplabv3", outputs=("head",), output_stride=8),
    NetSpec("unet34", outputs=("background", "head")),
]
every_net = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.net}-{s.output_stride}")

# What they say of one picture at three places, with the weights of ``by_rule``.
SAID = {
    "lite-16": [2.614, -0.511, 3.126],
    "custom-cnn-16": [-2.689, -2.513, -0.356],
    "deeplabv3-16": [-23.845, -25.948, -23.643],
    "deeplabv3-8": [-21.041, -23.676, -23.499],
    "unet34-16": [3.127, 19.556, 2.069],
}


def test_all_networks_are_here() -> None:
    assert {spec.net for spec in SPECS} == set(NETS)


@every_net
def test_it_learns_with_every_weight(spec: NetSpec) -> None:
    torch.manual_seed(0)
    net = build(spec).train()
    called = as_called(net, spec)
    rgb = torch.rand(2, 3, 64, 64) * 255
    logits = called(rgb)
    assert logits.shape == (2, len(spec.outputs), 64, 64)
    target = (rgb[:, :1] > 127).float().expand_as(logits)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    with torch.no_grad():
        for p in net.parameters():
            assert p.grad is not None
            p -= 1e-3 * p.grad / (p.grad.norm() + 1e-9)
    again = torch.nn.functional.binary_cross_entropy_with_logits(called(rgb), target)
    assert float(again.detach()) < float(loss.detach())


@every_net
@pytest.mark.parametrize("size", [(33, 65), (50, 31), (64, 97)])
def test_odd_sizes_come_back_as_they_were(spec: NetSpec, size: tuple[int, int]) -> None:
    called = as_called(build(spec).eval(), spec)
    with torch.no_grad():
        assert called(torch.rand(1, 3, *size) * 255).shape == (1, len(spec.outputs), *size)


def test_what_is_added_at_the_right_and_below_is_the_border() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (1, 3, 33, 50)).astype(np.float32)
    mean, std = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)
    shown: list[Any] = []
    seen = Sees(torch.nn.Identity(), mean, std, 32)
    seen.net.register_forward_hook(lambda _, given, __: shown.append(given[0]))
    said = seen(torch.from_numpy(rgb)).numpy()
    normalised = (rgb - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert shown[0].numpy() == pytest.approx(np.pad(normalised, ((0, 0), (0, 0), (0, 31), (0, 14)), mode="edge"))
    assert said == pytest.approx(normalised)


@every_net
def test_a_batch_of_one_trains(spec: NetSpec) -> None:
    net = build(spec).train()
    as_called(net, spec)(torch.rand(1, 3, 64, 64) * 255).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@every_net
def test_saved_and_loaded_it_says_the_same(spec: NetSpec, tmp_path: Path) -> None:
    net = build(spec).eval()
    torch.save({"ema": net.state_dict(), "spec": spec.as_dict(), "step": 1}, tmp_path / "n.pt")
    again, told = load_trained(tmp_path / "n.pt")
    assert told == spec
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(x), again(x))


def by_rule(net: Any, x: Any) -> Any:
    """The network with weights that are the same everywhere, and batch norms that are used to ``x``."""
    with torch.no_grad():
        for number, (name, value) in enumerate(net.named_parameters()):
            noise = ((torch.arange(value.numel()) + 7919 * number) * 2654435761 % 65536 / 32768 - 1).view(value.shape)
            value.copy_(1 + noise / 4 if value.dim() == 1 and name.endswith("weight") else noise)
        for module in net.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean of what it has seen, that is of x alone
            elif isinstance(module, torch.nn.Dropout):
                module.eval()
        net(x)
    return net.eval()


@every_net
def test_a_checkpoint_goes_on_saying_the_same(spec: NetSpec) -> None:
    """Also where other layers would take the same weights."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    pictures = torch.stack([torch.stack([torch.sin(x / (5 + k) + y / 9 + n) for k in range(3)]) for n in range(2)])
    with torch.no_grad():
        logits = by_rule(build(spec), pictures)(pictures)[1, -1]
    found = [float(value) for value in (logits[20, 20], logits[81, 40], logits[127, 0])]
    assert found == pytest.approx(SAID[f"{spec.net}-{spec.output_stride}"], abs=0.01)


@every_net
def test_onnx_agrees_with_torch(spec: NetSpec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = replace(spec, side=64)
    net = build(spec).eval()
    export_onnx(net, spec, tmp_path / "n.onnx")
    planes = shipped_planes(spec)
    write_card(tmp_path / "n.onnx", {"kind": "segmenter", "licence": "none", "side": 64, "outputs": planes})
    segmenter = load_segmenter(str(tmp_path / "n.onnx"))
    rgb = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = Deployed(net, spec, planes)(torch.from_numpy(rgb)).numpy()
    for k, plane in enumerate(planes):
        assert np.abs(segmenter.predict(rgb, plane) - expected[:, k]).max() < 1e-3  # type: ignore[arg-type]


def test_the_head_unet_is_the_published_one() -> None:
    """Parameters, and the state-dict names of okaris/head-segmentation."""
    net = build(NetSpec("unet34", ("background", "head")))
    assert sum(p.numel() for p in net.parameters()) == 29_943_042
    names = set(net.state_dict())
    for name in (
        "encoder.conv1.weight",
        "encoder.bn1.running_var",
        "encoder.layer1.0.conv1.weight",
        "encoder.layer2.0.downsample.0.weight",
        "encoder.layer2.0.downsample.1.weight",
        "encoder.layer4.2.bn2.bias",
        "decoder.blocks.0.conv1.0.weight",
        "decoder.blocks.0.conv1.1.weight",
        "decoder.blocks.4.conv2.1.running_mean",
        "segmentation_head.0.bias",
    ):
        assert name in names
    assert net.state_dict()["decoder.blocks.0.conv1.0.weight"].shape == (512, 768, 3, 3)
    assert net.state_dict()["decoder.blocks.4.conv2.0.weight"].shape == (32, 32, 3, 3)


@pytest.mark.parametrize(
    ("name", "channels", "blocks"),
    [
        ("lite0", (16, 24, 40, 112, 192), 1 + 2 + 2 + 3 + 3 + 4),
        ("lite1", (16, 24, 40, 112, 192), 1 + 3 + 3 + 4 + 4 + 5),
        ("lite2", (16, 24, 48, 120, 208), 1 + 3 + 3 + 4 + 4 + 5),
        ("lite3", (24, 32, 48, 136, 232), 1 + 3 + 3 + 5 + 5 + 6),
    ],
)
def test_the_lite_encoders_are_the_published_ones(name: str, channels: tuple[int, ...], blocks: int) -> None:
    """All but the last stage, which is cut off."""
    encoder = EfficientNetLiteEncoder(name).eval()
    assert (encoder.channels, len(encoder._blocks)) == (channels, blocks)
    shapes = [tuple(x.shape[1:]) for x in encoder(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(c, s, s) for c, s in zip(channels, (32, 16, 8, 4, 2), strict=True)]


@pytest.mark.parametrize(("stride", "smallest"), [(32, 2), (16, 4), (8, 8)])
def test_the_encoder_stops_shrinking_at_its_output_stride(stride: int, smallest: int) -> None:
    features = ResNet34Encoder(stride).eval()(torch.zeros(1, 3, 64, 64))
    assert features[-1].shape[-1] == smallest
    with pytest.raises(ValueError, match="must be 8, 16 or 32"):
        ResNet34Encoder(4)


@pytest.mark.parametrize(
    ("stride", "layers", "rates"),
    [(32, (1, 1), (3, 6, 9)), (16, (1, 2), (6, 12, 18)), (8, (2, 4), (12, 24, 36))],
)
def test_where_the_encoder_shrinks_less_it_looks_as_far(
    stride: int, layers: tuple[int, int], rates: tuple[int, ...]
) -> None:
    """Weights fit whatever the distances are, and would say something else."""
    net = DeepLabV3(output_stride=stride)
    for layer, wide in zip((net.encoder.layer3, net.encoder.layer4), layers, strict=True):
        assert {(block.conv1.dilation, block.conv2.dilation) for block in layer} == {((wide, wide), (wide, wide))}
    assert [view[0].dilation for view in net.pyramid.views] == [(1, 1), *((rate, rate) for rate in rates)]


def test_exclusive_classes_and_independent_ones() -> None:
    logits = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    assert float(alpha_of(logits, ("background", "head"))[0, 1]) == pytest.approx(1 / (1 + np.exp(-2)))
    assert float(alpha_of(logits, ("head", "hair"))[0, 0]) == pytest.approx(0.5)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(ModelError, match="'transformer' is not known; known: lite, unet34"):
        NetSpec("transformer")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (5, "cannot be: 'int' object"),
        ({"nets": "lite"}, "unexpected keyword argument 'nets'"),
        ({"encoder": "lite9"}, "encoder 'lite9' is not known; known: lite0"),
        ({"decoder": [16, 16]}, r"decoder \[16, 16\]: expected 4 widths"),
        ({"decoder": ["a", 1, 2, 3]}, r"decoder \['a', 1, 2, 3\]: expected 4 widths"),
        ({"decoder": [-1, 1, 1, 1]}, r"decoder \[-1, 1, 1, 1\]: expected 4 widths"),
        ({"outputs": 5}, "outputs 5: expected names of planes"),
        ({"side": "big"}, "side 'big': expected pixels"),
        ({"net": "deeplabv3", "output_stride": 7}, "output_stride 7: expected one of 8, 16, 32"),
    ],
)
def test_what_no_network_can_be_built_of(said: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        NetSpec.from_dict(said)
