"""Networks that know the hair, the face or parts alone, through the whole pipeline; made of the shipped one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from headstream.cli import main
from headstream.errors import UsageError
from headstream.films.foresight import BatchCutter
from headstream.matte.refine import MatteOptions
from headstream.photos.cutter import PhotoCutter
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import load_segmenter
from headstream.segment.registry import find_model
from headstream.track.finder import FaceFinder
from headstream.train.picture import PLANE_CLASSES
from headstream.types import Cutout, Frame, Part, UInt8Array
from tests.conftest import moving_portrait
from tests.films.test_foresight import cut_at_once
from tests.media import alpha_of, frame_times, pattern

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hair.onnx, face.onnx (the head less its hair) and both.onnx (the two, no head), with cards."""
    folder = tmp_path_factory.mktemp("nets")
    card = find_model("default")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    for name, outputs in (("hair", ["hair"]), ("face", ["face"]), ("both", ["face", "hair"])):
        model = onnx.load(str(card.file))
        graph = model.graph
        last = graph.output[0].name
        for node in graph.node:
            node.output[:] = ["alpha_all" if out == last else out for out in node.output]
        for k, plane in enumerate(("whole", "hair")):
            graph.initializer.append(numpy_helper.from_array(np.array([k], np.int64), f"{plane}_at"))
            graph.node.append(helper.make_node("Gather", ["alpha_all", f"{plane}_at"], [f"{plane}_plane"], axis=1))
        graph.node.append(helper.make_node("Sub", ["whole_plane", "hair_plane"], ["less"]))
        graph.node.append(helper.make_node("Relu", ["less"], ["face_plane"]))
        graph.node.append(helper.make_node("Concat", [f"{plane}_plane" for plane in outputs], [last], axis=1))
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(outputs)
        onnx.save(model, str(folder / f"{name}.onnx"))
        told = {"kind": "segmenter", "file": f"{name}.onnx", "side": card.side, "outputs": outputs}
        (folder / f"{name}.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def loaded(nets: Path) -> Callable[[str], CropSegmenter]:
    kept: dict[str, CropSegmenter] = {}

    def load(name: str) -> CropSegmenter:
        if name not in kept:
            kept[name] = load_segmenter(str(nets / f"{name}.onnx"))
        return kept[name]

    return load


def frames_of(pictures: list[UInt8Array]) -> list[Frame]:
    from fractions import Fraction

    return [Frame(picture, index=k, pts=Fraction(k, 25)) for k, picture in enumerate(pictures)]


def shares(
    cutout: Cutout, portrait_hair: tuple[slice, slice], portrait_face: tuple[slice, slice]
) -> tuple[float, float]:
    alpha = cutout.alpha / 255
    return float(alpha[portrait_hair].mean()), float(alpha[portrait_face].mean())


HAIR, FACE = np.s_[40:70, 195:240], np.s_[125:160, 215:240]  # of the portrait


@pytest.mark.parametrize(("name", "part"), [("hair", "hair"), ("face", "face"), ("both", "hair"), ("both", "face")])
def test_a_photo(
    name: str, part: Part, loaded: Callable[[str], CropSegmenter], finder: FaceFinder, portrait: UInt8Array
) -> None:
    options = CutOptions(part=part)
    (stage,) = PhotoCutter(loaded(name), finder, options).cut(portrait).heads
    hair, face = shares(stage.cutout, HAIR, FACE)
    assert (hair > 0.8 and face < 0.2) if part == "hair" else (face > 0.8 and hair < 0.3)


@pytest.mark.parametrize("name", ["hair", "face"])
def test_a_film_on_the_command_line(
    name: str, nets: Path, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.mkv"
    command = [
        "video",
        str(head_clip),
        "--out",
        str(out),
        "--part",
        name,
        "--model",
        str(nets / f"{name}.onnx"),
        "--json",
    ]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["frames_with_head"] == 30
    assert len(frame_times(out)) == 30
    assert alpha_of(out)[10].max() > 200


def test_many_frames_at_once_are_those_of_one_at_a_time(
    loaded: Callable[[str], CropSegmenter], finder: FaceFinder, portrait: UInt8Array
) -> None:
    options = CutOptions(part="hair")
    frames = frames_of(moving_portrait(portrait, 12))
    single = HeadCutter(loaded("hair"), finder, options)
    expected = [single.cut(frame) for frame in frames]
    many = BatchCutter(loaded("hair"), finder, options, at_once=4)
    got = cut_at_once(many, frames[:6])
    again = BatchCutter(loaded("hair"), finder, options, at_once=4)
    again.restore(many.snapshot())
    got += cut_at_once(again, frames[6:])
    for a, b in zip(got, expected, strict=True):
        assert a.heads[0].crop_px == b.heads[0].crop_px
        assert np.abs(a.alpha.astype(int) - b.alpha).max() <= 2  # a batch's last bits


def test_the_crop_of_a_hair_network_keeps_the_whole_head(
    loaded: Callable[[str], CropSegmenter], finder: FaceFinder, portrait: UInt8Array
) -> None:
    frames = frames_of(moving_portrait(portrait, 6))
    whole = HeadCutter(load_segmenter(), finder)
    hair = HeadCutter(loaded("hair"), finder, CutOptions(part="hair"))
    for frame in frames:
        (by_head,), (by_hair,) = whole.cut(frame).heads, hair.cut(frame).heads
    sides = [x1 - x0 for x0, _, x1, _ in (by_head.crop_px, by_hair.crop_px)]
    assert 0.75 < sides[1] / sides[0] < 1.33
    assert by_hair.crop_px[3] > by_hair.box_px[3]  # the chin is in it


def test_what_fills_no_face_is_no_face(
    loaded: Callable[[str], CropSegmenter], finder: FaceFinder, portrait: UInt8Array
) -> None:
    blind = loaded("face")

    class Nothing:
        parts = ("face",)

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Any:
            return blind.predict(rgb, part) * 0

    options = CutOptions(part="face")
    assert PhotoCutter(Nothing(), finder, options).cut(portrait).heads == ()
    assert HeadCutter(Nothing(), finder, CutOptions(part="face")).cut(Frame(portrait)).heads == ()


def test_what_the_network_does_not_know_is_refused_before_any_picture(
    nets: Path,
    loaded: Callable[[str], CropSegmenter],
    finder: FaceFinder,
    tmp_path: Path,
    head_clip: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError, match="model hair knows hair, not 'head'"):
        PhotoCutter(loaded("hair"), finder)
    with pytest.raises(UsageError, match="model face knows face, not 'hair'"):
        HeadCutter(loaded("face"), finder, CutOptions(part="face", matte=MatteOptions(hair_color=(9, 9, 9))))
    with pytest.raises(UsageError, match="model face knows face, not 'hair'"):
        PhotoCutter(loaded("face"), finder, CutOptions(part="face", matte=MatteOptions(strands=True)))
    cutter = HeadCutter(loaded("both"), finder, CutOptions(part="hair"))
    with pytest.raises(UsageError, match="knows face, hair, not 'head'"):
        cutter.configure(CutOptions())
    assert cutter.options.part == "hair"
    assert cutter.cut(Frame(pattern(320, 240, 0))).heads == ()
    out = tmp_path / "o.mov"
    assert main(["video", str(head_clip), "--out", str(out), "--part", "nose"]) == 2
    assert "knows head, hair, not 'nose'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_plane_of_a_training_set_is_a_part() -> None:
    assert set(get_args(Part)) == set(PLANE_CLASSES)
