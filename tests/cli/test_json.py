"""What --json prints: the same keys of every command that cuts, one object whatever happens (docs/json.md)."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from headstream.cli import main
from headstream.sinks.photo import write_photo
from headstream.types import UInt8Array
from tests.media import pattern

pytestmark = pytest.mark.usefixtures("answers_kept")

COMMON = {
    "frames_in": int,
    "frames_out": int,
    "frames_with_head": int,
    "seconds": float,
    "fps": float,
    "stages_ms": dict,
    "device": str,
    "model": str,
    "outputs": list,
}


@pytest.fixture(scope="module")
def places(portrait: UInt8Array, head_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The words that stand for files in what is typed."""
    folder = tmp_path_factory.mktemp("json")
    Image.fromarray(portrait).save(folder / "ada.jpg", quality=95)
    track, head = folder / "t.json", folder / "head.mkv"
    assert main(["track", str(head_clip), "--out", str(track)]) == 0
    assert main(["crop", str(head_clip), "--track", str(track), "--out", str(head), "--size", "96"]) == 0
    return {"PHOTO": folder / "ada.jpg", "FILM": head_clip, "TRACK": track, "HEAD": head}


@pytest.mark.parametrize(
    ("typed", "stages"),
    [
        ("image PHOTO --out OUT", {"decode", "track", "segment", "matte", "write"}),
        ("video FILM --out OUT.mkv", {"decode", "track", "segment", "matte"}),
        ("batch PHOTO FILM --out OUT --format mkv --workers 1", {"decode", "track", "segment", "matte"}),
        ("live --camera FILM --record OUT.mkv", {"track", "segment", "matte"}),
        ("track FILM --out OUT.json --plot OUT.png", {"decode", "track", "segment"}),
        ("crop FILM --track TRACK --out OUT.mkv --size 96 --alpha", {"decode", "segment", "matte", "clip"}),
        ("paste FILM --track TRACK --clip HEAD --out OUT.mkv --match-colour", {"decode", "segment", "blend"}),
        ("demo --out OUT", {"decode", "track", "segment", "matte"}),
        ("bench file FILM", {"decode", "track", "segment", "matte"}),
        ("bench live --size 320x240 --fps 10 --seconds 2", {"track", "segment", "matte"}),
    ],
    ids=lambda value: value.partition(" -")[0] if isinstance(value, str) else "",
)
def test_every_command_that_cuts_tells_the_same(
    typed: str,
    stages: set[str],
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("headstream.demo.SECONDS", 1)
    words = [str(places.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in typed.split()]
    assert main([*words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(told)[: len(COMMON)] == list(COMMON)
    for key, kind in COMMON.items():
        assert isinstance(told[key], kind), key
    assert told["frames_in"] >= told["frames_out"] >= told["frames_with_head"] > 0
    assert told["seconds"] > 0
    assert told["fps"] > 0 or told["frames_out"] == 1
    assert stages <= told["stages_ms"].keys()
    assert min(told["stages_ms"][stage] for stage in stages) > 0
    assert told["device"] == "cpu"
    assert told["model"].startswith("lite")
    assert bool(told["outputs"]) == ("OUT" in typed)
    assert all(Path(path).exists() for path in told["outputs"])


def test_where_no_network_runs_none_is_named(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["crop", places["FILM"], "--track", places["TRACK"], "--out", tmp_path / "c.mkv", "--size", "96"]
    assert main([*map(str, words), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["device"], told["model"]) == (None, None)
    assert told["frames_out"] == 30


def test_what_an_earlier_batch_made_is_among_the_outputs(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch", str(places["PHOTO"]), "--out", str(tmp_path), "--workers", "1", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(words) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["skipped"] == 1
    assert second["outputs"] == first["outputs"]
    assert (second["frames_in"], second["device"]) == (0, None)


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ("image PHOTO", 2, "Missing option"),
        ("image PHOTO --out PHOTO", 2, "is a file"),
        ("video NONE.mp4 --out OUT.mov", 2, "no such file"),
        ("video FILM --out OUT.mp4", 2, "no transparency"),
        ("video FILM --out OUT.mov --device cuda", 1, "'cuda' is not here"),
        ("video FILM --out OUT.mov --nonsense", 2, "No such option"),
        ("batch NONE --out OUT", 2, "no such file"),
        ("live --camera nobody's", 2, "no camera here"),
        ("track FILM --out FILM", 2, "different files"),
        ("crop FILM --track PHOTO --out OUT.mkv", 2, "no track file"),
        ("bench file NONE.mp4", 2, "no such file"),
        ("bench live --size 17x17", 2, "expected even WIDTHxHEIGHT"),
        ("models info nobody", 2, "nobody"),
        ("nonsense", 2, "No such command"),
    ],
)
def test_what_is_refused_is_told_as_an_object_too(
    typed: str, status: int, words: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(places.get(word, word)).replace("OUT", str(tmp_path / "out")).replace("NONE", str(tmp_path / "none"))
        for word in typed.split()
    ]
    assert main([*arguments, "--json"]) == status
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told.keys() == {"error", "exit"}
    assert told["exit"] == status
    assert words in told["error"]
    assert f"headstream: {told['error']}" in err
    assert main(arguments) == status
    assert capsys.readouterr().out == ""


def test_an_interrupt_before_there_is_anything_to_tell(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("headstream.photos.album.load_segmenter", interrupted)
    assert main(["image", str(places["PHOTO"]), "--out", str(tmp_path), "--json"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "interrupted", "exit": 130}
    assert err == "headstream: interrupted\n"


def test_cameras_are_listed_as_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--list", "--json"]) == 0
    for camera in json.loads(capsys.readouterr().out)["cameras"]:
        assert camera.keys() == {"number", "name"}


def test_a_demo_without_a_head_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pattern(128, 128, 0)).save(tmp_path / "nobody.jpg")
    monkeypatch.setattr("headstream.demo.PORTRAIT", tmp_path / "nobody.jpg")
    monkeypatch.setattr("headstream.demo.SECONDS", 1)
    assert main(["demo", "--out", str(tmp_path / "d"), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["frames_with_head"] == 0
    assert {Path(path).name for path in told["outputs"]} == {"portrait.jpg", "portrait.mp4", "head.webm"}


def test_a_benchmark_of_a_film_without_a_head(plain_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "file", str(plain_clip), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["frames_with_head"] == 0
    assert "no head was found in any of its 12 frames" in err


class TestPhotosThatFail:
    """Whatever one photo brings about, the rest is cut, and each is listed with its file."""

    @pytest.fixture
    def folder(self, portrait: UInt8Array, tmp_path: Path) -> Path:
        for name in ("b", "c"):
            Image.fromarray(portrait).save(tmp_path / f"{name}.jpg", quality=95)
        return tmp_path

    def test_a_damaged_avif(self, folder: Path, portrait: UInt8Array, capsys: pytest.CaptureFixture[str]) -> None:
        if not features.check("avif"):
            pytest.skip("this Pillow reads no AVIF")
        whole = folder / "whole.avif"
        Image.fromarray(portrait).save(whole)
        data = bytearray(whole.read_bytes())
        data[data.index(b"mdat") + 4 :] = bytes(len(data) - data.index(b"mdat") - 4)
        whole.unlink()
        (folder / "a.avif").write_bytes(data)
        assert main(["image", str(folder / "*.*"), "--out", str(folder / "cut"), "--json"]) == 1
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert [Path(photo["input"]).name for photo in told["done"]] == ["b.jpg", "c.jpg"]
        assert told["failed"][0]["input"] == str(folder / "a.avif")
        assert f"{folder / 'a.avif'}: damaged or cut off" in err
        assert "lite-photo-int8 on cpu" in err

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (ZeroDivisionError("by zero"), "b.jpg: internal error: ZeroDivisionError: by zero"),
            (MemoryError(), "b.jpg: not enough memory"),
        ],
    )
    def test_what_nobody_foresaw(
        self,
        error: Exception,
        words: str,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.failing_once(error, monkeypatch)
        assert main(["image", str(folder), "--out", str(folder / "cut"), "--json"]) == 1
        out, err = capsys.readouterr()
        assert [Path(photo["input"]).name for photo in json.loads(out)["done"]] == ["c.jpg"]
        assert words in err

    def test_a_place_that_cannot_be_written_to(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "cut").mkdir()
        (folder / "cut" / "b").touch()
        assert main(["image", str(folder), "--out", str(folder / "cut"), "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert [Path(photo["input"]).name for photo in told["failed"]] == ["b.jpg"]
        assert [Path(photo["input"]).name for photo in told["done"]] == ["c.jpg"]
        (folder / "c.jpg").unlink()
        assert main(["image", str(folder / "b.jpg"), "--out", str(folder / "cut")]) == 1

    def test_a_full_disk_ends_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.failing_once(OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
        assert main(["image", str(folder), "--out", str(folder / "cut"), "--json"]) == 1
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert (told["done"], len(told["failed"]), told["left"]) == ([], 1, 1)
        assert "stopped with 1 photo left" in err

    def test_ctrl_c_keeps_what_is_done(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def second(place: Path, *arguments: Any, **more: Any) -> list[Path]:
            if place.name == "c":
                raise KeyboardInterrupt
            return write_photo(place, *arguments, **more)

        monkeypatch.setattr("headstream.photos.album.write_photo", second)
        assert main(["image", str(folder), "--out", str(folder / "cut"), "--json"]) == 130
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert [Path(photo["input"]).name for photo in told["done"]] == ["b.jpg"]
        assert (told["interrupted"], told["left"]) == (True, 1)
        assert "interrupted with 1 photo left" in err

    def failing_once(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the first photo that is written end so."""
        errors = [error]

        def write(*arguments: Any, **more: Any) -> list[Path]:
            if errors:
                raise errors.pop()
            return write_photo(*arguments, **more)

        monkeypatch.setattr("headstream.photos.album.write_photo", write)
