"""What a person types and sees: outputs, messages, exit status."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from headstream.capture.cameras import Camera
from headstream.cli import _check_filled, main
from headstream.cli.console import progress_bar
from headstream.cli.live import StatusLine
from headstream.errors import ModelError, UsageError
from headstream.live.cutting import LiveStatus
from headstream.live.outputs import Output
from headstream.live.session import LiveJob
from headstream.segment.registry import models_dir
from headstream.shared.interrupts import held_interrupts
from headstream.types import UInt8Array
from tests.conftest import moving_portrait
from tests.media import files_of_at_most, frame_times, heeds_ctrl_c, pattern, probe, video_stream, write_video
from tests.portaudio import TestPortAudio

pytestmark = pytest.mark.usefixtures("answers_kept")

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture
def photo(portrait: UInt8Array, tmp_path: Path) -> Path:
    path = tmp_path / "ada.jpg"
    Image.fromarray(portrait).save(path, quality=95)
    return path


class TestImage:
    def test_writes_what_it_promises(self, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("image", photo, "--out", tmp_path / "cut", "--stages") == 0
        folder = tmp_path / "cut" / "ada"
        assert {p.name for p in folder.iterdir()} == {
            "head_only.png",
            "full_mask.png",
            "head_mask_crop.png",
            "stages.png",
        }
        head, mask = Image.open(folder / "head_only.png"), Image.open(folder / "full_mask.png")
        assert (head.mode, head.size) == ("RGBA", (512, 512))
        assert (mask.mode, mask.size) == ("L", (512, 512))
        assert (np.asarray(head)[..., 3] == np.asarray(mask)).all()
        assert np.asarray(mask)[100:160, 200:260].mean() > 250
        assert np.asarray(mask)[300:].mean() < 3
        assert not np.asarray(head)[np.asarray(mask) == 0].any()
        assert "1 photo cut" in capsys.readouterr().err

    def test_one_bad_file_never_stops_the_rest(
        self, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bad.png").write_text("no photo")
        Image.fromarray(pattern(200, 150, 0)).save(tmp_path / "nobody.png")
        status = run("image", tmp_path / "bad.png", photo, tmp_path / "nobody.png", "--out", tmp_path / "cut", "--json")
        out, err = capsys.readouterr()
        result = json.loads(out)
        assert status == 1
        assert len(result["done"]) == 1
        assert result["no_head"] == [str(tmp_path / "nobody.png")]
        assert result["failed"][0]["input"] == str(tmp_path / "bad.png")
        assert "bad.png: not a photo" in err
        assert "nobody.png: no head found" in err
        assert "Traceback" not in err

    def test_exit_status(self, tmp_path: Path) -> None:
        Image.fromarray(pattern(200, 150, 0)).save(tmp_path / "nobody.png")
        assert run("image", tmp_path / "nobody.png", "--out", tmp_path / "cut") == 3
        assert run("image", tmp_path / "missing.png", "--out", tmp_path / "cut") == 2
        (tmp_path / "file").write_text("not a folder")
        assert run("image", tmp_path / "nobody.png", "--out", tmp_path / "file") == 2

    def test_one_photo_into_one_file(self, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "new" / "me.png"
        assert run("image", photo, "--out", out, "--json") == 0
        assert json.loads(capsys.readouterr().out)["outputs"] == [str(out)]
        with Image.open(out) as cut, Image.open(photo) as whole:
            assert (cut.mode, cut.size) == ("RGBA", whole.size)
            assert cut.getchannel("A").getextrema() == (0, 255)
        assert list(out.parent.iterdir()) == [out]

    def test_the_result_beside_the_photo_is_no_photo(self, photo: Path, tmp_path: Path) -> None:
        folder = tmp_path / "alone"
        folder.mkdir()
        Image.open(photo).save(folder / "a.png")
        for _ in range(2):
            assert run("image", folder, "--out", folder / "head.png") == 0

    def test_one_file_is_for_one_photo_alone(
        self, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        twin = tmp_path / "twin.png"
        Image.open(photo).save(twin)
        before = twin.read_bytes()
        for arguments, told in (
            ((photo, twin, "--out", tmp_path / "a.png"), "is one file, and there are 2 photos"),
            ((photo, "--out", tmp_path / "a.png", "--stages"), "for --stages, name a folder"),
            ((photo, "--out", tmp_path / "a.jpg"), "has no transparency; name a .png"),
            ((photo, "--out", tmp_path / "a.mp4"), "a cut-out is a .png"),
            ((twin, "--out", twin), "is the photo itself"),
            ((photo, "--out", twin, "--background", twin), "is the background itself"),
        ):
            assert run("image", *arguments) == 2
            assert told in capsys.readouterr().err
        assert twin.read_bytes() == before
        assert not (tmp_path / "a.png").exists()

    def test_what_is_no_photo_or_not_there_is_told(
        self, photo: Path, plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("image", plain_clip, "--out", tmp_path / "cut") == 2
        assert f"for a film: headstream video {plain_clip} --out FILE" in capsys.readouterr().err
        assert run("image", photo, "--out", tmp_path / "cut", "--hq", "--hair-color", "#102030") == 2
        assert "leave out --hq or --hair-color" in capsys.readouterr().err
        assert run("image", photo, "--out", tmp_path / "cut", "--heads", "2") == 3
        err = capsys.readouterr().err
        assert "ada.jpg: 1 head in it, numbered from the largest on" in err
        assert "ada.jpg: no head of person 2 found" in err

    def test_a_face_that_is_not_believed_is_told(
        self, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Image.fromarray(255 - cv2.Canny(portrait, 60, 120)).save(tmp_path / "drawn.png")
        assert run("image", tmp_path / "drawn.png", "--out", tmp_path / "o") == 3
        err = capsys.readouterr().err
        assert "drawn.png: something like a face is in it, but the network finds no head there" in err
        assert "drawn.png: no head found" in err

    def test_of_several_pictures_only_the_first_is_cut_and_it_is_told(
        self, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = Image.fromarray(portrait)
        first.save(tmp_path / "pages.tif", save_all=True, append_images=[first.transpose(Image.Transpose.ROTATE_90)])
        assert run("image", tmp_path / "pages.tif", "--out", tmp_path / "cut") == 0
        assert "pages.tif: holds 2 pictures; only the first was looked at" in capsys.readouterr().err

    def test_odd_names_stay_in_the_output_folder(self, photo: Path, tmp_path: Path) -> None:
        names = ["...jpg", "-dash.jpg", "[x] ü.jpg", "n" * 251 + ".jpg"]
        for name in names:
            (tmp_path / name).write_bytes(photo.read_bytes())
        out = tmp_path / "deep" / "cut"
        assert run("image", *(tmp_path / name for name in names), "--out", out) == 0
        made = {"-dash", "...jpg", "[x] ü", "n" * 251}
        assert {folder.name for folder in out.iterdir()} == made
        assert [folder.name for folder in out.parent.iterdir()] == ["cut"]
        assert all((out / name / "head_only.png").is_file() for name in made)

    @pytest.mark.parametrize("option", ["--hair-color", "--hair-colour"])
    def test_colour_is_spelled_as_one_likes(self, option: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("image", "missing.png", "--out", "cut", option, "#8a2be2") == 2
        assert "missing.png: no such file" in capsys.readouterr().err

    def test_same_names_from_different_folders(self, photo: Path, tmp_path: Path) -> None:
        other = tmp_path / "more" / "Ada.png"  # one name where the file system ignores case
        other.parent.mkdir()
        Image.open(photo).save(other)
        assert run("image", photo, other.parent, "--out", tmp_path / "cut") == 0
        assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["Ada-2", "ada"]

    def test_two_heads(self, portrait: UInt8Array, tmp_path: Path) -> None:
        both = np.hstack([portrait, portrait[:, ::-1]])
        Image.fromarray(both).save(tmp_path / "two.png")
        assert run("image", tmp_path / "two.png", "--out", tmp_path / "a", "--heads", "all") == 0
        assert run("image", tmp_path / "two.png", "--out", tmp_path / "b") == 0
        all_heads = np.asarray(Image.open(tmp_path / "a" / "two" / "full_mask.png"))
        one = np.asarray(Image.open(tmp_path / "b" / "two" / "full_mask.png"))
        assert (all_heads > 128).sum() > 1.8 * (one > 128).sum()
        assert (tmp_path / "a" / "two" / "head_mask_crop_2.png").exists()

    def test_a_result_takes_the_place_of_all_of_an_earlier_one(self, portrait: UInt8Array, tmp_path: Path) -> None:
        Image.fromarray(np.hstack([portrait, portrait[:, ::-1]])).save(tmp_path / "two.png")
        made = tmp_path / "cut" / "two"
        assert run("image", tmp_path / "two.png", "--out", made.parent, "--heads", "all", "--stages") == 0
        (made / "notes.png").touch()
        assert run("image", tmp_path / "two.png", "--out", made.parent) == 0
        names = {"head_only.png", "full_mask.png", "head_mask_crop.png", "notes.png"}
        assert {file.name for file in made.iterdir()} == names

    def test_what_only_has_the_name_of_a_result_stays(self, photo: Path, tmp_path: Path) -> None:
        (tmp_path / "ada").mkdir()
        (tmp_path / "ada" / "stages.png").write_text("somebody's own")
        assert run("image", photo, "--out", tmp_path) == 0
        assert (tmp_path / "ada" / "stages.png").read_text() == "somebody's own"

    def test_hair(self, photo: Path, tmp_path: Path) -> None:
        assert run("image", photo, "--out", tmp_path / "cut", "--part", "hair") == 0
        mask = np.asarray(Image.open(tmp_path / "cut" / "ada" / "full_mask.png"))
        assert mask[45:65, 210:250].mean() > 200
        assert mask[125:155, 215:240].mean() < 60

    def test_exif_rotation(self, portrait: UInt8Array, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.rot90(portrait[:, :400], 1).copy()).save(tmp_path / "r.jpg", exif=exif, quality=95)
        assert run("image", tmp_path / "r.jpg", "--out", tmp_path / "cut") == 0
        assert Image.open(tmp_path / "cut" / "r" / "head_only.png").size == (400, 512)


@pytest.fixture(scope="module")
def long_clip(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 frames with sound: enough to be interrupted."""
    pictures = moving_portrait(portrait, 40) * 10
    return write_video(tmp_path_factory.mktemp("clips") / "long.mp4", pictures, sound=True)


def test_a_value_may_end_in_an_equals_sign() -> None:
    _check_filled(["live", "--token=QUJDRA==", "--camera=rtsp://host/?key=", "--", "--out="])
    with pytest.raises(UsageError, match="--out: an argument is empty"):
        _check_filled(["video", "a.mp4", "--out="])


class TestVideo:
    def test_a_film_that_starts_late_keeps_its_times(
        self, portrait: UInt8Array, uneven_pts: list[int], tmp_path: Path
    ) -> None:
        source = write_video(tmp_path / "late.mp4", moving_portrait(portrait, len(uneven_pts)), pts=uneven_pts)
        assert run("video", source, "--out", tmp_path / "o.mkv") == 0
        assert frame_times(tmp_path / "o.mkv") == pytest.approx([(t - uneven_pts[0]) / 1000 for t in uneven_pts])

    def test_json(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("video", head_clip, "--out", tmp_path / "o.mkv", "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["frames_in"], result["frames_out"], result["frames_with_head"]) == (30, 30, 30)
        assert result["device"] == "cpu"
        assert result["outputs"] == [str(tmp_path / "o.mkv")]
        assert {"decode", "track", "segment", "matte"} <= result["stages_ms"].keys()

    def test_nobody_in_it(self, plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("video", plain_clip, "--out", tmp_path / "o.mkv") == 3
        assert "no head was found in any of its 12 frames" in capsys.readouterr().err
        assert run("video", plain_clip, "--out", tmp_path / "o.mkv", "--heads", "2") == 3
        assert "no head of person 2 was found in any of its 12 frames" in capsys.readouterr().err
        assert len(frame_times(tmp_path / "o.mkv")) == 12

    @pytest.mark.parametrize(("name", "told"), [("o.mkv", True), ("o.mov", True), ("frames", True), ("o.webm", False)])
    def test_bits_that_are_lost_are_told(
        self, name: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where the output had room for them."""
        (tmp_path / "deep").mkdir()
        for number in (1, 2):
            cv2.imwrite(str(tmp_path / "deep" / f"{number}.png"), pattern(96, 64, number).astype(np.uint16) * 257)
        run("video", tmp_path / "deep", "--out", tmp_path / name)
        assert ("the picture of deep has 16 bits, of which 8 are kept" in capsys.readouterr().err) == told

    @pytest.mark.parametrize(("name", "hdr_told"), [("o.mkv", False), ("frames", True)])
    def test_what_may_look_odd_is_told(
        self, name: str, hdr_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = write_video(
            tmp_path / "s.mp4",
            [pattern(96, 64, k) for k in range(3)],
            pix_fmt="yuv444p",
            colour=(9, 1, 9, 18),
            options={"x264-params": "tff=1"},
        )
        assert run("video", source, "--out", tmp_path / name) == 3
        told = capsys.readouterr().err
        assert "interlaced" in told
        if name == "o.mkv":
            order = "tb" if hasattr(av.VideoCodecContext, "field_order") else None  # PyAV 17 does not tell the source's
            assert video_stream(tmp_path / name).get("field_order") == order
        assert ("HDR" in told) == hdr_told

    @pytest.mark.parametrize("name", ["frames", "frames/%03d.png"])
    def test_frames_of_an_earlier_longer_film_are_told(
        self, name: str, plain_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "frames").mkdir()
        numbers = "{:03d}.png" if "%" in name else "{:06d}.png"
        for number in (12, 13, 14, 16):
            (tmp_path / "frames" / numbers.format(number)).touch()
        run("video", plain_clip, "--out", tmp_path / name)
        said = (
            f"frames also holds 2 frames of an earlier film, from {numbers.format(13)} on; remove them, or they follow"
        )
        assert said in capsys.readouterr().err
        for number in (13, 14):
            (tmp_path / "frames" / numbers.format(number)).unlink()
        run("video", plain_clip, "--out", tmp_path / name)
        assert "earlier film" not in capsys.readouterr().err

    def test_over_a_background(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("video", head_clip, "--out", tmp_path / "o.mp4", "--background", "blur") == 0
        size = (tmp_path / "o.mp4").stat().st_size
        assert f"wrote {tmp_path / 'o.mp4'} ({size / 1e3:.1f} kB)" in capsys.readouterr().err
        assert len(frame_times(tmp_path / "o.mp4")) == 30

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["IN", "--out", "OUT.mp4"], "no transparency"),
            (["IN", "--out", "OUT.xyz"], ".gif, a folder or %06d.png, or .mp4 with a --background"),
            (["IN", "--out", "OUT.xyz", "--background", "blur"], "use .mp4, or --codec h264 in .mov or .mkv"),
            (["IN", "--out", "OUT.mov", "--matte", "OUT.xyz"], "use .mkv, .mov, .mp4, .webm, a folder or %06d.png"),
            (["IN"], "--out"),
            (["IN", "--out", "OUT.mov", "--nonsense"], "No such option"),
            (["IN", "--out", "OUT.mov", "--heads", "both"], "expected largest, all or"),
            (["IN", "--out", "OUT.mov", "--heads", "\N{SUPERSCRIPT TWO}"], "expected largest, all or"),
            (["IN", "--out", "OUT.mov", "--segment", "-1"], "--segment"),
            (["IN", "--out", "OUT.mov", "--segment", "inf"], "--segment"),
            (["IN", "--out", "OUT.mov", "--part", "hiar"], "--part hiar: expected head, hair, face"),
            (["IN", "--out", "OUT.mov", "--codec", "wmv"], "unknown; known"),
            (["IN", "--out", "OUT.mov", "--background", "plaid"], "--background"),
            (["IN", "--out", "OUT", "--matte", "OUT/%06d.png"], "must be different"),
            (["missing.mp4", "--out", "OUT.mov"], "no such file"),
            (
                ["https://example.com/a.mp4", "--out", "OUT.mov"],
                "https://example.com/a.mp4: is an address; nothing is dow",
            ),
            (["FOLDER", "--out", "OUT.mov"], "is a folder without numbered pictures; name a video"),
            (
                ["IN", "--out", "OUT.mov", "--codec", "h264"],
                "has no transparency; leave out --codec, or choose a --back",
            ),
            (["TEXT", "--out", "OUT.mov"], "not a video"),
            (["IN", "--out", ""], "--out: an argument is empty"),
            (["IN", "--out="], "--out: an argument is empty"),
            (["", "--out", "OUT.mov"], "an argument is empty"),
            (["EMPTY", "--out", "OUT.mov"], "is empty"),
        ],
    )
    def test_bad_input_is_one_clear_line_and_status_2(
        self, arguments: list[str], words: str, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "text.mp4").write_text("words, words")
        (tmp_path / "empty.mp4").touch()
        places = {"IN": head_clip, "TEXT": tmp_path / "text.mp4", "EMPTY": tmp_path / "empty.mp4", "FOLDER": tmp_path}
        given = [str(places.get(a, a)).replace("OUT", str(tmp_path / "out")) for a in arguments]
        assert run("video", *given) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert len(err.strip().splitlines()) == 1
        assert {p.name for p in tmp_path.iterdir()} == {"text.mp4", "empty.mp4"}

    @pytest.mark.parametrize(
        "command",
        [
            "video IN --out o.mkv",
            "track IN --out t.json",
            "bench file IN",
            "crop IN --track IN --out o.mkv",
            "paste IN --track IN --clip IN --out o.mkv",
        ],
    )
    def test_what_may_not_be_read_is_told_as_of_all_commands(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        film = tmp_path / "film.mp4"
        film.write_text("words, words")
        may = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(film) and may(path, mode))
        monkeypatch.chdir(tmp_path)
        assert run(*(word.replace("IN", str(film)) for word in command.split())) == 2
        assert "Invalid value" not in capsys.readouterr().err

    def test_a_device_that_is_not_here(
        self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("video", head_clip, "--out", tmp_path / "o.mov", "--device", "cuda") == 1
        assert "'cuda' is not here" in capsys.readouterr().err

    @pytest.mark.skipif(ROOT, reason="root may write everywhere")
    def test_an_unwritable_output(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tmp_path.chmod(0o500)
        assert run("video", head_clip, "--out", tmp_path / "o.mov") == 1
        assert "no permission" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_ctrl_c_leaves_a_playable_file_and_130(self, tmp_path: Path, long_clip: Path, name: str) -> None:
        out = tmp_path / "o.mkv"
        process = subprocess.Popen(
            [sys.executable, "-m", "headstream", "video", str(long_clip), "--out", str(out)],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeds_ctrl_c,
        )
        part = tmp_path / ".o.part.mkv"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 50_000):
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "interrupted" in err
        assert "Traceback" not in err
        count = len(frame_times(out))
        assert 3 < count < 400
        assert not part.exists()

    def test_a_review_of_nothing_is_not_said_to_be_written(
        self, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("headstream.pipeline.HeadCutter.begin", interrupted)
        assert run("video", head_clip, "--out", tmp_path / "o.mkv", "--review", tmp_path / "r.html") == 130
        assert not list(tmp_path.iterdir())
        assert "wrote" not in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    def test_ctrl_c_and_the_same_command_again(
        self, tmp_path: Path, portrait: UInt8Array, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clip = write_video(tmp_path / "long.mp4", moving_portrait(portrait, 60) * 2)
        command = ["video", str(clip), "--out", str(tmp_path / "o.mkv"), "--segment", "0.4", "--no-look-ahead"]
        process = subprocess.Popen(
            [sys.executable, "-m", "headstream", *command], stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (tmp_path / ".o.mkv.work" / "journal.json").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "the same command goes on from frame" in err
        assert f"remove the folder {tmp_path / '.o.mkv.work'}" in err
        assert 10 <= len(frame_times(tmp_path / "o.mkv")) < 120
        assert run(*command, "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert result["resumed_from_frame"] >= 10
        assert (result["frames_in"], result["frames_out"]) == (120, 120)
        assert any("broken off" in note or "by an earlier run" in note for note in result["notes"])
        assert len(frame_times(tmp_path / "o.mkv")) == 120


class TestLive:
    def test_records_and_tells(self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "o.webm"
        assert run("live", "--camera", head_clip, "--record", out, "--json", "--hair-color", "#8a2be2") == 0
        captured = capsys.readouterr()
        told = json.loads(captured.out)
        assert told["frames_with_head"] == told["frames"] > 0
        assert told["outputs"] == [str(out)]
        assert told["shown_on"][str(out)]["error"] is None
        assert f"wrote {out}" in captured.err
        assert video_stream(out)["codec_name"] == "vp9"

    def test_the_status_keeps_to_one_line_below_what_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr("headstream.cli.live._columns", lambda: 24)
        line = StatusLine("running")
        line.say("headstream: camera 0")
        line.report(LiveStatus(), [])
        line.say("headstream: camera 0 is gone")

        def seen(line: str) -> str:
            """What is on a line of a terminal that knows the carriage's return, and no more, once all was written over it."""
            row = ""
            for text in line.split("\r"):
                row = text + row[len(text) :]
            return row.rstrip()

        assert [seen(text) for text in terminal.getvalue().split("\n")] == [
            "headstream: camera 0",
            "headstream: running",
            "headstream: camera 0 is gone",
            "0.0 frames/s  0 ms  0 d",
        ]
        line.end()
        assert seen(terminal.getvalue().split("\n")[-1]) == ""

    def test_an_earlier_take_is_not_replaced_unasked(
        self, head_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "o.mkv"
        out.write_text("an earlier take")
        arguments = ("live", "--camera", head_clip, "--record", out, "--seconds", "1")
        assert run(*arguments) == 2
        assert f"{out} is already there; give another name, or --overwrite" in capsys.readouterr().err
        assert out.read_text() == "an earlier take"
        assert run(*arguments, "--overwrite") == 0
        assert video_stream(out)["codec_name"] == "ffv1"

    def test_nobody_in_view(self, plain_clip: Path, tmp_path: Path) -> None:
        assert run("live", "--camera", plain_clip, "--record", tmp_path / "o.mkv") == 3

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["live", "--camera", "no such camera"], "no camera here"),
            (["live", "--camera", "http://127.0.0.1:9/"], "cannot be opened"),
            (["live", "--size", "big"], "expected even WIDTHxHEIGHT"),
            (["live", "--camera", "screen:1", "--record", "o.mov"], "screen:X,Y,WIDTH,HEIGHT"),
            (["live", "--record", "o.mp4"], "no transparency"),
            (["live", "--hair-color", "purple"], "'#rrggbb'"),
            (["bench", "live", "--size", "17x17"], "expected even WIDTHxHEIGHT"),
            (["studio", "--host", "0.0.0.0"], "--token"),
            (["studio", "--public-url", "https://studio.example"], "--token"),
            (["studio", "--public-url", "studio.example", "--token", "a-token-of-at-least-16"], "expected http://"),
            (["studio", "--camera", "no such camera"], "no camera here"),
        ],
    )
    def test_what_cannot_be_is_one_line(
        self, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*arguments) == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert words in last

    def test_without_a_temporary_folder_the_studio_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As on a disk that is full."""
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "none")])
        assert run("studio", "--no-open", "--port", "0") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "No usable temporary directory" in line
        assert "TMPDIR" in line

    def test_without_a_display_the_preview_says_so(
        self, head_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if sys.platform != "linux":
            pytest.skip("the other systems always have one")
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert run("live", "--camera", head_clip, "--preview") == 1
        assert "no display here" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [(["--virtual-camera"], None), (["--virtual-camera", "--mirror"], None), (["--virtual-camera", "OBS"], "OBS")],
    )
    def test_a_virtual_camera_with_and_without_a_name(
        self, arguments: list[str], name: str | None, head_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[LiveJob] = []

        def run_session(job: LiveJob, **more: object) -> tuple[LiveStatus, list[Output]]:
            asked.append(job)
            return LiveStatus(), []

        monkeypatch.setattr("headstream.live.session.run_session", run_session)
        assert run("live", "--camera", head_clip, *arguments) == 3
        assert (asked[0].virtual_camera, asked[0].virtual_camera_name, asked[0].preview) == (True, name, False)

    def test_without_its_package_a_virtual_camera_says_so_and_nothing_of_transparency(
        self, head_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
        assert run("live", "--camera", head_clip, "--virtual-camera") == 1
        err = capsys.readouterr().err
        assert "pip install 'headstream[vcam]'" in err
        assert "transparency" not in err

    def test_cameras_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("live", "--list") == 0
        captured = capsys.readouterr()
        assert captured.out or "names no camera" in captured.err

    def test_microphones_are_listed_after_them(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("headstream.capture.cameras.list_cameras", lambda: [Camera(3, "Webcam")])
        monkeypatch.setitem(sys.modules, "sounddevice", TestPortAudio(("Webcam Mono", 1, 0), ("Line In", 2, 0)))
        assert run("live", "--list") == 0
        assert capsys.readouterr().out == "3  Webcam\nmicrophone  Webcam Mono\nmicrophone  Line In\n"
        monkeypatch.setitem(sys.modules, "sounddevice", TestPortAudio())
        assert run("live", "--list", "--json") == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == {"cameras": [{"number": 3, "name": "Webcam"}], "microphones": []}
        assert captured.err == "headstream: this system names no microphone\n"
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        assert run("live", "--list") == 0
        assert capsys.readouterr().err == "headstream: a microphone needs sounddevice: pip install sounddevice\n"

    @pytest.mark.parametrize("name", ["", "line"])
    def test_records_with_the_sound_of_a_microphone(
        self,
        name: str,
        head_clip: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        system = TestPortAudio(("Webcam Mono", 1, 0), ("Line In", 2, 0))
        monkeypatch.setitem(sys.modules, "sounddevice", system)
        out = tmp_path / "o.mov"
        arguments = ["--camera", head_clip, "--loop", "--seconds", 3, "--record", out]
        assert run("live", *arguments, "--microphone", *([name] if name else [])) == 0
        label = "Line In" if name else "Webcam Mono"
        assert f"o.mov will have the sound of microphone {label}\n" in capsys.readouterr().err
        video, audio = probe(out)["streams"]
        assert (audio["codec_name"], audio["channels"]) == ("pcm_s16le", 2 if name else 1)
        assert float(audio["duration"]) == pytest.approx(float(video["duration"]), abs=0.05)
        with av.open(str(out)) as film:
            wave = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
        assert (np.abs(wave.astype(int)) > 100).mean() > 0.4
        assert not system.open

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--preview", "--microphone"], "name a file to record"),
            (["--record", "o.gif", "--microphone", "--json"], "GIF has no place for sound"),
            (["--record", "o.mov", "--microphone", "nobody"], "--microphone nobody: is none here; microphones: Mic"),
        ],
    )
    def test_a_microphone_that_cannot_be(
        self,
        arguments: list[str],
        words: str,
        head_clip: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(sys.modules, "sounddevice", TestPortAudio(("Mic", 1, 0)))
        assert run("live", "--camera", head_clip, *arguments) == 2
        assert words in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


class TestOthers:
    def test_version_and_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        import headstream

        assert run("--version") == 0
        assert headstream.__version__ in capsys.readouterr().out
        assert run("--help") == 0
        for command in ("demo", "image", "video", "train", "export", "models", "bench", "doctor"):
            assert command in capsys.readouterr().out or run(command, "--help") == 0

    def test_doctor(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("doctor", "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert result["ok"]
        states = {(f["topic"], f["name"]): f["state"] for f in result["findings"]}
        assert states["model", "lite"] == "ok"
        assert states["encoder", "prores_aw"] == "ok"
        assert states["run", "portrait"] == "ok"
        assert run("doctor") == 0
        assert "all that the main job needs is here" in capsys.readouterr().out

    def test_models(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("models", "list", "--json") == 0
        listed = capsys.readouterr().out
        assert {"lite"} <= {m["name"] for m in json.loads(listed)["models"]}
        assert run("models", "--json") == 0
        assert capsys.readouterr().out == listed
        assert run("models") == 0
        assert "lite-int8" in capsys.readouterr().out
        assert run("models", "--json", "info", "lite") == 2
        assert "--json goes after the command" in capsys.readouterr().out
        assert run("models", "info", "lite", "--json") == 0
        info = json.loads(capsys.readouterr().out)
        assert info["file_state"] == "matches the card"

    def test_a_card_without_a_sum_is_no_match(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        told = json.loads((models_dir() / "lite.json").read_text(encoding="utf-8"))
        card = tmp_path / "mine.json"
        card.write_text(json.dumps(told | {"file": str(models_dir() / "lite.onnx"), "sha256": ""}), encoding="utf-8")
        assert run("models", "info", card) == 0
        assert "file state: is there; its card has no sha256 to check it by" in capsys.readouterr().out

    @pytest.mark.parametrize("command", ["demo --out", "evaluate lite --data nose:. --out"])
    def test_a_command_that_writes_no_single_picture_does_not_offer_one(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "o").touch()
        assert run(*command.split(), tmp_path / "o") == 2
        assert capsys.readouterr().err.endswith("o: is a file; --out names a folder\n")

    @pytest.mark.parametrize("command", ["bench model --model", "models info", "image a.jpg --out cut --model"])
    @pytest.mark.parametrize("name", ["lte", "missing.onnx", "missing.pt", "alone.onnx"])
    def test_a_model_there_is_not_is_wrong_usage(
        self,
        command: str,
        name: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "alone.onnx").touch()
        Image.fromarray(pattern(200, 150, 0)).save(tmp_path / "a.jpg")
        assert run(*command.split(), name) == 2
        assert f"model {name}" in capsys.readouterr().err.replace("'", "")

    def test_so_is_a_device_nobody_knows(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("bench", "model", "--threads", "0") == 2
        assert "--threads" in capsys.readouterr().err
        assert run("bench", "model", "--device", "gpu") == 2
        assert "device 'gpu' is not known; known: auto, cpu" in capsys.readouterr().err
        assert run("bench", "model", "--device", "mps") == 2
        assert "device 'mps' is for networks in torch (.pt); this one takes auto, cpu" in capsys.readouterr().err

    def test_bench(self, head_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("bench", "file", head_clip, "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert result["frames"] == 30
        assert {"fps", "frames", "seconds", "rss_mb", "stages_ms"} <= result.keys()
        assert run("bench", "model", "--json") == 0
        assert {"crop_ms", "threads", "parameters"} <= json.loads(capsys.readouterr().out).keys()
        assert run("bench", "live", "--size", "320x240", "--fps", "10", "--seconds", "1", "--every", "2") == 0
        assert "latency_ms         p50 " in (out := capsys.readouterr().out)
        assert re.search(r"network_every      [23]\n", out)  # 3 where the machine is too busy for 2
        assert "np." not in out

    def test_demo(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("headstream.demo.SECONDS", 1)
        assert run("demo", "--out", tmp_path / "d") == 0
        names = {p.name for p in (tmp_path / "d").iterdir()}
        assert names == {"portrait.jpg", "portrait.mp4", "head.webm", "head_only.png", "full_mask.png", "view.html"}
        err = capsys.readouterr().err
        assert "30 frames, 30 with a head" in err
        assert str((tmp_path / "d").resolve()) in err
        assert len(frame_times(tmp_path / "d" / "head.webm")) == 30

    @pytest.mark.parametrize(("size", "left"), [(60_000, set()), (180_000, {"portrait.jpg"})])
    def test_a_demo_on_a_full_disk(
        self, size: int, left: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with files_of_at_most(size):
            assert run("demo", "--out", tmp_path / "d") == 1
        assert ("portrait.mp4: " if left else "portrait.jpg: ") in capsys.readouterr().err
        assert {path.name for path in (tmp_path / "d").iterdir()} == left

    def test_a_demo_that_cannot_be_leaves_nothing(self, tmp_path: Path) -> None:
        assert run("demo", "--out", tmp_path / "d", "--model", "nope") == 2
        assert not (tmp_path / "d").exists()

    def test_a_demo_whose_folder_can_have_no_such_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refused(folder: Path, *arguments: object, **more: object) -> None:
            raise OSError(errno.EINVAL, "Invalid argument", str(folder))  # of Windows' disks

        monkeypatch.setattr(Path, "mkdir", refused)
        assert run("demo", "--out", tmp_path / "a?") == 1
        assert capsys.readouterr().err == f"headstream: {tmp_path / 'a?'}: cannot be written: Invalid argument\n"

    def test_every_command_is_told_in_a_whole_sentence(self, capsys: pytest.CaptureFixture[str]) -> None:
        for group in ([], ["models"], ["bench"]):
            assert run(*group, "--help") == 0
            assert "..." not in capsys.readouterr().out.split("Commands:")[1]

    @pytest.mark.parametrize("columns", [40, 80])
    def test_progress_fits_the_terminal(
        self, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setattr("headstream.cli.console._SHOW_AFTER_S", -1.0)
        with progress_bar("a film with quite a long name.mp4" if columns == 80 else "talk.mp4") as progress:
            progress(1, 123456)
            progress(123456, 123456)
        err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
        assert "123456/123456 frames" in err
        assert (" /s" in err) == (columns == 80)

    def test_completion_is_offered(self, capsys: pytest.CaptureFixture[str]) -> None:
        run("--help")
        assert "--install-completion" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("line", "found"),
        [
            ("video a.mp4 --codec p", ["prores"]),
            ("batch a --format web", ["webm", "webp"]),
            ("image a.jpg --model lite-", ["lite-int8", "lite-photo-int8"]),
            ("models info lite-i", ["lite-int8"]),
            ("live --device te", ["tensorrt"]),
        ],
    )
    def test_tab_completes_values(self, line: str, found: list[str]) -> None:
        asked = {"_HEADSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": f"headstream {line}"}
        script = "import sys; sys.argv = ['headstream']; from headstream.cli import main; main()"
        answered = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | asked | {"COMP_CWORD": str(len(line.split()))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answered.stdout.split() == found

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_ctrl_c_in_a_finalizer_is_not_lost(
        self, name: str, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not hasattr(signal, name):
            pytest.skip(f"this system has no {name}")
        # One that was interrupted before ignores SIGHUP, one that runs in the background SIGINT.
        signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

        class Picture:
            def __del__(self) -> None:
                signal.raise_signal(getattr(signal, name))

        def slow(*arguments: object) -> None:
            Picture()
            for _ in range(300):
                time.sleep(0.1)

        monkeypatch.setattr("headstream.films.video.cut_video_file", slow)
        assert run("video", head_clip, "--out", tmp_path / "o.mov") == 130

    @pytest.mark.skipif(os.name == "nt", reason="another signal stands for Windows' own")
    def test_ctrl_break_waits_and_ends_it_as_ctrl_c_does(
        self, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []

        def finishing(*arguments: object) -> None:
            with held_interrupts():
                signal.raise_signal(signal.SIGUSR1)
                done.append("finished")
            done.append("went on")

        monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
        monkeypatch.setattr("headstream.films.video.cut_video_file", finishing)
        before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            assert run("video", head_clip, "--out", tmp_path / "o.mov") == 130
            assert (done, signal.getsignal(signal.SIGUSR1)) == (["finished"], signal.SIG_IGN)
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_sigterm_is_handled_as_before_afterwards(self) -> None:
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            assert run("--version") == 0
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        finally:
            signal.signal(signal.SIGTERM, before)

    @pytest.mark.skipif(sys.platform == "win32", reason="there it cannot be removed")
    def test_a_folder_that_is_gone_from_below_one_is_told(
        self, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        try:
            assert run("video", head_clip, "--out", "o.mov") == 1
        finally:
            monkeypatch.undo()
        assert capsys.readouterr().err.startswith("headstream: the folder this was started in is gone")

    def test_a_system_without_further_threads_is_told(
        self, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refused(*arguments: object, **more: object) -> None:
            raise RuntimeError("can't start new thread")

        def refused_to_a_detector(*arguments: object, **more: object) -> None:
            try:
                refused()
            except RuntimeError as error:
                raise ModelError(f"face detector does not load: {error}") from error

        for place, fails in (
            ("threading._start_new_thread", refused),
            ("headstream.films.video.FaceFinder", refused_to_a_detector),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, fails)
                assert run("video", head_clip, "--out", tmp_path / "o.mov") == 1
            assert "headstream: the system allows no more threads here" in capsys.readouterr().err
            assert list(tmp_path.iterdir()) == []

    def test_an_unforeseen_error_is_one_line(
        self, head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(*arguments: object) -> None:
            raise ZeroDivisionError("by\nzero")

        monkeypatch.setattr("headstream.films.video.cut_video_file", broken)
        assert run("video", head_clip, "--out", tmp_path / "o.mov") == 1
        assert capsys.readouterr().err.startswith("headstream: internal error: ZeroDivisionError: by zero")
        monkeypatch.setenv("HEADSTREAM_DEBUG", "1")
        with pytest.raises(ZeroDivisionError):
            run("video", head_clip, "--out", tmp_path / "o.mov")
