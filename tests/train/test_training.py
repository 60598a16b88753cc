"""Training on a handful of made pictures: resuming, learning, held-out pictures, the commands."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.errors import ModelError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_checkpoint  # noqa: E402
from headstream.nets.zoo import as_called, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.train.config import TrainConfig, load_config  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.hardware import Hardware  # noqa: E402
from headstream.train.loader import (  # noqa: E402
    batches,
)
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.score import score  # noqa: E402
from headstream.train.sets import open_data  # noqa: E402
from headstream.train.start import parameter_groups, rate_factor  # noqa: E402
from tests.train.made import CONFIG, face  # noqa: E402
from tests.train.test_export import SMALL  # noqa: E402


class TestRun:
    def test_rates_warm_up_and_fade(self) -> None:
        config = TrainConfig(steps=1000, warmup=100)
        assert rate_factor(0, config) == pytest.approx(0.01)
        assert rate_factor(99, config) == pytest.approx(1.0)
        assert rate_factor(1000, config) == pytest.approx(0.0)

    def test_interrupted_and_resumed_gives_the_same_numbers(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = load_config(config)

        def trainer(out: str) -> Trainer:
            return Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / out)

        whole = trainer("whole")
        drawn: dict[int, float] = {}  # what dropout would go on with
        whole.run(lambda progress: drawn.update({progress.step: torch.rand(1).item()}))
        first = trainer("parts")

        def stop(progress: object) -> None:
            if first.step == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            first.run(stop)
        second = trainer("parts")
        assert second.resume()
        assert second.step == 5
        again: dict[int, float] = {}
        second.run(lambda progress: again.update({progress.step: torch.rand(1).item()}))
        assert again == {step: drawn[step] for step in (6, 7, 8)}
        for a, b in zip(whole.ema.state_dict().values(), second.ema.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        names = {p.name for p in (tmp_path / "parts").iterdir()}
        assert {"last.pt", "best.pt", "log.csv", "curves.png"} <= names
        logs = [(tmp_path / out / "log.csv").read_text() for out in ("whole", "parts")]
        assert logs[0] == logs[1]
        assert float(logs[0].splitlines()[-1].split(",")[1]) > 0

    def test_held_out_pictures_are_not_trained_on(self, sets: Path, config: Path, tmp_path: Path) -> None:
        opened = open_data(load_config(config), sets, tmp_path, tmp_path / "cache")
        assert opened.train[0].names == ("00", "01", "02", "03")
        assert opened.validation[0].names == ("04", "05")
        assert [data.kind for data in opened.backdrops] == ["fullbody"]
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=2).replace('validate = "held.txt"', 'validate = "34%"'))
        drawn = [open_data(load_config(config, seed=s), sets, tmp_path, tmp_path / "cache") for s in (1, 1, 2)]
        assert drawn[0].validation[0].names == drawn[1].validation[0].names
        assert len(drawn[0].validation[0].names) == 2
        assert not set(drawn[2].validation[0].names) & set(drawn[2].train[0].names)
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=2).replace('validate = "held.txt"', 'validate = "1%"'))
        drawn = [open_data(load_config(config, seed=s), sets, tmp_path, tmp_path / "cache") for s in range(1, 9)]
        assert {len(data.validation[0].names) for data in drawn} == {1}
        assert len({data.validation[0].names for data in drawn}) > 1

    def test_nobody_is_scored_by_a_teachers_labels(self, sets: Path, config: Path, tmp_path: Path) -> None:
        (tmp_path / "soft").mkdir()
        settings = load_config(config)
        soft = tuple(dataclasses.replace(entry, pseudo="soft") for entry in settings.data)
        opened = open_data(dataclasses.replace(settings, data=soft), sets, tmp_path, tmp_path / "cache")
        assert {data.pseudo for data in opened.train} == {tmp_path / "soft"}
        assert [data.pseudo for data in opened.validation] == [None]

    def test_batches_do_not_depend_on_where_one_starts(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = load_config(config)
        opened = open_data(settings, sets, tmp_path, tmp_path / "cache")
        all_of_them = list(batches(settings, opened, first_step=0))
        (rgb, target, known) = next(iter(batches(settings, opened, first_step=6)))
        assert torch.equal(rgb, all_of_them[6][0])
        assert torch.equal(target, all_of_them[6][1])
        assert rgb.shape == known.shape == (4, 3, 32, 32)

    def test_processes_share_what_one_would_see(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = dataclasses.replace(load_config(config), accumulate=2)
        opened = open_data(settings, sets, tmp_path, tmp_path / "cache")
        alone = list(batches(settings, opened, first_step=7))
        shares = [list(batches(settings, opened, first_step=7, rank=r, world=2)) for r in (0, 1)]
        assert [x[0].shape[0] for x in alone] == [2, 2]
        for k in range(2):
            assert torch.equal(alone[k][0], torch.cat([shares[0][k][0], shares[1][k][0]]))
        with pytest.raises(UsageError, match="cannot be shared out over 3"):
            next(batches(settings, opened, first_step=0, rank=0, world=3))

    def test_it_learns(self, sets: Path, config: Path, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text(CONFIG.format(steps=40).replace("evaluate_every = 4", "evaluate_every = 40"))
        losses: list[float] = []
        run = Trainer(load_config(config), data_root=sets, config_dir=tmp_path, out=tmp_path / "o")
        run.run(lambda progress: losses.append(progress.loss))
        assert losses[-1] < 0.9 * losses[0]  # a running mean: the last steps are far lower

    def test_a_step_by_hand(self, sets: Path, config: Path, tmp_path: Path) -> None:
        """The first one: at half the rate, of gradients no longer than 5, into an average that hardly knows what was before."""
        settings = load_config(config, steps=1, l1_weight=1000.0)
        run = Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / "o")
        before = {name: value.clone() for name, value in run.net.named_parameters()}
        lengths: list[float] = []

        def measure(*_: Any) -> None:
            lengths.append(
                float(torch.stack([p.grad.norm() for p in run.net.parameters() if p.grad is not None]).norm())
            )

        run.optimizer.register_step_pre_hook(measure)
        run.run()
        assert lengths == [pytest.approx(5, rel=1e-3)]
        assert {group["lr"] / group["base_lr"] for group in run.optimizer.param_groups} == {0.5}
        now, averaged = dict(run.net.named_parameters()), dict(run.ema.named_parameters())
        for name, value in before.items():
            torch.testing.assert_close(averaged[name], value.lerp(now[name].detach(), 0.9))
        rgb = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        with torch.no_grad():
            said = torch.sigmoid(as_called(run.ema, run.spec)(torch.from_numpy(rgb).permute(0, 3, 1, 2).float()))
        assert np.allclose(run.predict(rgb), said.permute(0, 2, 3, 1).numpy(), atol=1e-5)

    def test_gradients_are_as_long_in_half_precision(self, sets: Path, config: Path, tmp_path: Path) -> None:
        """Their losses are scaled, which is undone before they are measured and cut."""
        settings = dataclasses.replace(load_config(config), net="custom-cnn", plane_weights=(), steps=1)
        lengths: list[float] = []
        for precision in (None, torch.float16):
            on = Hardware(torch.device("cpu"), precision)
            run = Trainer(settings, data_root=sets, config_dir=tmp_path, out=tmp_path / str(precision), on=on)

            def measure(*_: Any, run: Trainer = run) -> None:
                grads = [p.grad.norm() for p in run.net.parameters() if p.grad is not None]
                lengths.append(float(torch.stack(grads).norm()))

            run.optimizer.register_step_pre_hook(measure)
            run.run()
        assert lengths[0] < 4.5  # and not cut
        assert lengths[1] == pytest.approx(lengths[0], rel=0.1)

    def test_the_encoder_has_its_own_rate_and_only_weights_decay(self) -> None:
        net = build(SMALL)
        groups = parameter_groups(net, TrainConfig(encoder_lr=1e-4, decoder_lr=2e-3, weight_decay=0.05))
        told = {
            id(p): (group["lr"], group["base_lr"], group["weight_decay"]) for group in groups for p in group["params"]
        }
        convolutions = {id(module.weight) for module in net.modules() if isinstance(module, torch.nn.Conv2d)}
        for name, parameter in net.named_parameters():
            rate = 1e-4 if name.startswith("encoder.") else 2e-3
            assert told[id(parameter)] == (rate, rate, 0.05 if id(parameter) in convolutions else 0.0), name

    def test_a_score_counts_what_the_truth_tells(self, sets: Path) -> None:
        """A set of hair alone says nothing of heads; of a hat that nobody wears no score can be told."""
        planes = ("head", "hair", "body", "hat")
        told = [
            DataSet("celebamask", sets / "faces", names=("00",), planes=planes),
            DataSet("hair", sets / "hairs", names=("01",), planes=planes),
        ]
        everything = score(lambda rgb: np.ones((1, 96, 96, 3), np.float32), ("hair", "head", "hat"), told, 96)
        one, two = face(0)[1], face(1)[1]
        assert everything.iou["head"] == pytest.approx(np.isin(one, [1, 13]).mean())
        assert everything.iou["hair"] == pytest.approx(((one == 13).mean() + (two == 13).mean()) / 2)
        assert np.isnan(everything.iou["hat"])
        assert everything.neck_leak == 1

    @pytest.mark.slow
    def test_the_commands(self, sets: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "run"
        assert main(["train", "--config", str(config), "--data", str(sets), "--out", str(out)]) == 0
        assert "step 8/8" in capsys.readouterr().err
        assert (out / "model.onnx").exists()
        assert main(["export", str(out / "last.pt"), "--out", str(tmp_path / "x.onnx")]) == 0
        segmenter = load_segmenter(str(tmp_path / "x.onnx"))
        assert segmenter.predict(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 64, 64)
        assert main(["train", "--config", str(config), "--data", str(tmp_path / "no"), "--out", str(out)]) == 2
        assert main(["train", "--config", str(config), "--data", str(sets), "--out", str(config)]) == 2
        assert main(["export", str(tmp_path / "no.pt"), "--out", str(out / "y.onnx")]) == 2

    def test_a_foreign_file_is_no_checkpoint(self, tmp_path: Path) -> None:
        (tmp_path / "x.pt").write_bytes(b"not a checkpoint")
        with pytest.raises(ModelError, match="cannot be loaded safely: it is no checkpoint, or one with objects in it"):
            load_checkpoint(tmp_path / "x.pt")
        for foreign in (b"", b"hello\n"):
            (tmp_path / "x.pt").write_bytes(foreign)
            with pytest.raises(ModelError, match="cannot be loaded safely: it is no checkpoint"):
                load_checkpoint(tmp_path / "x.pt")
        torch.save([1], tmp_path / "y.pt")
        with pytest.raises(ModelError, match=r"y\.pt holds a list, not a checkpoint"):
            load_checkpoint(tmp_path / "y.pt")
        torch.save({"something": 1}, tmp_path / "y.pt")
        with pytest.raises(ModelError, match="ema, spec missing"):
            load_checkpoint(tmp_path / "y.pt")
