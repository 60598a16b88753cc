"""Networks that teach a smaller one while it trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.errors import ModelError, UsageError  # noqa: E402
from headstream.nets.checkpoint import load_trained  # noqa: E402
from headstream.nets.zoo import NetSpec, as_called, build  # noqa: E402
from headstream.train.config import DataConfig, TrainConfig  # noqa: E402
from headstream.train.export import card_details  # noqa: E402
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.saving import save_trained  # noqa: E402
from headstream.train.teachers import Teachers  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_curves")

PLANES = ("head", "hair", "body")
CPU = torch.device("cpu")


def teacher(path: Path, *, outputs: tuple[str, ...] = PLANES, seed: int = 0) -> Path:
    """A checkpoint of a small network of random weights, sure of what it says."""
    torch.manual_seed(seed)
    spec = NetSpec(decoder=(16, 16, 8, 8), outputs=outputs)
    net = build(spec).train()
    for _ in range(4):
        net(torch.rand(4, 3, 64, 64) * 2 - 1)
    with torch.no_grad():
        net.decoder.head.bias.copy_(torch.linspace(-3, 3, 4 * len(outputs)))
    save_trained(net, spec, {"trained_steps": 1}, path)
    return path


@pytest.fixture
def unlabelled(tmp_path: Path) -> TrainConfig:
    """A run on pictures of which nothing is known."""
    (tmp_path / "grey").mkdir()
    for index in range(4):
        Image.new("RGB", (96, 96), (40 + 50 * index, 120, 200 - 40 * index)).save(tmp_path / "grey" / f"{index}.png")
    return TrainConfig(
        data=(DataConfig("pictures", "grey"),),
        decoder=(16, 16, 8, 8),
        imagenet=False,
        steps=40,
        batch=4,
        sizes=((0.0, 64),),
        warmup=2,
        workers=0,
        evaluate_every=100,
        teachers=(str(teacher(tmp_path / "teacher.pt")),),
        teacher_weight=1.0,
    )


def test_several_teachers_give_their_mean_in_the_students_order(tmp_path: Path) -> None:
    one = teacher(tmp_path / "1.pt", seed=1)
    two = teacher(tmp_path / "2.pt", outputs=("body", "head", "hair"), seed=2)
    rgb = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    said = Teachers([one, two], PLANES, CPU)(rgb)
    alone = []
    for path in (one, two):
        net, spec = load_trained(path)
        alone.append(torch.sigmoid(as_called(net, spec)(rgb).detach())[:, [spec.outputs.index(p) for p in PLANES]])
    torch.testing.assert_close(said, (alone[0] + alone[1]) / 2)
    assert not said.requires_grad


def test_a_teacher_that_does_not_know_a_plane_is_refused(tmp_path: Path) -> None:
    path = teacher(tmp_path / "head.pt", outputs=("head",))
    with pytest.raises(ModelError, match=r"head\.pt cannot teach body, hair: it knows head"):
        Teachers([path], PLANES, CPU)


def test_a_weight_that_is_no_share_is_refused() -> None:
    with pytest.raises(UsageError, match=r"teacher_weight = 1\.5"):
        TrainConfig(teacher_weight=1.5)


def test_another_teacher_under_the_same_name_is_told(unlabelled: TrainConfig, tmp_path: Path) -> None:
    short = dataclasses.replace(unlabelled, steps=1)
    run = Trainer(short, data_root=tmp_path, config_dir=tmp_path, out=tmp_path / "run")
    run.run()
    card = card_details(run.net, run.spec, run.out / "last.pt")
    assert card["teachers"][0].startswith(unlabelled.teachers[0])
    assert card["licence"] == f"unknown: that of grey, the teacher {unlabelled.teachers[0]}"
    teacher(tmp_path / "teacher.pt", seed=5)
    with pytest.raises(UsageError, match="teachers = "):
        Trainer(short, data_root=tmp_path, config_dir=tmp_path, out=tmp_path / "run").resume()


def test_the_student_comes_to_say_what_the_teacher_says(unlabelled: TrainConfig, tmp_path: Path) -> None:
    run = Trainer(unlabelled, data_root=tmp_path, config_dir=tmp_path, out=tmp_path / "run")
    rgb = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    told = Teachers([Path(unlabelled.teachers[0])], PLANES, CPU)(rgb)

    def apart() -> float:
        run.net.train()  # 40 steps do not move the running statistics far
        with torch.no_grad():
            return float((torch.sigmoid(as_called(run.net, run.spec)(rgb)) - told).abs().mean())

    before = apart()
    run.run()
    assert apart() < 0.6 * before
