"""Nothing that is read is written over, however its path is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from headstream.apart import check_apart, model_files
from headstream.cli import main
from headstream.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a film, its links, and frames in a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mov").write_text("a film")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "000120.png").write_text("a mask")
    (tmp_path / "link.mov").symlink_to("film.mov")
    (tmp_path / "linked").symlink_to("frames")
    os.link(tmp_path / "film.mov", tmp_path / "twin.mov")
    return tmp_path


def test_weights_in_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "w.onnx").write_text("weights")
    with pytest.raises(UsageError, match=r"w\.onnx"):
        check_apart(model_files("~/w.onnx"), [here / "w.onnx"])


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("film.mov", "film.mov"),
        ("film.mov", "./frames/../film.mov"),
        ("film.mov", "link.mov"),
        ("link.mov", "film.mov"),
        ("film.mov", "twin.mov"),
        ("new.mov", "frames/../new.mov"),
        ("frames/000120.png", "frames"),
        ("frames/000120.png", "linked/%06d.png"),
        ("linked/000120.png", "frames/%d.png"),
        ("frames/000000000120.png", "frames/%012d.png"),
        ("film.partial.mov", "film.mov"),
    ],
)
def test_what_is_read_is_not_written(here: Path, read: str, written: str) -> None:
    for one, other in ((read, written), (str(here / read), written), (read, str(here / written))):
        with pytest.raises(UsageError, match="must be different|breaks off"):
            check_apart([Path("other"), Path(one)], [Path("o.mov"), Path(other)])


@pytest.mark.parametrize(
    ("first", "second"),
    [("film.mov", "link.mov"), ("frames", "linked"), ("frames/a%d.png", "frames"), ("a.mov", "./a.mov")],
)
def test_two_outputs_are_two_files(here: Path, first: str, second: str) -> None:
    with pytest.raises(UsageError, match="written twice"):
        check_apart([], [Path(first), Path(second)])


def test_what_lies_beside_an_output_may_be_read(here: Path) -> None:
    reads = [Path("film.mov"), Path("frames/000120.png")]
    check_apart(reads, [Path("film.mkv"), Path("frames/cut_%06d.png"), Path("m.mov")])
    check_apart([Path("frames/mask.png"), Path("film.mov")], [Path("frames"), Path("new")])


def test_a_model_that_is_a_file_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").touch()
    assert model_files(str(tmp_path / "own.onnx")) == [tmp_path / "own.onnx", tmp_path / "own.json"]
    assert model_files("default") == model_files("owner/name") == []


@pytest.mark.parametrize(
    "command",
    [
        "video film.mov --out o.mp4 --background o.mp4",
        "video film.mov --out o.mov --matte o.mov",
        "video film.mov --out o.mov --matte film.mov",
        "video film.mov --out o.mov --fix fixes.html --review fixes.html",
        "live --camera film.mov --record film.mov",
        "live --camera film.mov --record o.mp4 --background o.mp4",
        "crop film.mov --track t.json --out t.json.mov --matte t.json.mov",
        "crop film.mov --track t.mov --out t.mov",
        "paste film.mov --track t.json --clip o.mp4 --out o.mp4",
        "paste film.mov --track t.json --clip clip.mov --audio o.mp4 --out o.mp4",
        "track film.mov --out film.mov",
        "track film.mov --out t.png --plot t.png",
        "track film.mov --out own.json --model own.onnx",
    ],
)
def test_every_command_refuses_it(here: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("o.mp4", "own.onnx"):
        (here / name).write_text("mine")
    before = contents(here)
    assert main(command.split()) == 2
    assert "must be different" in capsys.readouterr().err
    assert contents(here) == before


def test_a_batch_refuses_it(head_clip: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "clip.mp4").write_bytes(head_clip.read_bytes())
    (here / "link.mov").unlink()
    (here / "link.mov").symlink_to("clip.mp4")
    Image.new("RGB", (64, 64)).save(here / "photo.png")
    before = contents(here)
    for command in (
        "batch clip.mp4 --out . --format mp4 --background blur",
        "batch clip.mp4 link.mov --out here/..",
        "batch clip.mp4 --out . --report clip.mp4",
        "batch clip.mp4 --out made --report made/./clip.mov",
        "batch clip.mp4 --out made --matte mkv --report made/clip.matte.mkv",
        "batch photo.png --out made --report made/photo/head_only.png",
        "batch clip.mp4 --out made --report made/results.jsonl",
    ):
        assert main(command.split()) == 2
        assert "would replace" in capsys.readouterr().err
    assert contents(here) == before


def test_a_result_of_a_photo_that_is_itself_an_input(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("head_only.png", "a/head_only.png"):
        (here / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (90, 120, 40)).save(here / name)
    Image.new("RGB", (64, 64)).save(here / "a.png")
    before = contents(here)
    assert main(["batch", "a.png", "a/head_only.png", "--out", "."]) == 2
    assert "would replace" in capsys.readouterr().err
    Path("head_only").mkdir()
    Path("head_only.png").rename("head_only/head_only.png")
    assert main(["image", "head_only/head_only.png", "--out", "."]) == 2
    assert "would replace it" in capsys.readouterr().err
    Image.new("RGB", (64, 64)).save(here / "head_only.png")
    Path("link.png").symlink_to("head_only/head_only.png")
    for command in ("image", "batch"):  # what is put behind the head is read, too
        for name in ("head_only/head_only.png", "link.png"):
            assert main([command, "head_only.png", "--out", ".", "--background", name]) == 2
            assert "would replace" in capsys.readouterr().err
    assert (here / "head_only" / "head_only.png").read_bytes() == before[here / "head_only.png"]


def test_a_percent_sign_makes_no_sequence_of_a_track(here: Path) -> None:
    check_apart([here / "film.mov"], [Path("100%.jsonl"), Path("100%.png")])


def test_a_checkpoint_is_not_exported_over_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    (here / "best.pt").write_text("mine")
    assert main(["export", "best.pt", "--out", "./frames/../best.pt"]) == 2
    assert "must be different" in capsys.readouterr().err


def test_a_batch_of_a_part_the_network_does_not_know_ends_at_once(
    head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(head_clip), "--out", str(out), "--part", "nose"]) == 2
    assert "knows head, hair, not 'nose'" in capsys.readouterr().err
    assert not out.exists()


def test_masks_of_corrections_are_read_too(head_clip: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (320, 240)).save(here / "frames" / "000005.png")
    (here / "frames" / "fixes.json").write_text(json.dumps([{"frame": 4, "mask": "000005.png"}]))
    before = contents(here)
    assert main(["video", str(head_clip), "--out", "frames", "--fix", "frames/fixes.json"]) == 2
    assert "000005.png" in capsys.readouterr().err
    assert contents(here) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
