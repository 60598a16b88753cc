"""A run that starts from an exported network: the same answers, norms that saw pictures, planes that are new, wrong files."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.errors import ModelError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_checkpoint  # noqa: E402
from headstream.nets.zoo import NetSpec, as_called, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.segment.registry import models_dir  # noqa: E402
from headstream.train.config import load_config  # noqa: E402
from headstream.train.export import Deployed, Finish, export_onnx, finished, write_card  # noqa: E402
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.quantise import export_int8  # noqa: E402
from headstream.train.recover import load_exported, read_exported, unfold  # noqa: E402
from headstream.train.start import initial_file  # noqa: E402
from tests.train.test_export import SMALL  # noqa: E402

CROPS = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
BATCH = torch.from_numpy(CROPS).permute(0, 3, 1, 2)


def trained_looking(spec: NetSpec = SMALL) -> Any:
    """A network whose norms are not as they start."""
    torch.manual_seed(3)
    net = build(spec)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.3, 3.0)
    return net.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    net, path = trained_looking(), tmp_path_factory.mktemp("start") / "n.onnx"
    export_onnx(net, SMALL, path, half=False, finish=Finish(2.0, 1.0))
    return net, path


def answers(net: Any, spec: NetSpec) -> Any:
    with torch.no_grad():
        said: Any = as_called(net, spec)(BATCH.float())
    return said


class TestUnfold:
    def test_the_same_answers_and_norms_that_saw_the_pictures(self, exported: tuple[Any, Path]) -> None:
        net, path = exported
        again = build(SMALL)
        unfold(again, SMALL, read_exported(path), [BATCH])
        assert all(module.training and not module._forward_hooks for module in again.modules())
        again.eval()
        truth = answers(net, SMALL)
        assert (answers(again, SMALL) - truth).abs().max() < 1e-3 * truth.abs().max()
        # In training, norms go by the batch: of the pictures they were measured on, they say the same.
        again.train()
        assert (answers(again, SMALL) - truth).abs().mean() < 0.05 * truth.abs().mean()
        stem = again.encoder._bn0
        assert stem.running_var.numpy() == pytest.approx(np.ones(32), abs=0.1)

    @pytest.mark.parametrize("outputs", [(*SMALL.outputs, "face"), ("body", "face", "hair", "head")])
    def test_new_planes_start_anew_and_the_old_are_where_they_belong(
        self, outputs: tuple[str, ...], exported: tuple[Any, Path]
    ) -> None:
        net, path = exported
        wider = dataclasses.replace(SMALL, outputs=outputs)
        again = build(wider).eval()
        new = slice(4 * outputs.index("face"), 4 * outputs.index("face") + 4)
        before = again.decoder.head.weight[new].clone()
        unfold(again, wider, read_exported(path), [BATCH])
        old = [outputs.index(name) for name in SMALL.outputs]
        assert (answers(again, wider)[:, old] - answers(net, SMALL)).abs().max() < 0.05
        assert torch.equal(again.decoder.head.weight[new], before)
        assert not again.training

    def test_a_silent_channel_stays_silent(self, tmp_path: Path) -> None:
        net = trained_looking()
        with torch.no_grad():
            net.encoder._conv_stem.weight[5] = 0
        export_onnx(net, SMALL, tmp_path / "n.onnx", half=False, finish=Finish(against_body=1.0))
        again = build(SMALL).eval()
        unfold(again, SMALL, read_exported(tmp_path / "n.onnx"), [BATCH])
        assert all(torch.isfinite(value).all() for value in again.state_dict().values())
        assert (answers(again, SMALL) - answers(net, SMALL)).abs().max() < 0.05

    def test_the_shipped_weights_come_back(self) -> None:
        path = models_dir() / "lite.onnx"
        spec = NetSpec()
        net = build(spec).eval()
        rgb = np.random.default_rng(1).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
        batch = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        unfold(net, spec, read_exported(path), [batch])
        card = load_segmenter("lite").card.details["finish"]
        with torch.no_grad():
            logits = finished(as_called(net, spec)(batch.float()), spec.outputs, Finish(**card))
        shipped = load_segmenter("lite").predict(rgb)
        assert np.abs(torch.sigmoid(logits)[:, 0].numpy() - shipped).max() < 2e-3

    def test_another_network_is_told(self, exported: tuple[Any, Path]) -> None:
        _, path = exported
        for spec in (
            NetSpec(),
            NetSpec(net="custom-cnn", outputs=("head",)),
            dataclasses.replace(SMALL, outputs=("nose",)),
        ):
            other = build(spec)
            with pytest.raises(ModelError, match="another network than this run's"):
                unfold(other, spec, read_exported(path), [BATCH])

    def test_what_is_no_export_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("not a network")
        with pytest.raises(ModelError, match=r"text\.onnx cannot be read as ONNX"):
            read_exported(tmp_path / "text.onnx")
        export_int8(trained_looking(), dataclasses.replace(SMALL, side=64), tmp_path / "q.onnx", CROPS)
        with pytest.raises(ModelError, match="8 bits.*full precision"):
            read_exported(tmp_path / "q.onnx")


class TestInit:
    def test_by_name_by_file_and_not_at_all(self, tmp_path: Path) -> None:
        assert initial_file("lite") == models_dir() / "lite.onnx"
        (tmp_path / "a.pt").write_bytes(b"")
        assert initial_file(str(tmp_path / "a.pt")) == tmp_path / "a.pt"
        (tmp_path / "named").write_bytes(b"")
        assert initial_file(str(tmp_path / "named")) == tmp_path / "named"
        with pytest.raises(UsageError, match="no such checkpoint or"):
            initial_file(str(tmp_path / "b.onnx"))
        with pytest.raises(UsageError, match="'light' is not known; shipped: lite"):
            initial_file("light")

    def test_a_run_starts_from_an_export_and_goes_on(
        self,
        sets: Path,
        config: Path,
        tmp_path: Path,
        exported: tuple[Any, Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        net, path = exported
        settings = load_config(config, init=str(path))

        def trainer(out: str) -> Trainer:
            return Trainer(settings, data_root=sets, config_dir=config.parent, out=tmp_path / out)

        first = trainer("a")
        assert (answers(first.ema, SMALL) - answers(net, SMALL)).abs().max() < 0.05
        first.run()
        monkeypatch.setattr("headstream.train.start._first_crops", lambda *_: pytest.fail("measured for nothing"))
        again = trainer("a")
        assert again.resume()
        assert again.step == 8
        with pytest.raises(UsageError, match="init"):
            other = Trainer(
                dataclasses.replace(settings, init=None), data_root=sets, config_dir=config.parent, out=tmp_path / "a"
            )
            other.resume()
        told = load_checkpoint(tmp_path / "a" / "last.pt")["history"]["record"]
        assert told["config"]["init"] == str(path)
        assert len(told["init_sha256"]) == 64

    def test_a_wrong_one_is_told_before_faces_are_looked_for(
        self,
        sets: Path,
        config: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("headstream.train.loop.open_data", lambda *_: pytest.fail("looked for faces"))
        words = ["train", "--config", str(config), "--data", str(sets), "--out", str(tmp_path / "r")]
        assert main([*words, "--init", str(tmp_path / "none.pt")]) == 2
        assert "none.pt: no such checkpoint" in capsys.readouterr().err

    def test_the_command(
        self,
        sets: Path,
        config: Path,
        tmp_path: Path,
        exported: tuple[Any, Path],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = ["train", "--config", str(config), "--data", str(sets), "--out", str(tmp_path / "r"), "--steps", "2"]
        assert main([*words, "--init", "lite"]) == 1  # of another width than the configuration's
        assert "another network than this run's" in capsys.readouterr().err
        assert main([*words, "--init", str(exported[1])]) == 0
        assert load_segmenter(tmp_path / "r" / "model.onnx").parts == ("head", "hair")


class TestExport:
    def test_an_exported_network_in_another_way(
        self, exported: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        net, path = exported
        write_card(
            path, {"kind": "segmenter", "licence": "mine", "side": 256, "outputs": ["head", "hair"], "scores": "1"}
        )
        assert main(["export", str(path), "--out", str(tmp_path / "soft.onnx")]) == 0
        rgb = np.random.default_rng(2).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
        with torch.no_grad():
            truth = Deployed(net, SMALL, ("head",))(torch.from_numpy(rgb)).numpy()[:, 0]  # without that file's finish
        soft = load_segmenter(tmp_path / "soft.onnx")
        assert np.abs(soft.predict(rgb) - truth).max() < 2e-3
        card = soft.card.details
        assert (card["licence"], card["made_from"].split(",")[0]) == ("mine", "n.onnx")
        assert "scores" not in card
        for words, arguments in (
            ("only checkpoints", [str(path), str(path), "--out", str(tmp_path / "b.onnx")]),
            ("name it as init", [str(path), "--out", str(tmp_path / "b.pt")]),
            ("'nix' is not known", ["nix", "--out", str(tmp_path / "b.onnx")]),
            ("no such checkpoint", ["nix.pt", "--out", str(tmp_path / "b.onnx")]),
            ("different files", [str(path), "--out", str(path)]),
        ):
            assert main(["export", *arguments]) == 2
            assert re.search(words, capsys.readouterr().err)

    def test_its_finish_stays_and_the_export_is_told(
        self,
        exported: tuple[Any, Path],
        sets: Path,
        tmp_path: Path,
    ) -> None:
        shutil.copy(exported[1], tmp_path / "my own.onnx")
        finish = {"gain": 2.0, "against_body": 1.5}
        card = {"kind": "segmenter", "licence": "mine", "side": 256, "outputs": ["head"], "finish": finish}
        write_card(tmp_path / "my own.onnx", card | {"commands": ["headstream train"]})
        command = ["export", str(tmp_path / "my own.onnx"), "--out", str(tmp_path / "n.onnx")]
        for more, changed, told in (
            ([], {}, ""),
            (["--side", "96", "--against-body", "0"], {"against_body": 0.0}, " --side 96 --against-body 0.0"),
            (
                ["--int8", "--calibrate", str(sets / "faces"), "--gain", "1"],
                {"gain": 1.0},
                " --gain 1.0 --int8 --calibrate faces",
            ),
        ):
            assert main([*command, *more]) == 0
            details = load_segmenter(tmp_path / "n.onnx").card.details
            assert details["finish"] == finish | changed
            assert details["commands"] == ["headstream train", f"headstream export 'my own.onnx' --out n.onnx{told}"]

    def test_without_a_card_nothing_is_written(
        self, exported: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copy(exported[1], tmp_path / "bare.onnx")
        assert main(["export", str(tmp_path / "bare.onnx"), "--side", "96", "--out", str(tmp_path / "small.onnx")]) in {
            1,
            2,
        }
        assert "bare.json" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["bare.onnx"]

    def test_a_file_without_a_lite_net_is_told(self, tmp_path: Path) -> None:
        spec = NetSpec(net="custom-cnn", outputs=("head",))
        export_onnx(build(spec).eval(), spec, tmp_path / "c.onnx")
        with pytest.raises(ModelError, match="holds no lite net"):
            load_exported(tmp_path / "c.onnx")


@pytest.mark.parametrize("path", sorted(models_dir().glob("*int8.onnx")), ids=lambda path: path.stem)
def test_eight_bits_say_the_same_on_every_processor(path: Path) -> None:
    check_weights_in_seven_bits(path)


def test_an_export_in_eight_bits_says_the_same_on_every_processor_and_nearly_what_it_did(tmp_path: Path) -> None:
    net, spec, out = trained_looking(), dataclasses.replace(SMALL, side=64), tmp_path / "q.onnx"
    first_is_grey = np.concatenate([np.full_like(CROPS[:1], 128), CROPS])
    export_int8(net, spec, out, first_is_grey)
    check_weights_in_seven_bits(out)
    write_card(out, {"kind": "segmenter", "licence": "none", "side": 64, "outputs": ["head", "hair"]})
    with torch.no_grad():
        truth = Deployed(net, spec, ("head", "hair"))(torch.from_numpy(CROPS)).numpy()
    segmenter = load_segmenter(out)
    said = np.stack([segmenter.predict(CROPS, "head"), segmenter.predict(CROPS, "hair")], axis=1)
    assert np.abs(said - truth).mean() < 0.04 * truth.std()


def check_weights_in_seven_bits(path: Path) -> None:
    """Where two products of a byte and a weight are added in 16 bits, weights over 64 may clip: x86 without VNNI."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_from = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    largest = {}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        groups = next(a.i for a in node.attribute if a.name == "group")
        weights = arrays.get(made_from.get(node.input[1], ""))
        if weights is not None and groups == 1:
            largest[node.name] = int(np.abs(weights.astype(int)).max())
    assert len(largest) == 34  # all but the depthwise ones, and the last
    assert max(largest.values()) * 2 * 255 <= 32767
