"""Planes of a network that nothing it was trained on told it of: it does not say that it knows them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from headstream.cli import main  # noqa: E402
from headstream.demo import PORTRAIT  # noqa: E402
from headstream.errors import ModelError  # noqa: E402
from headstream.nets.checkpoint import load_averaged, load_checkpoint  # noqa: E402
from headstream.nets.zoo import NetSpec, build  # noqa: E402
from headstream.segment.load import load_segmenter  # noqa: E402
from headstream.train.config import DataConfig, TrainConfig, load_config  # noqa: E402
from headstream.train.data import DataSet  # noqa: E402
from headstream.train.export import Deployed, Finish, export_onnx  # noqa: E402
from headstream.train.loop import Trainer  # noqa: E402
from headstream.train.packed import pack  # noqa: E402
from headstream.train.recover import load_exported  # noqa: E402
from headstream.train.saving import save_trained  # noqa: E402
from headstream.train.sets import OpenedData  # noqa: E402
from headstream.train.start import untaught_planes  # noqa: E402
from headstream.train.teachers import Teachers  # noqa: E402
from tests.train.test_export import SMALL  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_curves")

PLANES = ("head", "hair", "body")
HEAD_ALONE = dataclasses.replace(SMALL, untaught=("hair", "body"), side=64)
MINE = """
steps = 1
batch = 2
sizes = [[0.0, 64]]
workers = 0
imagenet = false
decoder = [16, 16, 8, 8]

[[data]]
kind = "masks"
folder = "mine"
"""


def checkpoint(path: Path, spec: NetSpec = HEAD_ALONE) -> Path:
    torch.manual_seed(0)
    save_trained(build(spec).eval(), spec, {"trained_steps": 1, "licence": "mine"}, path)
    return path


@pytest.fixture
def root(sets: Path, tmp_path: Path) -> Path:
    """Data with masks of heads alone, beside the other sets, and mine.toml."""
    root = tmp_path / "data"
    shutil.copytree(sets, root)
    shutil.copytree(sets / "faces" / "images", root / "mine" / "images")
    (root / "mine" / "masks").mkdir()
    for path in (sets / "faces" / "labels").iterdir():
        head = np.isin(np.asarray(Image.open(path)), (1, 13))
        Image.fromarray(np.where(head, 255, 0).astype(np.uint8)).save(root / "mine" / "masks" / path.name)
    (tmp_path / "mine.toml").write_text(MINE)
    return root


def test_masks_of_heads_teach_no_hair(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["--config", str(tmp_path / "mine.toml"), "--data", str(root), "--out", str(run)]
    assert main(["train", *words]) == 0
    assert main(["export", str(run / "model.onnx"), "--side", "96", "--out", str(tmp_path / "again.onnx")]) == 0
    for file in (run / "model.onnx", tmp_path / "again.onnx", run / "last.pt"):
        assert load_segmenter(str(file)).parts == ("head",)
        assert main(["image", str(PORTRAIT), "--out", str(tmp_path / "x.png"), "--model", str(file), "--part", "hair"])
        assert "knows head, not 'hair'" in capsys.readouterr().err
        assert load_segmenter(str(file)).predict(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("more", "taught"),
    [
        ((), "head"),
        (("hairs",), "head hair"),
        (("nothing",), "head"),
        (("soft",), "head hair body"),
        (("packed",), "head hair"),
    ],
)
def test_sets_teach_what_their_truth_tells(root: Path, tmp_path: Path, more: tuple[str, ...], taught: str) -> None:
    hairs = DataSet("hair", root / "hairs")
    pack(hairs, tmp_path / "p.zip", side=64)
    others = {
        "hairs": hairs,
        "nothing": dataclasses.replace(hairs, weight=0.0),
        "soft": DataSet("pictures", root / "faces", pseudo=tmp_path),
        "packed": DataSet("packed", tmp_path / "p.zip"),
    }
    data = OpenedData((DataSet("masks", root / "mine"), *(others[name] for name in more)), (), ())
    left = untaught_planes(TrainConfig(), data, ())
    assert [plane for plane in PLANES if plane not in left] == taught.split()


def test_a_start_and_teachers_tell_what_they_were_taught(root: Path, tmp_path: Path) -> None:
    data = OpenedData((DataSet("masks", root / "mine"),), (), ())
    spec = dataclasses.replace(HEAD_ALONE, untaught=("body",))
    export_onnx(build(spec).eval(), spec, tmp_path / "n.onnx")
    assert load_exported(tmp_path / "n.onnx")[1].known == ("head", "hair")
    for start, left in (
        (checkpoint(tmp_path / "n.pt", spec), ("body",)),
        (tmp_path / "n.onnx", ("body",)),
        ("lite", ()),
        (checkpoint(tmp_path / "head.pt"), ("hair", "body")),
    ):
        assert untaught_planes(TrainConfig(init=str(start)), data, ()) == left
    cpu = torch.device("cpu")
    teachers = Teachers([tmp_path / "n.pt"], ("hair", "body", "head"), cpu)
    assert untaught_planes(TrainConfig(), data, teachers.taught) == ("body",)
    assert teachers.sure.flatten().tolist() == [1, 0, 1]
    assert Teachers([tmp_path / "n.pt", tmp_path / "head.pt"], PLANES, cpu).taught == {"head"}
    assert Teachers([], PLANES, cpu).taught == set()


def test_a_teacher_does_not_teach_what_it_was_not_taught(root: Path, tmp_path: Path) -> None:
    teachers = (str(checkpoint(tmp_path / "head.pt")),)
    settings = dataclasses.replace(load_config(tmp_path / "mine.toml"), teachers=teachers)
    run = Trainer(settings, data_root=root, config_dir=tmp_path, out=tmp_path / "run")
    assert run.spec.untaught == ("hair", "body")
    rgb = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    run._loss(rgb, torch.zeros_like(rgb), torch.zeros_like(rgb), torch.ones(3)).backward()
    slopes = run.net.decoder.head.weight.grad.abs().amax((1, 2, 3)).view(3, 4).amax(1)
    assert [bool(slope) for slope in slopes] == [True, False, False]


def test_what_was_learnt_before_stays_learnt(root: Path, tmp_path: Path) -> None:
    settings = load_config(tmp_path / "mine.toml")
    mine, faces = settings.data[0], DataConfig("celebamask", "faces")

    def trained(steps: int, data: DataConfig, out: str = "run") -> Path:
        changed = dataclasses.replace(settings, steps=steps, data=(data,))
        run = Trainer(changed, data_root=root, config_dir=tmp_path, out=tmp_path / out)
        run.resume(change=True)
        run.run()
        assert run.spec.untaught == tuple(load_checkpoint(run.out / "last.pt")["spec"]["untaught"])
        return run.out / "last.pt"

    alone = trained(1, mine, "alone")
    assert load_averaged([alone])[1].untaught == ("hair", "body")
    trained(1, faces)
    both = trained(2, mine)
    assert load_averaged([both])[1].untaught == ()
    assert load_averaged([both, alone])[1].untaught == ("hair", "body")
    state = load_checkpoint(alone)  # as older versions wrote them
    del state["spec"]["untaught"]
    torch.save(state, alone)
    assert load_averaged([trained(2, mine, "alone")])[1].untaught == ()


def test_a_body_that_nothing_taught_takes_nothing_off_the_head() -> None:
    torch.manual_seed(0)
    net, rgb = build(SMALL).eval(), torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    plain, kept = (Deployed(net, HEAD_ALONE, ("head",), finish)(rgb) for finish in (None, Finish(against_body=2.0)))
    assert torch.equal(kept, plain)


def test_what_cannot_be_untaught_is_told() -> None:
    for wrong in (["face"], 5, "head"):
        with pytest.raises(ModelError, match="untaught|cannot be"):
            NetSpec.from_dict(SMALL.as_dict() | {"untaught": wrong})
