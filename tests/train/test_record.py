"""What made a run is kept with its weights, compared when it is taken up, and told on the card."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.cli.train import _run  # noqa: E402
from headstream.errors import ModelError, SinkError, SourceError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_checkpoint  # noqa: E402
from headstream.nets.zoo import NETS  # noqa: E402
from headstream.sinks.lock import locked  # noqa: E402
from headstream.sinks.partial import whole_file  # noqa: E402
from headstream.train.config import DEFAULT, load_config, only_present  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.export import card_details  # noqa: E402
from headstream.train.faces import find_faces  # noqa: E402
from headstream.train.hardware import Hardware  # noqa: E402
from headstream.train.keeping import Keeper  # noqa: E402
from headstream.train.log import RunLog, plot_curves  # noqa: E402
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.saving import write_checkpoint  # noqa: E402
from headstream.train.score import Score  # noqa: E402
from headstream.train.sets import open_data  # noqa: E402
from headstream.train.start import adamw, build_net  # noqa: E402
from tests.media import files_of_at_most, heeds_ctrl_c  # noqa: E402
from tests.train.made import face, settings_in  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_curves")

CNN: dict[str, Any] = {"net": "custom-cnn", "plane_weights": (), "steps": 2, "evaluate_every": 1}


def trainer(root: Path, config: Path, out: str = "run", *, on: Hardware | None = None, **changes: Any) -> Trainer:
    settings = dataclasses.replace(load_config(config), **(CNN | changes))
    return Trainer(settings, data_root=root, config_dir=config.parent, out=config.parent / out, on=on, command="again")


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Ctrl-C counts, also where the tests are a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def finished(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run that came to its end."""
    run = trainer(sets, settings_in(tmp_path_factory.mktemp("finished")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstream.train.log.plot_curves", lambda log, out: None)
        run.run()
    return run.out


@pytest.fixture
def done(finished: Path, sets: Path, config: Path) -> Trainer:
    """That run, as the same command finds it."""
    shutil.copytree(finished, config.parent / "run")
    run = trainer(sets, config)
    assert run.resume()
    return run


@pytest.fixture(scope="module")
def log_of_two(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log of a run of which whatever the score is, it is better."""
    run = trainer(sets, settings_in(tmp_path_factory.mktemp("whole")))
    run.state.best = -1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstream.train.log.plot_curves", lambda log, out: None)
        run.run()
    return (run.out / "log.csv").read_text()


class TestTakingUp:
    def refused(self, run: Trainer, words: str) -> bool:
        before = (run.out / "last.pt").read_bytes()
        with pytest.raises(UsageError, match=words):
            run.resume()
        return (run.out / "last.pt").read_bytes() == before

    def test_what_changes_no_number_may_change(self, done: Trainer, sets: Path, config: Path) -> None:
        again = trainer(sets, config, workers=3, cache_mb=7)
        assert again.resume()
        assert again.history.changes == []
        assert again.history.commands == ["again"]

    def test_other_settings_are_named_and_refused(self, done: Trainer, sets: Path, config: Path) -> None:
        assert self.refused(
            trainer(sets, config, seed=2, steps=4), "seed = 1, now 2; steps = 2, now 4.*--out, or add --change"
        )
        weight = dataclasses.replace(done.config.data[1], weight=0.25)
        others = (done.config.data[0], weight, done.config.data[2])
        assert self.refused(trainer(sets, config, data=others), r"data\[1\]\.weight = 0\.5, now 0\.25\.")

    def test_other_pictures_are_refused(self, done: Trainer, sets: Path, config: Path) -> None:
        (config.parent / "held.txt").write_text("03\n04\n")
        assert self.refused(
            trainer(sets, config), r"data\[0\]\.trained = 4 pictures, sha256 \w{8}, now 4 pictures, sha256"
        )

    def test_other_files_of_the_same_names_are_refused(self, sets: Path, config: Path, tmp_path: Path) -> None:
        shutil.copytree(sets, tmp_path / "data")
        (config.parent / "soft").mkdir()
        for index in range(6):
            Image.new("RGB", (96, 96)).save(config.parent / "soft" / f"{index:02d}.png")
        faces, hairs, bodies = load_config(config).data
        data = (faces, dataclasses.replace(hairs, pseudo="soft"), bodies)
        trainer(tmp_path / "data", config, data=data).run()
        assert trainer(tmp_path / "data", config, data=data).resume()
        for path, told in (
            (tmp_path / "data" / "faces" / "images" / "00.png", r"data\[0\]\.trained"),
            (tmp_path / "data" / "faces" / "labels" / "04.png", r"data\[0\]\.validated"),
            (config.parent / "soft" / "00.png", r"data\[1\]\.trained"),
        ):
            before = path.read_bytes()
            path.write_bytes(before + b" ")
            assert self.refused(trainer(tmp_path / "data", config, data=data), f"trained with {told} = ")
            path.write_bytes(before)

    def test_other_versions_are_noted_and_what_was_noted_stays(self, done: Trainer, sets: Path, config: Path) -> None:
        state = load_checkpoint(done.out / "last.pt")
        state["history"]["record"]["torch"] = "0.1"
        state["history"] |= {"commands": ["first"], "seconds": 1000.0}
        torch.save(state, done.out / "last.pt")
        noted = f"step 2: torch = 0.1, now {torch.__version__}"
        for _ in range(2):
            again = trainer(sets, config, steps=3)
            assert again.resume(change=True)
            assert [change for change in again.history.changes if "torch" in change] == [noted]
            assert again.history.commands == ["first", "again"]
            again.run()
            assert again.history.seconds > 1000

    def test_moved_pictures_are_the_same(self, done: Trainer, sets: Path, config: Path, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").symlink_to(sets)
        assert trainer(tmp_path / "elsewhere", config).resume()

    def test_another_network_cannot_be_gone_on_with(self, done: Trainer, sets: Path, config: Path) -> None:
        other = trainer(sets, config, net="lite")
        with pytest.raises(
            UsageError, match=r"net = custom-cnn, now lite; the network is another.*Name another --out$"
        ):
            other.resume(change=True)

    def test_a_run_is_lengthened_on_purpose(self, done: Trainer, sets: Path, config: Path) -> None:
        longer = trainer(sets, config, steps=4, encoder_lr=1e-4, decoder_lr=1e-4)
        assert longer.resume(change=True)
        assert longer.optimizer.param_groups[0]["base_lr"] == 1e-4
        for a, b in zip(longer.net.parameters(), done.net.parameters(), strict=True):
            moments = (longer.optimizer.state[a], done.optimizer.state[b])
            assert torch.equal(moments[0]["exp_avg"], moments[1]["exp_avg"])
        longer.run()
        assert longer.step == 4
        told = card_details(longer.net, longer.spec, longer.out / "last.pt")["reproducibility"]
        assert "step 2: steps = 2, now 4; encoder_lr" in told
        assert trainer(sets, config, steps=4, encoder_lr=1e-4, decoder_lr=1e-4).resume()

    def test_scores_of_other_pictures_are_forgotten(self, done: Trainer, sets: Path, config: Path) -> None:
        done.state.best = 0.9
        done.state.save(done.out / "last.pt")
        (config.parent / "held.txt").write_text("01\n")
        again = trainer(sets, config)
        done.state.save(done.out / "best.pt")
        again.resume(change=True)
        assert (again.state.best, again.state.best_step, again.history.scores) == (0.0, 2, {})
        assert again.result == again.out / "last.pt"

    def test_a_run_goes_on_in_another_precision(self, done: Trainer, sets: Path, config: Path) -> None:
        scaled = Hardware(torch.device("cpu"), torch.float16)
        for steps in (3, 4):  # from a run without loss scaling, and from one with it
            again = trainer(sets, config, on=scaled, steps=steps)
            assert again.resume(change=True)
            again.run()
            assert again.step == steps
        assert trainer(sets, config, steps=4).resume()

    def test_a_run_of_a_mac_goes_on_on_another_gpu(self, done: Trainer, sets: Path, config: Path) -> None:
        """Its optimiser is not fused, and torch lays the number of a step where the saved one had it. A device without memory
        stands for the GPU."""
        state = load_checkpoint(done.out / "last.pt")
        for group in state["optimizer"]["param_groups"]:
            group["fused"] = False
        there = Hardware(torch.device("meta"), None)
        run = trainer(sets, config).state
        run.optimizer = adamw(run.net.to("meta"), done.config, there.device)
        Keeper(done.out, run, done.config, there)._load_optimizer(state)
        assert {moments["step"].device.type for moments in run.optimizer.state.values()} == {"meta"}

    def test_older_checkpoints_go_on(
        self,
        done: Trainer,
        sets: Path,
        config: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        state = load_checkpoint(done.out / "last.pt")
        del state["history"]
        torch.save(state, done.out / "last.pt")
        again = trainer(sets, config, steps=3)
        assert again.resume()
        assert "nothing could be compared" in caplog.text
        again.run()
        card = card_details(again.net, again.spec, again.out / "last.pt")
        assert "step 2: settings before were not recorded" in card["reproducibility"]
        torch.save(state, done.out / "last.pt")
        assert card_details(done.net, done.spec, done.out / "last.pt")["trained_steps"] == 2
        with pytest.raises(ModelError, match="number of parameter groups.; set encoder_lr"):
            trainer(sets, config, encoder_lr=1e-3, decoder_lr=1e-3).resume()
        with pytest.raises(UsageError, match="net = custom-cnn, now lite"):
            trainer(sets, config, net="lite").resume()

    def test_exported_weights_are_no_run(self, done: Trainer, sets: Path, config: Path) -> None:
        assert main(["export", str(done.out / "last.pt"), "--out", str(config.parent / "two" / "last.pt")]) == 0
        with pytest.raises(ModelError, match="optimizer.*missing; name it as init"):
            trainer(sets, config, "two").resume()


class TestCard:
    def test_it_tells_what_made_the_weights(self, done: Trainer) -> None:
        card = card_details(done.net, done.spec, done.out / "last.pt")
        assert (
            card["training_data"]["1: faces"] == "4 pictures, 2 pictures to validate; kind celebamask; licence not told"
        )
        assert (card["seed"], card["trained_steps"], card["commands"]) == (1, 2, ["again"])
        assert card["scores_on_validation"]["of_these_weights"]["step"] == 2
        assert card["configuration"]["data"][0]["validate"] == "held.txt"
        assert "unknown: that of faces, hairs, bodies" in card["licence"]
        assert json.loads(json.dumps(card, allow_nan=False)) == card
        assert (done.out / "validation-1-faces.txt").read_text() == "04\n05\n"

    def test_a_folder_named_twice_tells_of_each(self, sets: Path, config: Path) -> None:
        plain = load_config(config)
        (config.parent / "others.txt").write_text("01\n")
        face_set = dataclasses.replace(plain.data[0], hold_out=("others.txt",))
        other = dataclasses.replace(face_set, validate="others.txt", hold_out=("held.txt",))
        third = dataclasses.replace(face_set, validate="", hold_out=("held.txt", "others.txt"))
        run = trainer(sets, config, data=(face_set, other, third))
        run.run()
        assert (run.out / "validation-1-faces.txt").read_text() == "04\n05\n"
        assert (run.out / "validation-2-faces.txt").read_text() == "01\n"
        told = card_details(run.net, run.spec, run.out / "last.pt")["training_data"]
        counts = [told[f"{number}: faces"].split(" to validate")[0] for number in (1, 2, 3)]
        assert counts == ["3 pictures, 2 pictures", "3 pictures, 1 pictures", "3 pictures, none"]

    def test_what_one_entry_validates_the_others_of_its_folder_do_not_train_on(
        self,
        sets: Path,
        config: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        root = config.parent / "data"
        root.mkdir()
        for folder in ("faces", "linked"):
            (root / folder).symlink_to(sets / "faces")
        entry = load_config(config).data[0]
        again = dataclasses.replace(entry, folder="linked", validate="")
        run = trainer(root, config, data=(again, entry))
        assert [data.names for data in run.data.train] == [("00", "01", "02", "03")] * 2
        assert [data.names for data in run.data.validation] == [("04", "05")]
        assert caplog.messages == [
            f"{root / 'linked'}: 2 pictures are not trained on: other [[data]] of this folder validate them"
        ]
        run.run()
        told = card_details(run.net, run.spec, run.out / "last.pt")["training_data"]
        assert told["1: linked"].startswith("4 pictures, none to validate")
        (config.parent / "rest.txt").write_text("00\n01\n02\n03\n")
        nothing = dataclasses.replace(again, hold_out=("rest.txt",))
        with pytest.raises(UsageError, match="linked: nothing is left to train on; other .* validate all of it"):
            trainer(root, config, data=(nothing, entry))

    def test_a_mean_tells_of_all_its_parts(self, done: Trainer, sets: Path, config: Path) -> None:
        other = trainer(sets, config, "other", seed=5)
        other.run()
        mean = config.parent / "mean.pt"
        parts = [str(done.out / "last.pt"), str(other.out / "last.pt")]
        assert main(["export", *parts, "--out", str(mean)]) == 0
        told = card_details(done.net, done.spec, mean)["mean_of"]
        assert [(part["checkpoint"], part["seed"]) for part in told] == [("run/last.pt", 1), ("other/last.pt", 5)]
        started = trainer(sets, config, "from", init=str(mean))
        assert len(started.history.record["init_sha256"]) == 64
        started.state.save(started.out / "last.pt")
        licence = card_details(started.net, started.spec, started.out / "last.pt")["licence"]
        assert licence == f"unknown: that of faces, hairs, bodies, the initial weights {mean}"

    def test_a_licence_that_is_told_is_passed_on(self, sets: Path, config: Path) -> None:
        plain = load_config(config)
        data = tuple(dataclasses.replace(entry, licence="ours: MIT", validate="") for entry in plain.data)
        run = trainer(sets, config, data=data)
        run.run()
        card = card_details(run.net, run.spec, run.result)
        assert run.result == run.out / "last.pt"
        assert card["licence"] == "for its trainer to choose; it was trained on ours: MIT"
        assert card["scores_on_validation"].startswith("none")


class TestWithoutConfig:
    def known(self, root: Path, *folders: str) -> Path:
        for name in folders:
            folder, _, truth = name.partition("/")
            for sub in ("images", truth):
                (root / folder / sub).mkdir(parents=True, exist_ok=True)
            for index in range(4):
                rgb, label = face(index)
                Image.fromarray(rgb).save(root / folder / "images" / f"{index:02d}.png")
                Image.fromarray((label == 13).astype("uint8") * 255).save(root / folder / truth / f"{index:02d}.png")
        return root

    def test_it_takes_what_is_there(self, tmp_path: Path) -> None:
        data = self.known(tmp_path, "figaro/hair", "lfw/labels", "celebamask/labels")
        (tmp_path / "fullbody").mkdir()
        found = only_present(load_config(DEFAULT), data).data
        assert [(x.kind, x.folder) for x in found] == [
            ("celebamask", "celebamask"),
            ("hair", "figaro"),
            ("lfw-parts", "lfw"),
        ]
        assert [x.validate for x in found] == ["5%", "", ""]
        assert all(entry.licence for entry in found)

    def test_a_set_itself_is_not_the_folder_of_sets(self, tmp_path: Path) -> None:
        for sub in ("CelebA-HQ-img", "CelebAMask-HQ-mask-anno"):
            (tmp_path / "CelebAMask-HQ" / sub).mkdir(parents=True)
        with pytest.raises(UsageError, match=rf"is a set itself; give the folder it lies in, {tmp_path}, or"):
            only_present(load_config(DEFAULT), tmp_path / "CelebAMask-HQ")
        (entry,) = only_present(load_config(DEFAULT), tmp_path).data
        assert (entry.kind, entry.folder) == ("celebamask-hq", "CelebAMask-HQ")

    def test_a_folder_laid_out_twice_is_no_way_around_validation(self, tmp_path: Path) -> None:
        data = self.known(tmp_path, "celebamask/labels", "celebamask/CelebAMask-HQ-mask-anno", "lfw/hair", "lfw/labels")
        (data / "celebamask" / "images").rename(data / "celebamask" / "CelebA-HQ-img")
        self.known(tmp_path, "celebamask/labels")
        settings = only_present(load_config(DEFAULT), data)
        assert [(x.kind, x.folder) for x in settings.data] == [("celebamask", "celebamask"), ("lfw-parts", "lfw")]
        opened = open_data(settings, data, tmp_path, tmp_path / "cache")
        held = {(x.root, name) for x in opened.validation for name in x.names}
        assert held
        assert not held & {(x.root, name) for x in opened.train for name in x.names}

    @pytest.mark.parametrize(
        ("folders", "target", "scored"),
        [
            (("celeb_hair/hair", "lfw/labels"), "head", "lfw-parts"),
            (("celeb_hair/hair", "lfw/labels"), "hair", "hair"),
            (("lfw/hair", "lfw/labels"), "head", "lfw-parts"),
        ],
    )
    def test_validated_is_a_set_that_tells_the_target(
        self, tmp_path: Path, folders: tuple[str, ...], target: str, scored: str
    ) -> None:
        settings = only_present(load_config(DEFAULT, target=target), self.known(tmp_path, *folders))
        assert [entry.kind for entry in settings.data if entry.validate] == [scored]

    def test_nothing_known_is_an_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
        assert "none of the sets known by name (celebamask, CelebAMask-HQ, fullbody" in capsys.readouterr().err
        (tmp_path / "mine").mkdir()
        assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
        assert "there: mine. For others, name them in a --config" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()

    @pytest.mark.slow
    def test_the_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, out = self.known(tmp_path / "data", "figaro/hair"), tmp_path / "run"
        usual = tmp_path / "usual.toml"
        usual.write_text("workers = 1\n" + DEFAULT.read_text())  # each loads torch
        monkeypatch.setattr("headstream.train.config.DEFAULT", usual)
        command = [
            "train",
            "--net",
            "custom-cnn",
            "--target",
            "hair",
            "--steps",
            "1",
            "--batch",
            "2",
            "--device",
            "cpu",
        ]
        command += ["--data", str(data), "--out", str(out)]
        assert main(command) == 0
        said = capsys.readouterr().err
        assert "trained on: figaro (3 pictures, hair)\nvalidated: figaro (1 pictures, hair)" in said
        card = json.loads((out / "model.json").read_text())
        wanted = "headstream train --net custom-cnn --target hair --steps 1 --batch 2 --data DATA --out RUN"
        assert card["commands"] == [wanted]
        assert main([*command, "--seed", "4"]) == 2
        assert "seed = 1, now 4" in capsys.readouterr().err
        with locked([out / "last.pt"]):
            assert main(command) == 1
        assert "is making it at this moment" in capsys.readouterr().err


class TestWhatGoesWrong:
    def test_tensorboard_is_asked_for_first(self, sets: Path, config: Path) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError:
            with pytest.raises(UsageError, match=r"package tensorboard: pip install 'headstream\[tensorboard\]'"):
                trainer(sets, config, tensorboard=True)
            assert not (config.parent / "run").exists()
            return
        run = trainer(sets, config, tensorboard=True)
        run.run()
        assert any((run.out / "tensorboard").iterdir())

    def test_pictures_without_truth_are_named(self, sets: Path, config: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="hairs has no folder labels/, where kind 'celebamask' has its truth"):
            DataSet("celebamask", sets / "hairs").check_truth()
        for sub in ("images", "hair"):
            (tmp_path / "hairs" / sub).mkdir(parents=True)
        Image.fromarray(face(0)[0]).save(tmp_path / "hairs" / "images" / "a.png")
        with pytest.raises(UsageError, match="1 of 1 pictures have no truth in hair/, such as a"):
            DataSet("hair", tmp_path / "hairs").check_truth()
        with pytest.raises(UsageError, match="is a file; of kind 'hair' it is a folder"):
            DataSet("hair", config)
        (config.parent / "held.txt").write_text("04\nno-such\n")
        with pytest.raises(UsageError, match="1 of 2 names are not in .*faces, such as no-such"):
            open_data(load_config(config), sets, tmp_path, tmp_path)

    def test_settings_that_cannot_be_are_named(self, config: Path) -> None:
        wrong: list[Any] = [(), ((0.5, 256),), (64,), ((0.0,),), ((0.0, "a"),), ((0.0, 64), ("b", 96)), ((0.0, 0),)]
        wrong += [((0.0, 64), (35, 96)), ((0.0, 64), (-0.5, 96)), ((0.0, 64), (math.nan, 96)), ((0.0, 64), (1.0, 96))]
        for sizes in wrong:
            with pytest.raises(UsageError, match="sizes = .*the first from 0.0 on"):
                dataclasses.replace(load_config(config), sizes=sizes)
        with pytest.raises(UsageError, match=f"^net = 'unet': expected one of {', '.join(NETS)}"):
            load_config(config, net="unet")
        entry = load_config(config).data[0]
        odd = [dataclasses.replace(entry, weight=weight) for weight in (0.0, math.nan, math.inf)]
        changes: list[dict[str, Any]] = [
            {"ema": 2.0},
            {"data": odd[:1]},
            *({"data": (entry, one)} for one in odd[1:]),
        ]
        for change in changes:
            with pytest.raises(UsageError, match="expected (0 \\(no average|none below 0)"):
                load_config(config, **change)
        for rate in ("encoder_lr", "decoder_lr", "weight_decay", "neck_weight", "l1_weight"):
            for number in (-0.1, math.nan, math.inf):
                with pytest.raises(UsageError, match=f"{rate} = {number}: expected 0 or more"):
                    load_config(config, **{rate: number})
        for weights in ((0.0, 0.0, 0.0), (1.0, -1.0, 1.0), (math.nan, 1.0, 1.0)):
            with pytest.raises(UsageError, match=r"plane_weights = \[.*\]: expected none below 0, and one above"):
                load_config(config, plane_weights=weights)
        plain = config.read_text()
        for line, words in (
            ('ema = "x"', "ema = 'x': expected a number"),
            ("steps = 8.5", "steps = 8.5: expected a whole number"),
            ('teachers = "a.pt"', "teachers = 'a.pt': expected a list"),
            ("init = 5", "init = 5: expected text"),
            ('imagenet = "no"', "imagenet = 'no': expected true or false"),
            ("teachers = [5]", r"teachers = \[5\]: expected a list of which each is text"),
            ('decoder = ["a", 1, 2, 3]', "decoder = .*each is a whole number"),
            ('plane_weights = ["a", 1, 1]', "plane_weights = .*each is a number"),
        ):
            key = line.split()[0]
            config.write_text(line + "\n" + "\n".join(x for x in plain.splitlines() if not x.startswith(f"{key} ")))
            with pytest.raises(UsageError, match=words):
                load_config(config)
        for text, words in (
            (plain.replace('validate = "held.txt"', "hold_out = [5]"), r"hold_out = \[5\]: .*each is text"),
            ('[data]\nkind = "hair"', r"write \[\[data\]\], in double brackets"),
            ("data = 5", r"write \[\[data\]\], in double brackets"),
            ("data = [5]", r"write \[\[data\]\], in double brackets"),
        ):
            config.write_text(text)
            with pytest.raises(UsageError, match=words):
                load_config(config)
        config.write_text(plain)
        for key, value in (("evaluate_every", 0), ("seed", -1), ("steps", 0), ("workers", -1), ("batch", "many")):
            with pytest.raises(UsageError, match=f"{key} = {value!r}: expected a whole number from"):
                load_config(config, **{key: value})

    def test_sets_that_do_not_tell_the_target(self, sets: Path, config: Path, tmp_path: Path) -> None:
        settings = load_config(config)
        faces, hairs, bodies = settings.data
        for target, data, use in (
            ("head", (hairs,), "learn from, hairs"),
            ("face", (hairs, bodies), "learn from, hairs"),
        ):
            alone = dataclasses.replace(settings, data=data, target=target, plane_weights=())
            with pytest.raises(UsageError, match=rf"target {target}: none of the sets to {use} \(hair\).*tells it"):
                open_data(alone, sets, tmp_path, tmp_path)
        scored = (dataclasses.replace(faces, validate=""), dataclasses.replace(hairs, validate="20%"))
        with pytest.raises(UsageError, match="none of the sets to validate, hairs"):
            open_data(dataclasses.replace(settings, data=scored), sets, tmp_path, tmp_path)
        assert list(tmp_path.glob("faces-*")) == []  # told before faces are looked for, which may take hours

    def test_names_to_hold_out_that_are_none(
        self,
        sets: Path,
        config: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (config.parent / "out.txt").write_text("face-00\nface-01\n")
        settings = load_config(config)
        held = dataclasses.replace(settings.data[0], hold_out=("out.txt",), validate="")
        with pytest.raises(UsageError, match="hold_out of faces: none of the 2 names"):
            open_data(dataclasses.replace(settings, data=(held,)), sets, config.parent, tmp_path)
        (config.parent / "out.txt").write_text("00\nface-01\n")
        caplog.clear()
        opened = open_data(dataclasses.replace(settings, data=(held,)), sets, config.parent, tmp_path)
        assert "00" not in opened.train[0].names
        assert caplog.messages == ["hold_out of faces: 1 of 2 names are not in it, such as face-01"]
        share = dataclasses.replace(settings.data[0], validate="-5%")
        soft = dataclasses.replace(settings.data[0], pseudo="soft")
        for entry, words in ((share, "validate = '-5%': expected"), (soft, "no folder .*soft")):
            with pytest.raises(UsageError, match=words):
                open_data(dataclasses.replace(settings, data=(entry,)), sets, config.parent, tmp_path)

    def test_a_loss_that_is_no_number_ends_the_run(self, sets: Path, config: Path) -> None:
        run = trainer(sets, config, encoder_lr=1e30, decoder_lr=1e30)
        with pytest.raises(ModelError, match="the loss is nan at step 1: training broke down"):
            run.run()
        assert load_checkpoint(run.out / "last.pt")["step"] == 1

    def test_what_is_scored_from_the_middle_on_has_its_columns(self, tmp_path: Path) -> None:
        log = RunLog(tmp_path)
        log.add({"step": 1, "loss": 0.5})
        log.add({"step": 2, "loss": None, "head_iou": 0.75})
        assert (tmp_path / "log.csv").read_text().split() == ["step,loss,head_iou", "1,0.5,", "2,,0.75"]

    def test_rows_of_steps_that_are_done_anew_give_way(self, tmp_path: Path) -> None:
        log = RunLog(tmp_path)
        for step, loss in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.45)):
            log.add({"step": step, "loss": loss})
        assert (tmp_path / "log.csv").read_text().split() == ["step,loss", "1,0.5", "2,0.45"]

    def test_curves_of_many_parts_lie_in_rows(self, tmp_path: Path) -> None:
        columns = [f"part_{k}" for k in range(8)]
        rows = [f"{step}," + ",".join("0.5" for _ in columns[:-1]) + "," for step in (1, 2)]
        (tmp_path / "log.csv").write_text("\n".join([",".join(["step", *columns]), *rows]) + "\n")
        plot_curves(tmp_path / "log.csv", tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as image:
            drawn = np.asarray(image.convert("L")) < 200
        height, width = drawn.shape
        panels = drawn.reshape(2, height // 2, 5, width // 5).any(axis=(1, 3))
        assert panels.tolist() == [[True] * 5, [True] * 3 + [False] * 2]

    def test_a_log_with_more_fields_than_its_header_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "log.csv").write_text("step,loss\n1,0.5\n2,0.4,0.9,0.1\n")
        RunLog(tmp_path).add({"step": 3, "loss": 0.25})
        assert (tmp_path / "log.csv").read_text().split() == ["step,loss", "1,0.5", "2,0.4", "3,0.25"]

    @pytest.mark.parametrize(
        "text", [b"step;loss\r\n1;0,5\r\n", b'step,loss\n1,"0,5"\n', b"step,loss\n1.0,0.5\n", b"\0\xff", b"loss\n0.5\n"]
    )
    def test_a_log_that_a_spreadsheet_wrote_anew_is_set_aside(
        self, tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "log.csv"
        path.write_bytes(text)
        RunLog(tmp_path).add({"step": 2, "loss": 0.25})
        assert path.read_text().split() == ["step,loss", "2,0.25"]
        assert (tmp_path / "log-until-2.csv").read_bytes() == text
        assert "it is called log-until-2.csv now" in caplog.text
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some of them mark UTF-8
        RunLog(tmp_path).add({"step": 3, "loss": 0.125})
        assert path.read_text().split() == ["step,loss", "2,0.25", "3,0.125"]

    def test_a_run_of_any_seed(self, sets: Path, config: Path) -> None:
        run = trainer(sets, config, seed=2**63 - 1, steps=1)
        run.run()
        assert run.step == 1

    def test_the_best_of_many_parts_is_that_of_their_mean(self) -> None:
        score = Score({"skin": 0.5, "nose": 0.25, "hair": 0.75, "hat": math.nan}, math.nan)
        assert score.chosen_by == score.as_row()["mean_iou"] == 0.5
        assert str(score) == "mean IoU 0.5000"
        assert Score({"head": 0.5, "hair": 0.9, "body": 0.1}, 0.25).chosen_by == 0.5

    def test_a_picture_that_breaks_on_the_way_loses_nothing(
        self,
        sets: Path,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = trainer(sets, config, steps=9, evaluate_every=50)
        load = DataSet.load

        def broken(data: DataSet, name: str) -> Any:
            if run.step == 3:
                raise OSError(f"cannot read picture {name}")
            return load(data, name)

        monkeypatch.setattr(DataSet, "load", broken)
        with pytest.raises(SourceError, match="at step 3 a picture failed: cannot read picture"):
            run.run()
        assert load_checkpoint(run.out / "last.pt")["step"] == 3

    def test_a_full_disk_leaves_the_last_checkpoint(self, done: Trainer) -> None:
        before = (done.out / "last.pt").read_bytes()
        with files_of_at_most(len(before) // 2), pytest.raises(SinkError, match=r"last.pt: the file grew past"):
            done.state.save(done.out / "last.pt")
        assert (done.out / "last.pt").read_bytes() == before
        assert not list(done.out.glob("*part*"))

    def test_ctrl_c_waits_for_the_step(self, sets: Path, config: Path) -> None:
        """Signalled in the middle of a step's backward pass: the state saved is that of a whole number of steps."""
        whole = trainer(sets, config, "whole", steps=4, evaluate_every=50)
        whole.run()
        run = trainer(sets, config, steps=4, evaluate_every=50)

        def interrupt(_: Any) -> None:
            if run.step == 1:
                os.kill(os.getpid(), signal.SIGINT)

        hook = next(run.net.parameters()).register_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.run()
        hook.remove()
        assert run.step == 2
        again = trainer(sets, config, steps=4, evaluate_every=50)
        assert again.resume()
        again.run()
        for a, b in zip(whole.net.state_dict().values(), again.net.state_dict().values(), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize(("step", "kept"), [(0, None), (2, 2)])
    def test_a_second_ctrl_c_saves_no_half_step(
        self,
        sets: Path,
        config: Path,
        step: int,
        kept: int | None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Both come after the optimiser's step and before the average is moved."""
        run = trainer(sets, config, steps=4, evaluate_every=2)
        before: list[bytes] = []

        def interrupt(*_: Any) -> None:
            if run.step == step:
                before.extend(path.read_bytes() for path in run.out.glob("last.pt"))
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

        run.optimizer.register_step_post_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(run, change=False)
        assert [path.read_bytes() for path in run.out.glob("last.pt")] == before
        assert (run.step, run.saved_step) == (step, kept)
        if kept is None:
            assert (
                "stopped after step 0 of 4, not saved: the same command goes on from step 0" in capsys.readouterr().err
            )
        else:
            assert load_checkpoint(run.out / "last.pt")["step"] == kept

    def test_a_ctrl_c_while_saving_is_not_told_as_saved(
        self,
        sets: Path,
        config: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = trainer(sets, config, steps=4, evaluate_every=2)
        save, draw = torch.save, DataSet.load

        def interrupted(state: Any, file: Any) -> None:
            if state["step"] == 3:
                os.kill(os.getpid(), signal.SIGINT)
            save(state, file)

        def interrupting(data: DataSet, name: str) -> Any:
            if run.step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return draw(data, name)

        monkeypatch.setattr(torch, "save", interrupted)
        monkeypatch.setattr(DataSet, "load", interrupting)
        with pytest.raises(KeyboardInterrupt):
            _run(run, change=False)
        assert "stopped after step 3 of 4, not saved: the same command goes on from step 2" in capsys.readouterr().err
        assert load_checkpoint(run.out / "last.pt")["step"] == 2
        assert not list(run.out.glob("*part*"))

    def test_an_evaluation_that_was_interrupted_is_made_up_for(
        self,
        sets: Path,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = trainer(sets, config, evaluate_every=50)
        with monkeypatch.context() as patched:

            def interrupted(rgb: Any) -> Any:
                raise KeyboardInterrupt

            patched.setattr(run, "predict", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.run()
        assert not (run.out / "best.pt").exists()
        again = trainer(sets, config, evaluate_every=50)
        assert again.resume()
        again.state.best = -1.0  # whatever the score is, it is better
        again.run()
        assert again.history.scores["step"] == again.step == 2
        assert load_checkpoint(again.out / "best.pt")["best_step"] == 2
        rows = (run.out / "log.csv").read_text().splitlines()
        assert rows[0].startswith("step,loss,head_iou")
        step, loss = rows[1].split(",")[:2]
        assert (step, float(loss) > 0) == ("2", True)
        third = trainer(sets, config, evaluate_every=50)
        assert third.resume()
        third.run()
        assert (run.out / "log.csv").read_text().splitlines() == rows  # once is enough

    @pytest.mark.parametrize("signals", [1, 2])
    def test_a_ctrl_c_while_the_best_is_saved_does_not_lose_it(
        self,
        sets: Path,
        config: Path,
        signals: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A first one waits; after a second one it is scored and saved when the run goes on."""
        run = trainer(sets, config, evaluate_every=2)
        run.state.best = -1.0  # whatever the score is, it is better
        with monkeypatch.context() as patched:
            save = torch.save

            def interrupted(state: Any, file: Any) -> None:
                for _ in range(signals if "best" in Path(file.name).name else 0):
                    os.kill(os.getpid(), signal.SIGINT)
                save(state, file)

            patched.setattr(torch, "save", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.run()
        assert (run.out / "best.pt").exists() == (signals == 1)
        again = trainer(sets, config, evaluate_every=2)
        assert again.resume()
        again.run()
        assert load_checkpoint(again.out / "best.pt")["best"] == again.state.best > -1.0
        assert len((run.out / "log.csv").read_text().splitlines()) == 2

    @pytest.mark.parametrize("writes", range(6))
    def test_a_process_that_dies_while_it_writes_leaves_no_gap_in_the_log(
        self,
        sets: Path,
        config: Path,
        writes: int,
        log_of_two: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Wherever that is, among the files of two evaluations: log, best and last."""
        run, left = trainer(sets, config), iter(range(writes))
        run.state.best = -1.0  # whatever the score is, it is better

        def dying(function: Any) -> Any:
            def die(*arguments: Any) -> Any:
                if next(left, None) is None:
                    raise SystemExit
                return function(*arguments)

            return die

        with monkeypatch.context() as patched:
            patched.setattr("headstream.train.keeping.write_checkpoint", dying(write_checkpoint))
            patched.setattr("headstream.train.log.whole_file", dying(whole_file))
            with pytest.raises(SystemExit):
                run.run()
        again = trainer(sets, config)
        again.state.best = -1.0
        again.resume()
        again.run()
        assert (again.out / "log.csv").read_text() == log_of_two

    def test_a_log_that_cannot_be_written_costs_no_step_and_no_row(
        self,
        sets: Path,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def full(path: Path) -> Any:
            raise SinkError(f"{path}: the disk is full")

        run = trainer(sets, config, evaluate_every=2)
        with monkeypatch.context() as patched:
            patched.setattr("headstream.train.log.whole_file", full)
            with pytest.raises(SinkError, match=r"log\.csv: the disk is full"):
                run.run()
        assert load_checkpoint(run.out / "last.pt")["step"] == 2
        again = trainer(sets, config, evaluate_every=2)
        assert again.resume()
        again.run()
        assert [row[:2] for row in (run.out / "log.csv").read_text().splitlines()] == ["st", "2,"]

    def test_a_damaged_picture_is_named(self, sets: Path, config: Path, tmp_path: Path) -> None:
        shutil.copytree(sets, tmp_path / "data")
        run = trainer(tmp_path / "data", config, evaluate_every=50)
        for path in (tmp_path / "data").glob("*/images/*.png"):
            path.write_bytes(b"damaged")
        with pytest.raises(
            SourceError, match=r"at step 0 a picture failed: .*\.png: is not a picture that can be read;"
        ):
            run.run()

    def test_lists_of_names_are_utf8(self, sets: Path, config: Path, tmp_path: Path) -> None:
        shutil.copytree(sets, tmp_path / "data")
        for path in (tmp_path / "data" / "faces").glob("*/04.png"):
            path.rename(path.with_name("josé.png"))
        (config.parent / "held.txt").write_bytes("josé\n05\n".encode())
        run = trainer(tmp_path / "data", config)
        run.run()
        assert (run.out / "validation-1-faces.txt").read_bytes() == "05\njosé\n".encode()
        (config.parent / "held.txt").write_bytes("josé\n".encode("latin-1"))
        with pytest.raises(UsageError, match=r"list of names .*held.txt is not text in UTF-8"):
            trainer(tmp_path / "data", config)
        config.write_bytes("# é\nsteps = 2".encode("latin-1"))
        with pytest.raises(UsageError, match="c.toml is not TOML"):
            load_config(config)

    def test_faces_of_new_pictures_are_looked_for(self, sets: Path, tmp_path: Path) -> None:
        cache = tmp_path / "faces.json"
        data = DataSet("celebamask", sets / "faces", names=("00", "01"))
        size = data.image_path("00").stat().st_size
        cache.write_text(json.dumps({"00": [size, [1, 2, 3, 4]]}))
        assert find_faces(data, cache)["00"] == (1, 2, 3, 4)
        assert set(json.loads(cache.read_text())) == {"00", "01"}
        cache.write_text(json.dumps({"00": [size + 1, [1, 2, 3, 4]]}))  # another picture of that name
        assert find_faces(data, cache).get("00") != (1, 2, 3, 4)
        damaged = ('{"00": [1, 2', '{"00": [1, 2, 3, 4]}', "[]", "[" * 100_000, '{"00": [Infinity, [1, 2, 3, 4]]}')
        for text in (*damaged, *(f'{{"00": [{size}, {box}]}}' for box in ('{"x": 1}', "[1, 2, 3]", '"abcd"'))):
            cache.write_text(text)
            assert find_faces(data, cache).get("00") != (1, 2, 3, 4)

    def test_faces_of_folders_of_like_names_are_kept_apart(
        self,
        sets: Path,
        config: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for folder in ("set/one", "set-one"):
            shutil.copytree(sets / "faces", tmp_path / "data" / folder)
        box = {"one": (1.0, 2.0, 3.0, 4.0), "set-one": (5.0, 6.0, 7.0, 8.0)}
        monkeypatch.setattr(
            "headstream.train.faces._look_for_faces", lambda data, names: ((x, box[data.root.name]) for x in names)
        )
        settings = load_config(config)
        entries = tuple(dataclasses.replace(settings.data[0], folder=folder) for folder in ("set/one", "set-one"))
        settings = dataclasses.replace(settings, data=entries)
        for _ in range(2):  # the second time from the files
            opened = open_data(settings, tmp_path / "data", config.parent, tmp_path / "cache")
            assert [data.faces["00"] for data in opened.train] == list(box.values())

    def test_faces_found_before_a_damaged_picture_are_kept(self, sets: Path, tmp_path: Path) -> None:
        shutil.copytree(sets / "faces", tmp_path / "faces")
        (tmp_path / "faces" / "images" / "02.jpg").write_bytes(b"damaged")
        data = DataSet("celebamask", tmp_path / "faces", names=("00", "01", "02"))
        told: list[tuple[int, int]] = []
        with pytest.raises(SourceError, match=r"02\.jpg"):
            find_faces(data, tmp_path / "faces.json", lambda *done: told.append(done))
        assert told == [(1, 3), (2, 3)]
        assert set(json.loads((tmp_path / "faces.json").read_text())) == {"00", "01"}

    def test_initial_weights_of_another_network(self, done: Trainer, config: Path) -> None:
        settings = dataclasses.replace(load_config(config), init=str(done.out / "last.pt"))
        with pytest.raises(ModelError, match="last.pt does not fit the network"):
            build_net(settings, done.data)


@pytest.mark.slow
def test_stopped_by_a_signal_it_says_how_to_go_on(sets: Path, config: Path) -> None:
    """A process of its own, with workers, as a terminal has it: Ctrl-C goes to all of them."""
    out = config.parent / "run"
    config.write_text(config.read_text().replace("workers = 0", "workers = 1").replace("steps = 8", "steps = 100000"))
    command = [sys.executable, "-m", "headstream", "train", "--config", str(config), "--data", str(sets)]
    command += ["--out", str(out), "--device", "cpu"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_ctrl_c
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("step 4/"):
            os.killpg(process.pid, signal.SIGINT)
            break
    said += process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert said.endswith("saved: the same command goes on from there\nheadstream: interrupted\n")
    assert "Traceback" not in said
    assert load_checkpoint(out / "last.pt")["step"] >= 4


def test_the_best_is_kept_and_no_worse_one_after_it(tmp_path: Path) -> None:
    saved: list[tuple[int, str]] = []
    run = SimpleNamespace(history=SimpleNamespace(scores={}), best=0.0, best_step=0, step=0)
    run.save = lambda path: saved.append((run.step, path.name))
    on: Any = SimpleNamespace(leads=True)
    keeper = Keeper(tmp_path, run, DEFAULT, on)  # type: ignore[arg-type]
    for score in (0.5, 0.4, 0.5, 0.6):
        run.step += 1
        keeper.keep_if_best(SimpleNamespace(chosen_by=score, as_row=lambda: {}))  # type: ignore[arg-type]
    assert saved == [(1, "best.pt"), (4, "best.pt")]
    assert (run.best, run.best_step, run.history.scores) == (0.6, 4, {"step": 4})
