"""Long films in segments: broken off anywhere, taken up again, the same to the byte; and what is of no use any more."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import av
import cv2
import numpy as np
import pytest

from headstream.capture.file import FileSource
from headstream.errors import SinkError, SourceError
from headstream.films import journal
from headstream.films.journal import difference, fingerprint, identity_of
from headstream.films.outputs import DirectCut
from headstream.films.resume import LongCut, Tally
from headstream.films.video import Tools, VideoJob, VideoReport, cut_video_file
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.sinks import lock
from headstream.sinks.clipfile import ClipFile
from headstream.sinks.encode import PictureEncoder
from headstream.sinks.lock import locked
from headstream.track.finder import FaceFinder
from headstream.types import Cutout, Frame, UInt8Array
from tests.conftest import moving_portrait
from tests.media import alpha_of, frame_times, pattern, probe, video_stream, write_video
from tests.scenes import plain

pytestmark = pytest.mark.usefixtures("answers_kept")

COUNT, EVERY_S = 44, 0.4


@pytest.fixture(scope="module")
def film(portrait: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44 frames, 25 a second, with sound, a key frame every 12: four segments of ten and a rest."""
    pictures = moving_portrait(portrait, COUNT)
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    return write_video(path, pictures, sound=True, colour=(1, 1, 1, 1), options={"g": "12", "crf": "12"})


def cut(film: Path, out: Path, stop_at: int | None = None, **more: Any) -> VideoReport:
    """Cut in segments of ten frames; Ctrl-C at a frame."""

    def progress(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    return cut_video_file(VideoJob(film, out, **{"segment_s": EVERY_S, "look_ahead": False, **more}), progress)


def content(path: Path) -> dict[str, bytes]:
    """A file, or all files of a folder."""
    places = sorted(path.iterdir()) if path.is_dir() else [path]
    return {place.name if path.is_dir() else "": place.read_bytes() for place in places}


def packets(path: Path, stream: str = "v") -> list[dict[str, str]]:
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_packets", "-of", "json", str(path)]
    got = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["packets"]
    return [{k: p[k] for k in ("pts", "dts", "duration_time", "flags", "size") if k in p} for p in got]


OUTPUTS: list[tuple[str, dict[str, Any]]] = [
    ("o.mkv", {}),
    ("o.mov", {}),
    ("o.webm", {}),
    ("o.mp4", {"background": "#00b140"}),
    ("frames", {}),
]


class TestFailures:
    def test_ctrl_c_leaves_a_playable_file_and_the_same_command_goes_on(self, film: Path, tmp_path: Path) -> None:
        whole = cut(film, tmp_path / "whole.mkv")
        stopped = cut(film, tmp_path / "o.mkv", stop_at=27)
        assert stopped.interrupted
        assert stopped.frames_out == 27
        assert len(frame_times(tmp_path / "o.mkv")) == 27
        assert float(probe(tmp_path / "o.mkv")["format"]["duration"]) < 1.25  # the sound ends there, too
        assert any("goes on from frame 20 (to start anew, remove the folder" in note for note in stopped.notes)
        report = cut(film, tmp_path / "o.mkv")
        assert (report.resumed_from_frame, report.frames_in, report.frames_out) == (20, COUNT, COUNT)
        assert (report.frames_with_head, report.heads) == (whole.frames_with_head, whole.heads)
        assert content(tmp_path / "o.mkv") == content(tmp_path / "whole.mkv")
        assert {p.name for p in tmp_path.iterdir()} == {"o.mkv", "whole.mkv"}

    def test_stopped_before_the_first_border_there_is_nothing_to_go_on_from(self, film: Path, tmp_path: Path) -> None:
        report = cut(film, tmp_path / "o.mov", stop_at=7)
        assert report.frames_out == len(frame_times(tmp_path / "o.mov")) == 7
        assert not any("goes on" in note for note in report.notes)
        assert [p.name for p in tmp_path.iterdir()] == ["o.mov"]

    def test_a_second_process_for_the_same_output_is_refused(self, film: Path, tmp_path: Path) -> None:
        refused = []

        def progress(done: int, total: int) -> None:
            if done == 15:
                for out, matte in (("o.mkv", None), ("p.mkv", "o.mkv")):
                    with pytest.raises(SinkError, match=f"process {os.getpid()} is making it"):
                        cut(film, tmp_path / out, matte=matte and tmp_path / matte)
                    refused.append(out)

        cut_video_file(VideoJob(film, tmp_path / "o.mkv", segment_s=EVERY_S, look_ahead=False), progress)
        assert len(refused) == 2
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]

    def test_a_lock_left_behind_hinders_nobody(self, film: Path, tmp_path: Path) -> None:
        (tmp_path / ".o.mkv.lock").write_text("1\n")
        cut(film, tmp_path / "o.mkv")
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]

    def test_who_has_a_lock_is_told_whatever_was_in_it_before(self, tmp_path: Path) -> None:
        (tmp_path / ".o.mkv.lock").write_text("12345678901234\n")
        with locked([tmp_path / "o.mkv"]), pytest.raises(SinkError) as refused, locked([tmp_path / "o.mkv"]):
            pass
        assert f": process {os.getpid()} is making it at this moment" in str(refused.value)

    @pytest.mark.skipif(sys.platform == "win32", reason="there nobody removes an open file")
    def test_a_lock_whose_last_holder_has_just_removed_it_is_made_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a file without a name, the next one would know nothing."""
        place, real, tried = tmp_path / ".o.mkv.lock", lock._try_lock, list[bool]()

        def raced(file: Any) -> bool:
            if not tried:
                place.unlink()
            tried.append(real(file))
            return tried[-1]

        monkeypatch.setattr(lock, "_try_lock", raced)
        with locked([tmp_path / "o.mkv"]):
            with pytest.raises(SinkError, match="is making it"), locked([tmp_path / "o.mkv"]):
                pass
            assert place.exists()
        assert tried == [True, True, False]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(sys.platform == "win32", reason="flock")
    def test_a_file_system_without_locks_hinders_nobody(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unsupported(file: Any, how: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr("fcntl.flock", unsupported)
        with locked([tmp_path / "o.mkv"]):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_lock_makes_no_folder_of_pictures(self, tmp_path: Path) -> None:
        with locked([tmp_path / "new" / "frames" / "%06d.png"]):
            assert not (tmp_path / "new" / "frames").exists()

    def test_a_full_disk_costs_the_current_segment_only(self, film: Path, tmp_path: Path) -> None:
        """A limit on file size stands in for it. The source is untouched, nothing half-written is there."""
        whole, source = tmp_path / "whole.mov", film.read_bytes()
        cut(film, whole)
        limit = whole.stat().st_size * 3 // 5  # each segment fits, the joined file does not
        code = f"""
import resource, signal
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from headstream.cli import main
print(main(["video", {str(film)!r}, "--out", {str(tmp_path / "o.mov")!r}, "--segment", "{EVERY_S}", "--no-look-ahead"]))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == "1", done.stderr
        assert "grew past the size allowed here; the same command puts the finished frames together" in done.stderr
        assert {p.name for p in tmp_path.iterdir()} == {"whole.mov", ".o.mov.work"}
        assert film.read_bytes() == source
        report = cut(film, tmp_path / "o.mov")
        assert report.resumed_from_frame == COUNT
        assert content(tmp_path / "o.mov") == content(whole)

    def test_two_pictures_within_a_tick_are_joined_as_they_are_written_in_one_piece(
        self, portrait: UInt8Array, tmp_path: Path
    ) -> None:
        ticks = [3600 * k for k in range(22)]
        ticks[5], ticks[16] = ticks[4] + 30, ticks[15] + 30  # a third of a millisecond
        film = write_video(
            tmp_path / "film.mp4", moving_portrait(portrait, len(ticks)), pts=ticks, time_base=Fraction(1, 90000)
        )
        for name, segment_s in (("whole.webm", 0), ("o.webm", EVERY_S)):
            cut(film, tmp_path / name, segment_s=segment_s)
        whole, joined = ([p["pts"] for p in packets(tmp_path / name)] for name in ("whole.webm", "o.webm"))
        assert joined == whole
        assert len(set(whole)) == len(ticks) - 2

    def test_a_join_that_is_refused_and_would_be_again_does_not_say_try_again(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(file: ClipFile, *args: Any) -> None:
            raise av.error.ArgumentError(errno.EINVAL, "Invalid argument", str(file.path))

        monkeypatch.setattr(ClipFile, "keep", refused)
        kept = re.escape(str(tmp_path / ".o.mkv.work"))
        words = (
            f"o.mkv: cannot be written: Invalid argument; the finished frames stay in {kept}; to start anew, remove it$"
        )
        with pytest.raises(SinkError, match=words):
            cut(film, tmp_path / "o.mkv")
        assert [path.name for path in tmp_path.iterdir()] == [".o.mkv.work"]

    def test_a_frame_that_an_encoder_refuses_and_would_again_does_not_say_try_again(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        packets = PictureEncoder.packets

        def refused(encoder: PictureEncoder, cutout: Cutout, when: Fraction) -> list[Any]:
            if cutout.frame.index == 25:
                raise av.error.ExternalError(-542398533, "Generic error in an external library")
            return packets(encoder, cutout, when)

        monkeypatch.setattr(PictureEncoder, "packets", refused)
        with pytest.raises(
            SinkError, match=r"external library; the finished frames stay in .*; to start anew, remove it$"
        ):
            cut(film, tmp_path / "o.mkv")
        assert [path.name for path in tmp_path.iterdir()] == [".o.mkv.work"]

    def test_no_room_for_both_spends_the_segments_while_joining(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut(film, tmp_path / "whole.mkv")
        usage = shutil.disk_usage(tmp_path)
        left: list[int] = []

        def full(path: Any) -> Any:
            left.append(len(list((tmp_path / ".o.mkv.work").glob("0*.packets"))))
            return usage._replace(free=1000)

        monkeypatch.setattr("shutil.disk_usage", full)
        cut(film, tmp_path / "o.mkv")
        assert left == [5, 5, 4, 3, 2]
        assert content(tmp_path / "o.mkv") == content(tmp_path / "whole.mkv")

    def test_no_room_for_a_file_of_what_is_done_keeps_the_segments(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            usage = shutil.disk_usage(tmp_path)
            patch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
            with pytest.raises(SinkError, match=r"no room for a file of what is done.*goes on from frame 20"):
                cut(film, tmp_path / "o.mkv", stop_at=25)
        assert [p.name for p in tmp_path.iterdir()] == [".o.mkv.work"]
        assert cut(film, tmp_path / "o.mkv").resumed_from_frame == 20

    def test_broken_off_between_two_outputs(self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pictures are moved to their place, so that they cannot be put together twice."""
        out, matte = tmp_path / "frames", tmp_path / "m.mkv"
        with monkeypatch.context() as patch:

            def interrupted(*arguments: Any) -> None:
                raise KeyboardInterrupt

            patch.setattr(ClipFile, "mux", interrupted)
            assert cut(film, out, matte=matte).interrupted
        assert not matte.exists()
        made = content(out)
        report = cut(film, out, matte=matte)
        assert report.resumed_from_frame == COUNT
        assert report.outputs == [out, matte]
        assert content(out) == made
        assert len(frame_times(matte)) == COUNT
        assert {p.name for p in tmp_path.iterdir()} == {"frames", "m.mkv"}

    def test_a_finished_output_that_was_taken_away_is_made_again(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, matte = tmp_path / "frames", tmp_path / "m.mkv"
        with monkeypatch.context() as patch:

            def interrupted(*arguments: Any) -> None:
                raise KeyboardInterrupt

            patch.setattr(ClipFile, "mux", interrupted)
            cut(film, out, matte=matte)
        shutil.rmtree(out)
        report = cut(film, out, matte=matte)
        assert any("an output it had finished is gone; starting anew" in note for note in report.notes)
        assert len(list(out.iterdir())) == len(frame_times(matte)) == COUNT

    def test_frames_of_what_is_done_where_a_file_has_one_name_only(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on many sticks and cards."""
        cut(film, tmp_path / "whole")

        def unsupported(*places: Any) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", unsupported)
        for stop in (14, 25):
            assert cut(film, tmp_path / "frames", stop).interrupted
            assert len(list((tmp_path / "frames").iterdir())) == stop
        cut(film, tmp_path / "frames")
        assert content(tmp_path / "frames") == content(tmp_path / "whole")

    def test_a_film_that_breaks_off(self, tmp_path: Path) -> None:
        noisy = [np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8) for i in range(60)]
        data = write_video(tmp_path / "w.mp4", noisy, container_options={"movflags": "+faststart"}).read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
        for _ in range(2):  # broken off again in the same place
            with pytest.raises(
                SourceError, match=r"cut off.*are in .*o\.partial\.mkv; if it can be read again, the same"
            ):
                cut(tmp_path / "cut.mp4", tmp_path / "o.mkv")
            assert len(frame_times(tmp_path / "o.partial.mkv")) > 12
        assert not (tmp_path / "o.mkv").exists()
        for out, kept in (("frames", "frames.partial"), ("p/%04d.png", "p.partial/%04d.png")):
            with pytest.raises(SourceError, match=f"cut off.*are in {re.escape(str(tmp_path / kept))};"):
                cut(tmp_path / "cut.mp4", tmp_path / out)
            assert len(list((tmp_path / kept.partition("/")[0]).iterdir())) > 12
            assert not (tmp_path / out.partition("/")[0]).exists()

    def test_where_it_breaks_off_nothing_is_kept_that_had_nothing_to_look_ahead_to(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        more: dict[str, Any] = {"segment_s": 16 / 25, "look_ahead": True}
        with monkeypatch.context() as patch:
            real = HeadCutter.begin

            def broken(self: HeadCutter, frame: Any) -> Any:
                if frame.index == 40:
                    raise SourceError("cut off")
                return real(self, frame)

            patch.setattr(HeadCutter, "begin", broken)
            with pytest.raises(SourceError, match="cut off.*goes on from frame 16"):
                cut(film, tmp_path / "o.mkv", **more)
        assert len(frame_times(tmp_path / "o.partial.mkv")) == 40
        assert cut(film, tmp_path / "o.mkv", **more).resumed_from_frame == 16
        cut(film, tmp_path / "whole.mkv", **more)
        assert content(tmp_path / "o.mkv") == content(tmp_path / "whole.mkv")

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    def test_ctrl_c_while_a_film_in_one_piece_is_finished(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = ClipFile.keep

        def interrupted(self: ClipFile, *arguments: Any) -> None:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.1)
            real(self, *arguments)

        monkeypatch.setattr(ClipFile, "keep", interrupted)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            report = cut(film, tmp_path / "o.mkv", segment_s=0)
        finally:
            signal.signal(signal.SIGINT, before)
        assert report.interrupted
        assert report.outputs == [tmp_path / "o.mkv"]
        assert len(frame_times(tmp_path / "o.mkv")) == COUNT
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]

    def test_ctrl_c_before_the_first_frame_leaves_what_is_done(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        (tmp_path / "o.mkv").unlink()

        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("headstream.films.resume.read_journal", interrupted)
            with pytest.raises(KeyboardInterrupt):
                cut(film, tmp_path / "o.mkv")
            patch.setattr("headstream.films.outputs.DirectCut.take_up", interrupted)
            with pytest.raises(KeyboardInterrupt):
                cut(film, tmp_path / "pictures", segment_s=0)
        assert [p.name for p in tmp_path.iterdir()] == [".o.mkv.work"]
        assert cut(film, tmp_path / "o.mkv").resumed_from_frame == 10

    @pytest.mark.parametrize("ending", ["stop", "incomplete"])
    def test_what_could_not_be_written_is_not_joined_on_any_wish(self, tmp_path: Path, ending: str) -> None:
        sink = MagicMock()
        sink.write.side_effect = [None, None, SinkError("full")]
        long = LongCut(tmp_path / "w", {}, [sink], every=10)
        long.write(plain(0))
        long.write(plain(1))
        with pytest.raises(SinkError):
            long.write(plain(2))
        getattr(long, ending)()
        long.close()
        sink.join.assert_not_called()
        sink.close.assert_called()

    def test_a_stage_that_fails_leaves_what_is_done(
        self, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            real = HeadCutter.begin

            def broken(self: HeadCutter, frame: Any) -> Any:
                if frame.index == 33:
                    raise RuntimeError("out of memory")
                return real(self, frame)

            patch.setattr(HeadCutter, "begin", broken)
            with pytest.raises(RuntimeError, match="out of memory"):
                cut(film, tmp_path / "o.webm")
        assert [p.name for p in tmp_path.iterdir()] == [".o.webm.work"]
        assert cut(film, tmp_path / "o.webm").resumed_from_frame == 30


def rewritten(key: str, value: Any, journal: Path) -> None:
    """A journal with another value for a key of its own, or of its first segment."""
    told = json.loads(journal.read_text())
    (told if key in told else told["segments"][0])[key] = value
    journal.write_text(json.dumps(told))


class TestNotOfUse:
    """What another job left is not taken up; the reason is told in one line, and all is as if it had not been there."""

    def told(self, film: Path, out: Path, **more: Any) -> str:
        report = cut(film, out, stop_at=2, **more)
        assert report.resumed_from_frame == 0
        assert report.frames_out == len(frame_times(out)) == 2
        (line,) = [note for note in report.notes if "starting anew" in note]
        return line

    def test_other_options(self, film: Path, tmp_path: Path) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        assert "an option is another (heads)" in self.told(film, tmp_path / "o.mkv", options=CutOptions(heads="all"))

    def test_another_background(self, film: Path, tmp_path: Path) -> None:
        behind = write_video(tmp_path / "b.mp4", [pattern(64, 48, k) for k in range(3)])
        cut(film, tmp_path / "o.mp4", stop_at=15, background=str(behind))
        assert "(background)" in self.told(film, tmp_path / "o.mp4", background="#00b140")
        cut(film, tmp_path / "o.mp4", stop_at=15, background=str(behind))
        os.utime(behind, ns=(1, 1))
        assert "a file beside the source is another" in self.told(film, tmp_path / "o.mp4", background=str(behind))

    def test_another_model(self, film: Path, tmp_path: Path) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        assert "the model is another" in self.told(film, tmp_path / "o.mkv", model="lite")

    def test_another_source(self, film: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copy(film, tmp_path / "copy.mp4"))
        cut(copy, tmp_path / "o.mkv", stop_at=15)
        os.utime(copy, ns=(1, 1))
        assert "the source is another" in self.told(copy, tmp_path / "o.mkv")

    def test_a_mask_painted_anew(self, film: Path, tmp_path: Path) -> None:
        mask, fixes = tmp_path / "m.png", tmp_path / "fixes.json"
        cv2.imwrite(str(mask), np.full((240, 320), 255, np.uint8))
        fixes.write_text(json.dumps([{"frame": 3, "mask": "m.png", "spread_s": 0.04}]))
        cut(film, tmp_path / "o.mkv", stop_at=25, fixes=fixes)
        cv2.imwrite(str(mask), np.full((240, 320), 0, np.uint8))
        assert "a file beside the source is another" in self.told(film, tmp_path / "o.mkv", fixes=fixes)

    def test_one_piece_after_segments(self, film: Path, tmp_path: Path) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        report = cut_video_file(VideoJob(film, tmp_path / "o.mkv", segment_s=0, look_ahead=False))
        assert report.frames_out == COUNT
        assert any("starting anew" in note for note in report.notes)
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]

    @pytest.mark.parametrize(
        ("name", "damage", "words"),
        [
            ("journal.json", lambda p: p.write_text('{"journal": 1, "seg'), "its journal cannot be read"),
            (
                "journal.json",
                lambda p: p.write_text(p.read_text().replace('"journal": 1', '"journal": 0')),
                "of another version",
            ),
            *(
                ("journal.json", partial(rewritten, key, value), "its journal cannot be read")
                for key, value in (
                    ("of", None),
                    ("frames", "10"),
                    ("sizes", None),
                    ("name", 7),
                    ("joined", float("inf")),
                )
            ),
            ("state-000001.npz", lambda p: p.write_bytes(p.read_bytes()[:-100]), "not a saved state"),
            ("0000000-0000010.cutout.packets", lambda p: p.unlink(), "segment 0000000-0000010 is missing or damaged"),
            ("0000000-0000010.cutout.packets", lambda p: p.write_bytes(p.read_bytes()[:-1]), "missing or damaged"),
        ],
    )
    def test_damage(self, film: Path, tmp_path: Path, name: str, damage: Callable[[Path], Any], words: str) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        damage(tmp_path / ".o.mkv.work" / name)
        assert words in self.told(film, tmp_path / "o.mkv")

    def test_packets_that_are_not_what_was_written_are_found_at_the_join(self, film: Path, tmp_path: Path) -> None:
        cut(film, tmp_path / "o.mkv", stop_at=15)
        place = tmp_path / ".o.mkv.work" / "0000000-0000010.cutout.packets"
        data = bytearray(place.read_bytes())
        data[len(data) // 2] ^= 1
        place.write_bytes(data)
        with pytest.raises(SinkError, match="is damaged"):
            cut(film, tmp_path / "o.mkv")
        assert len(frame_times(tmp_path / "o.mkv")) == 15  # what an earlier run had finished
        assert [p.name for p in tmp_path.iterdir()] == ["o.mkv"]  # nothing to stumble over again


@pytest.mark.parametrize(("name", "more"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
def test_in_segments_is_as_good_as_in_one_piece(film: Path, tmp_path: Path, name: str, more: dict[str, Any]) -> None:
    """Every packet has the time and length it would have had, and everything else is there as well."""
    report = cut(film, tmp_path / name, **more)
    assert report.resumed_from_frame == 0
    direct = tmp_path / "direct" / name
    assert report.notes == cut_video_file(VideoJob(film, direct, segment_s=0, look_ahead=False, **more)).notes
    if name == "frames":
        assert content(tmp_path / name) == content(direct)
        return
    times = [
        sorted((int(p["pts"]), p.get("duration_time", "")) for p in packets(path)) for path in (tmp_path / name, direct)
    ]
    assert times[0] == times[1]
    assert packets(tmp_path / name, "a") == packets(direct, "a")
    mine, theirs = video_stream(tmp_path / name), video_stream(direct)
    for key in (
        "codec_name",
        "pix_fmt",
        "color_space",
        "color_range",
        "start_time",
        "time_base",
        "sample_aspect_ratio",
    ):
        assert mine.get(key) == theirs.get(key)
    if "background" not in more:
        assert np.abs(alpha_of(tmp_path / name).astype(int) - alpha_of(direct)).mean() < 0.5


def test_sound_is_as_long_as_what_is_shown_and_at_the_end_as_it_was(film: Path, tmp_path: Path) -> None:
    """Of pictures that refer to later ones, the last to be stored is not the last to be shown."""

    def ends(path: Path) -> float:
        last = packets(path, "a")[-1]
        with av.open(str(path)) as opened:
            return float(int(last["pts"]) * opened.streams.audio[0].time_base) + float(last["duration_time"])

    silent = write_video(tmp_path / "silent.mp4", [pattern(64, 48, k) for k in range(22)])
    longer = tmp_path / "longer.mp4"
    with av.open(str(silent)) as pictures, av.open(str(film)) as sound, av.open(str(longer), "w") as mixed:
        sources = pictures.streams.video[0], sound.streams.audio[0]
        for source, stream in [(source, mixed.add_stream_from_template(source)) for source in sources]:
            for packet in source.container.demux(source):
                if packet.dts is not None:
                    packet.stream = stream
                    mixed.mux(packet)
    cut(longer, tmp_path / "whole.mp4", background="blur")
    assert ends(tmp_path / "whole.mp4") == pytest.approx(ends(film), abs=0.03)
    cut(film, tmp_path / "o.mp4", stop_at=27, background="blur")
    assert 27 / 25 <= ends(tmp_path / "o.mp4") < 27 / 25 + 0.03


def test_pictures_that_begin_after_the_sound_do_so_in_segments_too(tmp_path: Path) -> None:
    late = [500 + 40 * k for k in range(24)]
    film = write_video(tmp_path / "late.mkv", [pattern(64, 48, k) for k in range(24)], pts=late, sound=True)
    cut(film, tmp_path / "o.mkv")
    cut(film, tmp_path / "direct.mkv", segment_s=0)
    assert frame_times(tmp_path / "o.mkv") == frame_times(tmp_path / "direct.mkv")
    assert frame_times(tmp_path / "o.mkv")[0] == pytest.approx(0.5)
    assert packets(tmp_path / "o.mkv", "a") == packets(tmp_path / "direct.mkv", "a")


def test_b_frames_at_an_uneven_rate_keep_their_order(portrait: UInt8Array, tmp_path: Path) -> None:
    """Each encoder reaches back in decoding time before its first picture; at a slower rate, into the segment before."""
    pictures = moving_portrait(portrait, 30)
    ticks = [20 * k for k in range(20)] + [400 + 100 * k for k in range(10)]
    film = write_video(tmp_path / "v.mkv", pictures, pts=ticks, rate=25, options={"g": "5"})
    cut(film, tmp_path / "o.mp4", background="blur")
    got = packets(tmp_path / "o.mp4")
    order = [int(p["dts"]) for p in got]
    assert order == sorted(set(order))
    assert all(int(p["dts"]) <= int(p["pts"]) for p in got)
    assert np.allclose(frame_times(tmp_path / "o.mp4"), [t / 1000 for t in ticks], atol=0.001)


@pytest.mark.parametrize(("name", "more"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
def test_broken_off_twice_and_with_a_matte_it_is_the_same_to_the_byte(
    film: Path, tmp_path: Path, name: str, more: dict[str, Any]
) -> None:
    matte = {"frames": "m/%04d.png", "o.webm": "m.webm"}.get(name, "m.mov")
    (tmp_path / "whole").mkdir()
    cut(film, tmp_path / "whole" / name, matte=tmp_path / "whole" / matte, **more)
    done = []
    for stop in (14, 35, None):
        report = cut(film, tmp_path / name, stop, matte=tmp_path / matte, **more)
        done.append(report.resumed_from_frame)
    assert done == [0, 10, 30]
    for each in (name, matte.partition("/")[0]):
        assert content(tmp_path / each) == content(tmp_path / "whole" / each), each
    assert {p.name for p in tmp_path.iterdir()} == {"whole", name, matte.partition("/")[0]}


def test_a_video_behind_goes_on_where_it_was(film: Path, tmp_path: Path) -> None:
    behind = write_video(tmp_path / "b.mp4", [pattern(64, 48, 3 * k) for k in range(17)], rate=20)  # comes round twice
    for stop, name in ((38, str(behind)), (None, os.path.join(tmp_path, ".", "b.mp4"))):
        report = cut(film, tmp_path / "o.mp4", stop, background=name)
    assert report.resumed_from_frame == 30
    cut(film, tmp_path / "whole.mp4", background=str(behind))
    assert content(tmp_path / "o.mp4") == content(tmp_path / "whole.mp4")


def test_a_video_behind_is_read_with_as_many_threads_as_the_film(
    film: Path, tmp_path: Path, segmenter: CropSegmenter, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Watched(FileSource):
        def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
            opened.append(threads)
            super().__init__(path, threads=threads)

    monkeypatch.setattr("headstream.backdrop.FileSource", Watched)
    behind = write_video(tmp_path / "b.mp4", [pattern(64, 48, 3 * k) for k in range(3)])
    job = VideoJob(film, tmp_path / "o.mp4", background=str(behind), segment_s=0)
    cut_video_file(job, tools=Tools(segmenter, finder, threads=1))
    assert set(opened) == {1}


def test_what_looks_ahead_sees_the_frames_before_a_border_again(
    film: Path, tmp_path: Path, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    """With a lead, cut-outs begin that much earlier, and those that are done already are not written twice."""

    def run(frames: int | None) -> list[int]:
        seen = []
        with FileSource(film) as source:
            long = LongCut(tmp_path / "w", {"of": "a test"}, [], every=10, lead=4)
            cutter = HeadCutter(segmenter, finder)
            long.take_up(source, cutter)
            for cutout in long.cutouts(source, cutter):
                seen.append(cutout.frame.index)
                long.write(cutout)
                if len(seen) == frames:
                    break
            else:
                assert long.tally.frames == COUNT
            long.discard()
            long.close()
        return seen

    assert run(25) == list(range(25))
    assert run(None) == list(range(16, COUNT))


def test_segments_shorter_than_what_is_looked_at_are_none_and_it_is_told(film: Path, tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.json"
    fixes.write_text(json.dumps([{"frame": 3, "click": [1, 1, "head"], "spread_s": 0.2}]))
    report = cut(film, tmp_path / "o.mkv", stop_at=2, fixes=fixes)
    assert "made in one piece: corrections and look-ahead reach 20 frames, and a segment has 10" in report.notes
    report = cut(film, tmp_path / "o.mkv", stop_at=2, look_ahead=True)
    assert "made in one piece: look-ahead reaches 14 frames, and a segment has 10" in report.notes
    assert not any("one piece" in note for note in cut(film, tmp_path / "o.mkv", stop_at=2, segment_s=0).notes)


def test_how_many_frames_corrections_reach_is_told_by_the_densest_part(portrait: UInt8Array, tmp_path: Path) -> None:
    """Two a second and then a hundred: by the average rate five frames would be enough."""
    times = [500 * k for k in range(10)] + [5000 + 10 * k for k in range(34)]
    film = write_video(tmp_path / "burst.mp4", moving_portrait(portrait, COUNT), pts=times)
    fixes = tmp_path / "fixes.json"
    fixes.write_text(json.dumps([{"frame": 30, "click": [1, 1, "head"], "spread_s": 0.15}]))
    report = cut(film, tmp_path / "o.mkv", stop_at=2, fixes=fixes, segment_s=1.5)
    assert "made in one piece: corrections and look-ahead reach 30 frames, and a segment has 10" in report.notes


def test_frames_are_counted_however_many_heads_are_in_them() -> None:
    tally = Tally()
    for numbers in ((1, 2), (), (2,)):
        heads: Any = tuple(SimpleNamespace(track_id=number) for number in numbers)
        tally.add(Cutout(plain(0).frame, heads))
    assert (tally.frames, tally.with_head, tally.heads) == (3, 2, {1: 1, 2: 2})


def test_what_was_wrong_with_a_film_is_told_by_who_puts_it_together_too(
    film: Path, tmp_path: Path, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    def run(found: list[str]) -> list[str]:
        sink = MagicMock(final_path=tmp_path / "o.mkv")
        sink.finish.return_value, sink.snapshot.return_value = 1, None
        sink.join.side_effect = SinkError("full")
        with FileSource(film) as source:
            long, cutter = LongCut(tmp_path / "w", {"of": "a test"}, [sink], every=10), HeadCutter(segmenter, finder)
            long.take_up(source, cutter)
            source.warnings.extend(found)
            for cutout in long.cutouts(source, cutter):
                long.write(cutout)
            with pytest.raises(SinkError, match="full"):
                long.close()
            assert long.tally.frames == COUNT
            return source.warnings

    assert run(["a frame is damaged"]) == run([]) == ["a frame is damaged"]


class Slow(FileSource):
    """Is long in coming to its second frame, as a film is that is read again from the start."""

    waited_in_vain = False

    def __iter__(self) -> Iterator[Frame]:
        yield from itertools.islice(super().__iter__(), 1)
        for _ in range(1000):
            if self._closed:
                return
            time.sleep(0.005)
        self.waited_in_vain = True


def test_who_stops_does_not_wait_for_the_next_frame(
    film: Path, tmp_path: Path, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    for outputs in (LongCut(tmp_path / "w", {}, [], every=10), DirectCut(tmp_path / "v", [])):
        source = Slow(film)
        with source, contextlib.closing(outputs.cutouts(source, HeadCutter(segmenter, finder))) as cutouts:
            next(cutouts)
        assert not source.waited_in_vain


VICTIM = """
import json, os, signal, sys
import av, cv2, mediapipe, numpy, onnxruntime  # before the children are made, once for all
from pathlib import Path
from headstream.films import journal, resume
from headstream.sinks import clipfile, film_segments, partial
from headstream.films.video import VideoJob, cut_video_file

def kill_in(owner, name, count):
    real, calls = getattr(owner, name), []
    def deadly(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(owner, name, deadly)

PLACES = {
    "fsync": (os, "fsync"), "replace": (os, "replace"), "join": (clipfile.ClipFile, "mux"),
    "journal": (journal, "_write_whole"), "clear": (resume.LongCut, "_clear"), "state": (resume, "pack"),
}
film, out, options, kills = json.loads(sys.argv[1])
for place, count in kills + [["", 0]]:
    child = os.fork()
    if child == 0:
        def progress(done, total):
            if place == "frame" and done == count:
                os.kill(os.getpid(), signal.SIGKILL)
        if place in PLACES:
            kill_in(*PLACES[place], count)
        report = cut_video_file(VideoJob(Path(film), Path(out), segment_s=0.4, look_ahead=False, **options), progress)
        print(json.dumps([place, count, "done", report.resumed_from_frame]), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([place, count, status]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", ["o.mkv", "o.mov", "frames"])
def test_killed_again_and_again_it_is_the_same_to_the_byte(film: Path, tmp_path: Path, name: str) -> None:
    """SIGKILL at frames, as a journal is written, before a sync or a rename, in the middle of the join, and at the end."""
    dice = random.Random(name)
    kills: list[tuple[str, int]] = [
        ("frame", dice.randint(3, 18)),
        ("journal", dice.randint(1, 2)),
        ("fsync", dice.randint(1, 9)),
    ]
    kills += [("replace", dice.randint(1, 3)), ("state", 1), ("frame", dice.randint(22, 43))]
    kills += [
        ("fsync", dice.randint(2, 14)),
        ("join", dice.randint(1, 40)),
        ("join", dice.randint(1, 40)),
        ("clear", 1),
    ]
    whole = tmp_path / "whole" / name
    cut(film, whole)
    command = [sys.executable, "-c", VICTIM, json.dumps([str(film), str(tmp_path / name), {}, kills])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1][2] == 0, done.stderr
    assert sum(line[2] == 9 for line in lines) >= 7, lines
    assert content(tmp_path / name) == content(whole)
    assert {p.name for p in tmp_path.iterdir()} == {"whole", name}


@pytest.mark.slow
def test_look_ahead_and_corrections_reach_across_a_border_that_was_taken_up(
    portrait: UInt8Array, tmp_path: Path
) -> None:
    pictures = moving_portrait(portrait, 84)
    for index in (*range(38, 44), *range(60, 63)):  # nobody is there for a moment, across a border and beside one
        pictures[index] = np.full_like(pictures[index], 110)
    film = write_video(tmp_path / "gaps.mp4", pictures, colour=(1, 1, 1, 1), options={"g": "12", "crf": "12"})
    fixes = tmp_path / "fixes.json"
    fixes.write_text(json.dumps([{"frame": 62, "click": [160, 120, "head"], "spread_s": 0.08}]))
    more: dict[str, Any] = {"segment_s": 40 / 25, "look_ahead": True, "fixes": fixes}
    whole = cut(film, tmp_path / "whole.mkv", **more)
    assert whole.frames_out == 84
    stopped = cut(film, tmp_path / "o.mkv", stop_at=50, **more)
    assert stopped.interrupted
    taken_up = cut(film, tmp_path / "o.mkv", **more)
    assert taken_up.resumed_from_frame == 40
    assert content(tmp_path / "o.mkv") == content(tmp_path / "whole.mkv")
    assert taken_up.heads == whole.heads
    another = cut(film, tmp_path / "p.mkv", stop_at=50, **more)
    fixes.write_text(json.dumps([{"frame": 61, "click": [160, 120, "head"]}]))
    assert another.interrupted
    assert cut(film, tmp_path / "p.mkv", **more).resumed_from_frame == 0  # made with other corrections


def test_a_file_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    """Copies and restored backups may have the size and the time of another."""
    path, seen = tmp_path / "a.mp4", []
    for content in (b"one" * 999, b"two" * 999, b"one" * 999):
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        seen.append(fingerprint(path))
    assert seen[0] == seen[2] != seen[1]


def test_what_another_library_has_cut_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("a film")
    before = identity_of(path, {}, {}, [])
    assert difference(before, identity_of(path, {}, {}, [])) == ""
    real = journal._version
    monkeypatch.setattr(journal, "_version", lambda name: "0.1" if name == "av" else real(name))
    assert difference(before, identity_of(path, {}, {}, [])) == "a library is another (av)"
