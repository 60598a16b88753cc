"""Batches on this machine: what is done, what is done again, and what survives what."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstream.batch import pool, worker
from headstream.batch.inputs import find_items
from headstream.batch.job import BatchJob, BatchProgress, BatchReport, Item, Outcome, Setup, Wish
from headstream.batch.patience import may_pass
from headstream.batch.places import LocalStorage, own_folder
from headstream.batch.pool import Event
from headstream.batch.run import run_batch
from headstream.batch.sharing import Sharing
from headstream.cli import main
from headstream.errors import ModelError, SinkError, UsageError
from headstream.segment.crops import CropSegmenter
from headstream.segment.load import MOST_THREADS, load_segmenter
from tests.batch.conftest import copies, kill, there
from tests.media import alpha_of, decoded, frame_times, heeds_ctrl_c, pattern

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


# What a container is to processes: numbers of its own, from 1.
UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
CAN_UNSHARE = (
    shutil.which("unshare") is not None and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
)


def work_folder(out: Path, number: int) -> Path:
    """Where a process of this machine makes what it puts into a batch's folder."""
    own = LocalStorage(str(out)).work_folder()
    own.rmdir()
    return own.with_suffix(f".{number}")


def job(*inputs: Path, out: Path, **options: Any) -> BatchJob:
    options.setdefault("wish", Wish(format="mkv"))
    options.setdefault("workers", 1)
    return BatchJob(tuple(map(str, inputs)), str(out), **options)


def states(report: BatchReport) -> dict[str, str]:
    return {Path(outcome.input).name: outcome.state for outcome in report.outcomes}


def tree(folder: Path) -> dict[str, bytes]:
    """All results by name; not what headstream keeps for itself."""
    files = (p for p in folder.rglob("*") if p.is_file() and ".headstream" not in p.parts and p.suffix != ".jsonl")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.slow
def test_sixty_inputs_six_of_them_broken(
    clip: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], then_in_process: Callable[[], None]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    copies(clip, source, *[f"day{k % 3}/clip{k:02d}.mp4" for k in range(40)])
    copies(photo, source, *[f"photo{k:02d}.jpg" for k in range(14)])
    copies(clip, source, "cut-off.mp4")
    (source / "cut-off.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (source / "text.mp4").write_text("words, words")
    (source / "empty.mov").touch()
    (source / "text.jpg").write_text("words")
    (source / "half.jpg").write_bytes(photo.read_bytes()[:900])
    (source / "gone.mkv").symlink_to(source / "nowhere.mkv")
    command = ["batch", str(source), "--out", str(out), "--format", "mkv", "--workers", "2", "--json"]
    command += ["--report", str(tmp_path / "report.html")]
    assert main(command) == 1
    told, err = capsys.readouterr()
    first = json.loads(told)
    assert (first["inputs"], first["done"], first["skipped"], len(first["failed"])) == (60, 54, 0, 6)
    assert "60 inputs: 54 cut, 6 failed" in err
    reasons = {Path(f["input"]).name: f["error"] for f in first["failed"]}
    for name, words in {
        "cut-off.mp4": "is cut off", "text.mp4": "not a video", "empty.mov": "is empty (0 bytes)",
        "text.jpg": "not a photo", "half.jpg": "damaged or cut off", "gone.mkv": "no such file",
    }.items():  # fmt: skip
        assert words in reasons[name]
    assert len(frame_times(out / "day1" / "clip01.mkv")) == 4
    assert {p.name for p in (out / "photo03").iterdir()} == {"head_only.png", "full_mask.png", "head_mask_crop.png"}
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["state"] for row in rows].count("done") == 54
    assert (tmp_path / "report.html").read_text().count("<tr>") == 61
    assert not (out / ".headstream" / "work").exists()

    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.mkv")}
    (out / "day1" / "clip01.mkv").unlink()
    (out / "photo03" / "full_mask.png").write_bytes(b"")
    os.utime(source / "day2" / "clip02.mp4", ns=(1, 1))
    copies(clip, source, "text.mp4")
    then_in_process()
    assert main(command) == 1
    second = json.loads(capsys.readouterr().out)
    assert (second["done"], second["skipped"], len(second["failed"])) == (4, 51, 5)
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*.mkv")}
    changed = {p.name for p in after if after[p] != before.get(p)}
    assert changed == {"clip01.mkv", "clip02.mkv", "text.mkv"}


@pytest.mark.usefixtures("in_process")
class TestAgain:
    def test_what_a_result_depends_on(self, clip: Path, tmp_path: Path) -> None:
        def states_with(**options: Any) -> list[str]:
            return [outcome.state for outcome in run_batch(job(source, out=out, **options)).outcomes]

        source, out = tmp_path / "a.mp4", tmp_path / "out"
        copies(clip, tmp_path, "a.mp4")
        assert states_with() == ["done"]
        assert states_with() == ["skipped"]
        assert states_with(resume=False) == ["done"]
        assert states_with(wish=Wish(format="mkv", part="hair")) != ["skipped"]
        assert states_with(wish=Wish(format="mkv", part="hair"), model="lite") != ["skipped"]
        result = out / ".headstream" / "results" / "a.mkv.json"
        result.write_text(result.read_text()[:100])
        assert states_with(wish=Wish(format="mkv", part="hair"), model="lite") != ["skipped"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"outputs": 1}, {"outputs": ["a.mkv"]}, {"outputs": [{"name": "a.mkv"}]}, {"identity": [1]}, {"length_s": "1"},
            {"identity": {"split_s": "long"}}, {"former": [1]}, {"notes": None},
        ],
    )  # fmt: skip
    def test_a_result_file_that_makes_no_sense(self, wrong: dict[str, Any], clip: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "both", "a.mp4")
        wanted = job(tmp_path / "both" / "a.mp4", tmp_path / "both", out=tmp_path / "both")
        run_batch(wanted)
        result = tmp_path / "both" / ".headstream" / "results" / "a.mkv.json"
        result.write_text(json.dumps(json.loads(result.read_text()) | wrong))
        (tmp_path / "both" / "a.mkv").unlink()  # not known for a result any more
        assert states(run_batch(wanted)) == {"a.mp4": "done"}
        assert states(run_batch(wanted)) == {"a.mp4": "skipped"}

    def test_a_result_file_that_is_nested_too_deep(self, clip: Path, tmp_path: Path) -> None:
        wanted = job(clip, out=tmp_path / "out")
        run_batch(wanted)
        (tmp_path / "out" / ".headstream" / "results" / "clip.mkv.json").write_text("[" * 100_000)
        assert states(run_batch(wanted)) == {"clip.mp4": "done"}

    def test_a_folder_called_like_a_result_file(self, clip: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "both", "day.json/a.mp4")
        wanted = job(tmp_path / "both", out=tmp_path / "both")
        assert states(run_batch(wanted)) == {"a.mp4": "done"}
        assert states(run_batch(wanted)) == {"a.mp4": "skipped"}

    def test_what_a_new_result_no_longer_has_is_removed(self, photo: Path, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        copies(photo, tmp_path / "in", "a.jpg", "b.jpg")
        run_batch(job(tmp_path / "in", out=out))
        (out / "b" / "my notes.txt").write_text("keep")
        Image.fromarray(pattern(160, 120, 0)).save(tmp_path / "in" / "a.jpg")
        Image.fromarray(pattern(160, 120, 0)).save(tmp_path / "in" / "b.jpg")
        assert states(run_batch(job(tmp_path / "in", out=out))) == {"a.jpg": "no_head", "b.jpg": "no_head"}
        assert set(tree(out)) == {"b/my notes.txt"}
        assert not (out / "a").exists()

    @pytest.mark.parametrize("format", ["mkv", "png"])
    def test_results_beside_their_inputs_are_not_cut_themselves(
        self, format: str, clip: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies(clip, tmp_path / "both", "a.mp4", "sub/b.mp4")
        copies(photo, tmp_path / "both", "ada.jpg")
        (tmp_path / "link").symlink_to(tmp_path / "both")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "Both").symlink_to(tmp_path / "both")
        wanted = job(tmp_path / "both", out=tmp_path / "link", wish=Wish(format=format, matte=format))
        assert states(run_batch(wanted)) == {"a.mp4": "done", "b.mp4": "done", "ada.jpg": "done"}
        before = set(tree(tmp_path / "both"))
        assert states(run_batch(wanted)) == {"a.mp4": "skipped", "b.mp4": "skipped", "ada.jpg": "skipped"}
        assert set(tree(tmp_path / "both")) == before
        with monkeypatch.context() as spelled:  # as on macOS, to which Both is no link, but as good a name as both
            spelled.setattr("os.path.realpath", lambda path, **more: os.path.abspath(path))
            found = find_items([str(tmp_path / "both")], wanted.wish, str(tmp_path / "other" / "Both"))
        assert sorted(Path(item.input).name for item in found) == ["a.mp4", "ada.jpg", "b.mp4"]
        below = job(tmp_path / "both" / "sub", out=tmp_path / "both", wish=Wish(format="webm"))
        assert states(run_batch(below)) == {"b.mp4": "done"}

    def test_the_output_folder_named_with_the_inputs(self, clip: Path, photo: Path, tmp_path: Path) -> None:
        """As by a * that the shell expands."""
        copies(clip, tmp_path, "day/a.mp4")
        out = tmp_path / "cut"
        assert states(run_batch(job(tmp_path / "day", out=out))) == {"a.mp4": "done"}
        assert states(run_batch(job(tmp_path / "day", out, out=out))) == {"a.mp4": "skipped"}
        copies(clip, tmp_path, "cut/sub/b.mp4")
        inside = [out / "sub" / "b.mp4", out / "sub"]
        assert states(run_batch(job(*inside, out=out))) == {"b.mp4": "done"}
        assert states(run_batch(job(*inside, out=out))) == {"b.mp4": "skipped"}
        listed = tmp_path / "list.csv"
        listed.write_text(f"input,out\n{photo},monday/early/me\n")
        run_batch(job(listed, out=out))
        assert states(run_batch(job(listed, out / "monday", out=out))) == {"ada.jpg": "skipped"}

    def test_a_folder_with_results_alone(self, clip: Path, tmp_path: Path) -> None:
        run_batch(job(clip, out=tmp_path / "out"))
        with pytest.raises(UsageError, match="out: no photos or videos in this folder but results"):
            run_batch(job(tmp_path / "out", out=tmp_path / "out"))

    def test_what_stays_of_a_result_whose_input_then_fails(self, clip: Path, tmp_path: Path) -> None:
        """It is still the tool's own: not to be cut, and to go once a new result has taken its place."""
        copies(clip, tmp_path / "both", "a.mp4")
        film = tmp_path / "both" / "a.mp4"
        wanted = job(tmp_path / "both", out=tmp_path / "both", wish=Wish(format="mkv", matte="mkv"))
        assert states(run_batch(wanted)) == {"a.mp4": "done"}
        whole = film.read_bytes()
        for _ in range(2):
            film.write_bytes(b"damaged")
            assert states(run_batch(wanted)) == {"a.mp4": "failed"}
        film.write_bytes(whole)
        without = job(tmp_path / "both", out=tmp_path / "both", wish=Wish(format="mkv"))
        assert states(run_batch(without)) == {"a.mp4": "done"}
        assert set(tree(tmp_path / "both")) == {"a.mp4", "a.mkv"}

    def test_a_background_file_counts(self, clip: Path, photo: Path, tmp_path: Path) -> None:
        behind = tmp_path / "behind.jpg"
        copies(photo, tmp_path, "behind.jpg")
        wanted = job(clip, out=tmp_path / "out", wish=Wish(format="mp4", background=str(behind)))
        assert states(run_batch(wanted)) == {"clip.mp4": "done"}
        assert states(run_batch(wanted)) == {"clip.mp4": "skipped"}
        os.utime(behind, ns=(1, 1))
        assert states(run_batch(wanted)) == {"clip.mp4": "done"}

    def test_folders_named_like_words(self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for word in ("transparent", "default"):
            (tmp_path / word).mkdir()
        assert states(run_batch(job(clip, out=tmp_path / "out"))) == {"clip.mp4": "done"}

    def test_a_shorter_sequence_leaves_no_frames_of_the_longer_one(
        self, clip: Path, nobody: Path, portrait: Any, tmp_path: Path
    ) -> None:
        from tests.conftest import moving_portrait
        from tests.media import write_video

        wanted = job(tmp_path / "a.mp4", out=tmp_path / "out", wish=Wish(format="png"))
        copies(clip, tmp_path, "a.mp4")
        run_batch(wanted)
        (tmp_path / "out" / "a" / "my notes.txt").write_text("keep")
        assert states(run_batch(wanted)) == {"a.mp4": "skipped"}
        write_video(tmp_path / "a.mp4", moving_portrait(portrait, 2, (160, 120)))
        run_batch(wanted)
        assert {p.name for p in (tmp_path / "out" / "a").iterdir()} == {"000001.png", "000002.png", "my notes.txt"}

    def test_frames_that_are_not_ours_stay_in_a_sequences_folder(
        self, clip: Path, portrait: Any, tmp_path: Path
    ) -> None:
        from tests.conftest import moving_portrait
        from tests.media import write_video

        source, folder = tmp_path / "in" / "a.mp4", tmp_path / "out" / "a"
        folder.mkdir(parents=True)
        for name in ("000500.png", "0000001.png"):
            (folder / name).write_text("mine")
        copies(clip, tmp_path, "in/a.mp4")
        wanted = job(source, out=tmp_path / "out", wish=Wish(format="png"))
        assert states(run_batch(wanted)) == {"a.mp4": "done"}
        assert states(run_batch(wanted)) == {"a.mp4": "skipped"}
        mine = {"0000001.png", "000500.png"}
        assert {p.name for p in folder.iterdir()} == mine | {f"00000{k}.png" for k in range(1, 5)}
        write_video(source, moving_portrait(portrait, 2, (160, 120)))
        whole = source.read_bytes()
        source.write_bytes(b"damaged")
        assert states(run_batch(wanted)) == {"a.mp4": "failed"}
        source.write_bytes(whole)
        assert states(run_batch(wanted)) == {"a.mp4": "done"}
        assert {p.name for p in folder.iterdir()} == mine | {"000001.png", "000002.png"}
        run_batch(job(tmp_path / "in", out=tmp_path / "out", wish=Wish(format="png", matte="png")))
        assert (tmp_path / "out" / "a.matte" / "000002.png").exists()
        (tmp_path / "out" / "a.matte" / "000003.png").write_text("mine")
        run_batch(wanted)
        assert {p.name for p in (tmp_path / "out" / "a.matte").iterdir()} == {"000003.png"}

    def test_results_of_before_former_files_were_counted(self, clip: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "both", "a.mp4")
        wanted = job(tmp_path / "both", out=tmp_path / "both")
        run_batch(wanted)
        result = tmp_path / "both" / ".headstream" / "results" / "a.mkv.json"
        result.write_text(json.dumps(json.loads(result.read_text()) | {"outputs": [], "former": ["a.mkv"]}))
        assert states(run_batch(wanted)) == {"a.mp4": "skipped"}

    def test_dead_processes_leave_nothing_behind(self, clip: Path, tmp_path: Path) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        left = work_folder(tmp_path / "out", ended.pid) / "out.mkv"
        copies(clip, left.parent, "out.mkv")
        run_batch(job(clip, out=tmp_path / "out"))
        assert not left.exists()

    def test_dead_processes_leave_nothing_behind_on_windows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def open_process(access: int, inherit: bool, number: int) -> int:
            if number == 44:
                raise OSError(22, "The parameter is incorrect")
            if number == 48:
                raise PermissionError(13, "Access is denied")
            return number

        closed: list[int] = []
        windows = {
            "SYNCHRONIZE": 0x100000,
            "WAIT_TIMEOUT": 258,
            "OpenProcess": open_process,
            "CloseHandle": closed.append,
        }
        asked = SimpleNamespace(WaitForSingleObject=lambda handle, ms: 258 if handle == 52 else 0, **windows)
        monkeypatch.setitem(sys.modules, "_winapi", asked)
        monkeypatch.setattr("sys.platform", "win32")
        own = own_folder(tmp_path)
        own.rmdir()
        host = own.stem
        for number in (
            44,
            48,
            52,
            56,
        ):  # of nobody; somebody else's; one that runs; one that has ended and is still known
            (tmp_path / f"{host}.{number}").mkdir()
        own = own_folder(tmp_path)
        assert {folder.name for folder in tmp_path.iterdir()} == {own.name, f"{host}.48", f"{host}.52"}
        assert sorted(closed) == [52, 56]

    @pytest.mark.skipif(not CAN_UNSHARE, reason="needs namespaces of its own")
    def test_containers_of_one_name_leave_one_another_alone(self, tmp_path: Path) -> None:
        own = own_folder(tmp_path)
        (own / "half.mkv").touch()
        inside = f"from pathlib import Path; from headstream.batch.places import own_folder; own_folder(Path({str(tmp_path)!r}))"
        subprocess.run([*UNSHARE, sys.executable, "-c", inside], check=True, timeout=60)
        assert (own / "half.mkv").exists()  # nobody has its maker's number in there
        assert len(list(tmp_path.iterdir())) == 2


class TestDeath:
    @posix
    @pytest.mark.slow
    def test_a_killed_worker_loses_nothing(
        self, clip: Path, long_clip: Path, tmp_path: Path, then_in_process: Callable[[], None]
    ) -> None:
        copies(clip, tmp_path / "in", "a.mp4", "b.mp4", "c.mp4")
        copies(long_clip, tmp_path / "in", "long.mp4")
        killed: list[int] = []

        def kill_once(now: BatchProgress) -> None:
            if not killed and now.done == 3 and now.fraction < 1:
                killed.append(int(multiprocessing.active_children()[0].pid or 0))
                kill(killed[0])

        png = Wish(format="png")  # Matroska files hold a random number each
        report = run_batch(job(tmp_path / "in", out=tmp_path / "out", wish=png), kill_once)
        assert killed
        assert set(states(report).values()) == {"done"}
        assert not multiprocessing.active_children()
        then_in_process()
        run_batch(job(tmp_path / "in", out=tmp_path / "undisturbed", wish=png))
        assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")

    @posix
    @pytest.mark.slow
    def test_an_input_that_costs_three_workers_is_reported(
        self, clip: Path, long_clip: Path, tmp_path: Path, then_in_process: Callable[[], None]
    ) -> None:
        copies(clip, tmp_path / "in", "a.mp4", "z.mp4")
        copies(long_clip, tmp_path / "in", "long.mp4")
        killed: set[int] = set()

        def kill_each(now: BatchProgress) -> None:
            if now.done == 1 and (pids := {int(c.pid or 0) for c in multiprocessing.active_children()} - killed):
                killed.update(pids)
                kill(min(pids))

        report = run_batch(job(tmp_path / "in", out=tmp_path / "out"), kill_each)
        assert states(report) == {"a.mp4": "done", "long.mp4": "failed", "z.mp4": "done"}
        assert len(killed) == 3
        reason = next(o.reason for o in report.outcomes if o.state == "failed")
        assert "killed by SIGKILL" in reason
        assert "3 times" in reason
        assert not (tmp_path / "out" / ".headstream" / "work").exists()
        then_in_process()
        again = run_batch(job(tmp_path / "in", out=tmp_path / "out"))
        assert states(again) == {"a.mp4": "skipped", "long.mp4": "done", "z.mp4": "skipped"}

    def test_what_is_killed_while_a_result_is_put_in_its_place_is_done_again(
        self, clip: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beside its input: the frames that are there already are nobody's photos."""
        copies(clip, tmp_path, "a.mp4")
        png = job(tmp_path, out=tmp_path, wish=Wish(format="png", matte="mkv"))
        put = LocalStorage.put

        def killed(storage: LocalStorage, files: Any) -> None:
            if files[0][1] == "a/000003.png":
                raise SystemExit  # nothing after this is done
            put(storage, files)

        monkeypatch.setattr(LocalStorage, "put", killed)
        with pytest.raises(SystemExit):
            run_batch(png)
        assert set(tree(tmp_path)) == {"a.mp4", "a/000001.png", "a/000002.png"}
        monkeypatch.setattr(LocalStorage, "put", put)
        assert states(run_batch(png)) == {"a.mp4": "done"}
        assert set(tree(tmp_path)) == {"a.mp4", "a.matte.mkv", *(f"a/00000{k}.png" for k in range(1, 5))}
        assert states(run_batch(png)) == {"a.mp4": "skipped"}

    @posix
    def test_what_was_killed_at_its_very_end_leaves_nothing(self, clip: Path, tmp_path: Path, in_process: None) -> None:
        copies(clip, tmp_path / "in", "a.mp4")
        done = job(tmp_path / "in", out=tmp_path / "out")
        run_batch(done)
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        (work_folder(tmp_path / "out", dead.pid) / "made").mkdir(parents=True)
        assert states(run_batch(done)) == {"a.mp4": "skipped"}
        assert not (tmp_path / "out" / ".headstream" / "work").exists()

    @posix
    def test_what_is_stopped_while_a_result_is_put_in_its_place_is_whole(
        self, clip: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies(clip, tmp_path / "in", "a.mp4")
        png = job(tmp_path / "in", out=tmp_path / "out", wish=Wish(format="png"))
        put = LocalStorage.put

        def stopped(storage: LocalStorage, files: Any) -> None:
            put(storage, files)
            if files[0][1] == "a/000002.png":
                os.kill(os.getpid(), signal.SIGTERM)

        def stop(number: int, frame: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(LocalStorage, "put", stopped)
        before = signal.signal(signal.SIGTERM, stop)
        try:
            assert run_batch(png).interrupted
        finally:
            signal.signal(signal.SIGTERM, before)
        assert set(tree(tmp_path / "out")) == {f"a/00000{k}.png" for k in range(1, 5)}
        assert states(run_batch(png)) == {"a.mp4": "skipped"}

    def test_what_is_there_of_a_result_that_failed_to_be_put_in_its_place(
        self, clip: Path, tmp_path: Path, in_process: None
    ) -> None:
        name = "n" * 248  # .mov fits, .matte.mkv does not
        copies(clip, tmp_path, f"{name}.mp4")
        both = job(tmp_path, out=tmp_path, wish=Wish(format="mkv", matte="mkv"))
        for _ in range(2):  # the film that is there is no input
            (outcome,) = run_batch(both).outcomes
            assert outcome.reason.startswith(f"{tmp_path / name}.matte.mkv: cannot be written")
        assert states(run_batch(replace(both, wish=Wish(format="mkv")))) == {f"{name}.mp4": "done"}

    @posix
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
    def test_interrupted_and_taken_up_again(
        self,
        name: str,
        clip: Path,
        long_clip: Path,
        tmp_path: Path,
        in_process: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        number = getattr(signal, name)
        copies(clip, tmp_path / "in", "a.mp4")
        copies(long_clip, tmp_path / "in", "b.mp4", "c.mp4")
        out = tmp_path / "out"
        command = ["batch", str(tmp_path / "in"), "--out", str(out), "--format", "mkv", "--workers", "2"]
        process = subprocess.Popen(
            [sys.executable, "-m", "headstream", *command],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeds_ctrl_c,
            start_new_session=True,
        )
        until = time.monotonic() + 100
        written = out / ".headstream" / "results" / "a.mkv.json"
        while not written.exists() or not there(out, ".out.part.mkv"):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.02)
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)  # as a terminal, or a cluster's scheduler, does it
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        assert (out / "a.mkv").exists()
        if number != signal.SIGKILL:
            assert process.returncode == 130, err
            assert "the same command goes on from here" in err
            assert set(tree(out)) < {"a.mkv", "b.mkv", "c.mkv"}
            assert not (out / ".headstream" / "work").exists()
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["skipped"] >= 1
        assert set(tree(out)) == {"a.mkv", "b.mkv", "c.mkv"}

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="watches the worker in /proc")
    @pytest.mark.parametrize("what", ["SigCgt", "SigIgn"], ids=["python-starts", "libraries-load"])
    def test_ctrl_c_while_workers_start_is_no_traceback(self, what: str, clip: Path, tmp_path: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "headstream",
            "batch",
            str(clip),
            "--out",
            str(tmp_path / "out"),
            "--workers",
            "1",
        ]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c, start_new_session=True
        )
        until = time.monotonic() + 100
        while not any(_does_with_ctrl_c(what, pid) for pid in _workers(process.pid)):
            assert time.monotonic() < until
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err.splitlines()[-1] == "headstream: interrupted with 1 of 1 left; the same command goes on from here"
        assert "Traceback" not in err
        assert "Process headstream-batch" not in err

    @posix
    def test_a_worker_that_is_told_to_stop_in_a_finalizer_stops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import headstream.batch.pool as pool

        class Picture:
            def __del__(self) -> None:
                signal.raise_signal(signal.SIGUSR1)  # the parent's business
                signal.raise_signal(signal.SIGTERM)

        class Busy:
            def __init__(self, setup: object) -> None:
                pass

            def __enter__(self) -> Busy:
                return self

            def __exit__(self, *exc: object) -> None:
                closed.append(True)

            def cut(self, *arguments: object) -> str:
                Picture()
                for _ in range(300):
                    time.sleep(0.1)
                return "done"

        closed: list[bool] = []
        monkeypatch.setattr(worker, "Worker", Busy)
        monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)  # as on Windows
        handlers = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)]
        stray: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, frame: stray.append(number))
        logger = logging.getLogger("headstream")
        level = logger.level
        ours, theirs = multiprocessing.Pipe()
        ours.send("an input")
        ours.send(None)
        try:
            pool._serve(theirs, Setup("out", "default", "cpu"))
        finally:
            logger.setLevel(level)
            for number, handler in handlers:
                signal.signal(number, handler)
        assert closed
        assert not stray
        assert not ours.poll()  # nothing was done

    def test_workers_that_cannot_start_end_the_batch(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import headstream.batch.pool as pool

        monkeypatch.setattr(pool, "_serve", sys.exit)  # with the pipe for a status
        with pytest.raises(Exception, match="workers do not start"):
            run_batch(job(clip, out=tmp_path / "out"))


def _workers(parent: int) -> list[int]:
    """The worker processes of a batch that runs elsewhere; multiprocessing's own helper is none."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in _read(Path(f"/proc/{child}/cmdline"))]


def _does_with_ctrl_c(what: str, pid: int) -> bool:
    """Whether a process catches (SigCgt) or ignores (SigIgn) it."""
    mask = re.search(rb"%s:\s*([0-9a-f]+)" % what.encode(), _read(Path(f"/proc/{pid}/status")))
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGINT - 1) & 1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


@pytest.mark.usefixtures("in_process")
class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["missing*.mp4"], "no file matches this pattern"),
            (["missing.mp4"], "no such file"),
            (["CLIP", "--format", "mp4"], "STEM.mp4: H.264 in .mp4 has no transparency; use .mov, .webm or .mkv, or"),
            (["CLIP", "--codec", "h264"], "STEM.mov: H.264 in .mov has no transparency; leave out --codec, or choose"),
            (["CLIP", "--format", "avi"], "--format avi: unknown; known: mov"),
            (["CLIP", "--background", "plaid"], "--background plaid"),
            (["CLIP", "--background", "blur"], "a background needs an opaque output"),
            (["CLIP", "--heads", "some"], "expected largest, all or"),
            (["CLIP", "--part", "hiar"], "--part hiar: expected head, hair, face"),
            (["CLIP", "--workers", "0"], "expected at least 1"),
            (["CLIP", "--codec", "wmv"], "unknown; known"),
            (["LIST"], "list.csv:2: column"),
        ],
    )
    def test_wrong_usage_is_one_line_and_status_2(
        self, arguments: list[str], words: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "list.csv").write_text("input,nonsense\nx,y\n")
        named = {"CLIP": str(clip), "LIST": str(tmp_path / "list.csv")}
        given = [named.get(argument, argument) for argument in arguments]
        assert main(["batch", *given, "--out", str(tmp_path / "out")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_no_head_anywhere_is_status_3(
        self, nobody: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["batch", str(nobody), "--out", str(tmp_path / "out"), "--format", "mkv", "--workers", "1"]
        assert main(command) == 3
        assert main(command) == 3  # done before; still nobody there
        assert main([*command[:1], str(clip), *command[1:]]) == 0
        assert "1 without a head" in capsys.readouterr().err

    def test_a_device_that_is_not_here_ends_it_at_once(self, clip: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="'cuda' is not here"):
            run_batch(job(clip, out=tmp_path / "out", device="cuda"))
        for wrong in ({"model": "nonsense"}, {"device": "abacus"}):
            with pytest.raises(UsageError, match="not known"):
                run_batch(job(clip, out=tmp_path / "out", **wrong))

    @pytest.mark.parametrize(
        ("column", "bad", "words"),
        [
            ("heads", "biggest", "--heads biggest: expected largest, all"),
            ("format", "avi", "--format avi: unknown"),
            ("background", "blur", "a background needs an opaque output"),
            ("part", "neck", "knows head, hair, not 'neck'"),
        ],
    )
    def test_a_wish_that_cannot_be_granted_names_its_line(
        self, column: str, bad: str, words: str, clip: Path, tmp_path: Path
    ) -> None:
        listed, other = tmp_path / "list.csv", shutil.copy(clip, tmp_path / "other.mp4")
        listed.write_text(f"input,{column}\n{clip},\n{other},{bad}\n")
        with pytest.raises(UsageError, match=f"list.csv:3: .*{words}"):
            run_batch(job(listed, out=tmp_path / "out"))

    def test_no_place_to_work_in(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".headstream").touch()
        with pytest.raises(SinkError, match=r"\.headstream is a file, not a folder"):
            run_batch(job(clip, out=tmp_path / "out"))

    def test_out_is_a_file(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "out").touch()
        with pytest.raises(UsageError, match="is a file"):
            run_batch(job(clip, out=tmp_path / "out"))

    def test_a_full_disk_ends_it_at_once(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from headstream.batch import worker
        from headstream.sinks.partial import sink_error

        def full(job: Any, *rest: Any, **more: Any) -> None:
            error = OSError(errno.ENOSPC, "full")
            raise sink_error(job.out, error) from error

        monkeypatch.setattr(worker, "cut_video_file", full)
        copies(clip, tmp_path / "in", "a.mp4", "b.mp4")
        assert main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert f"{tmp_path / 'out' / 'a.mov'}: the disk is full" in said
        assert "b.m" not in said

    def test_a_disk_that_fills_up_on_the_way_ends_it(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: Any) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr("headstream.sinks.clipfile.ClipFile.mux", full)
        copies(clip, tmp_path / "in", "a.mp4", "b.mp4")
        with pytest.raises(SinkError, match="a.mkv: the disk is full") as caught:
            run_batch(job(tmp_path / "in", out=tmp_path / "out"))
        assert "b.m" not in str(caught.value)

    def test_no_room_for_a_folder_to_work_in_is_what_its_worker_says(
        self, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out").touch()
        (item,) = find_items([str(clip)], Wish(format="mkv"), str(tmp_path / "elsewhere"))
        with (
            pytest.raises(SinkError, match="out is a file, not a folder"),
            pool.LocalPool(Setup(str(tmp_path / "out"), "default", "cpu"), 1) as workers,
        ):
            workers.submit(item)
            while True:
                workers.wait(10)
        assert capfd.readouterr().err == ""

    def test_no_room_for_the_folder_of_what_is_made_ends_it(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(folder: Path, *arguments: Any, **more: Any) -> None:
            raise OSError(errno.ENOSPC, "full", str(folder))

        (item,) = find_items([str(clip)], Wish(format="mkv"), str(tmp_path / "out"))
        with worker.Worker(Setup(str(tmp_path / "out"), "default", "cpu")) as one, monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", full)
            outcome = one.cut(item)
        assert (outcome.state, outcome.fatal) == ("failed", SinkError)
        assert "the disk is full" in outcome.reason

    def test_errors_that_go_round_in_a_circle_end(self) -> None:
        one, other = SinkError("one"), SinkError("other")
        one.__cause__, other.__cause__ = other, one
        assert not may_pass(one)
        other.__cause__ = other
        assert not may_pass(one)

    def test_a_report_is_named_as_a_page(self, clip: Path, tmp_path: Path) -> None:
        for _ in range(2):
            run_batch(job(clip, out=tmp_path / "out", report=tmp_path / "report.HTM"))
        assert (tmp_path / "report.HTM").read_text().count("<tr>") == 2
        (tmp_path / "folder.html").mkdir()
        with pytest.raises(UsageError, match="is a folder; name a file"):
            run_batch(job(clip, out=tmp_path / "other", report=tmp_path / "folder.html"))
        shutil.copy(clip, tmp_path / "film.mp4")
        for name in ("film.mp4", "report"):
            with pytest.raises(UsageError, match=f"--report .*{name}: is a page; name it .html"):
                run_batch(job(clip, out=tmp_path / "other", report=tmp_path / name))
        assert (tmp_path / "film.mp4").read_bytes() == clip.read_bytes()
        assert not (tmp_path / "other").exists()

    def test_more_cores_than_a_network_may_have(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int | None] = []

        def load(name: str, *, threads: int | None, **more: Any) -> CropSegmenter:
            asked.append(threads)
            return load_segmenter(name, threads=2, **more)

        monkeypatch.setattr(worker, "load_segmenter", load)
        monkeypatch.setattr(worker.cv2, "setNumThreads", lambda count: None)  # it would stay so
        with worker.Worker(Setup(str(tmp_path), "default", "cpu", threads=1000)) as one:
            one._loaded("video")
        assert asked == [MOST_THREADS]

    def test_a_report_that_cannot_be_written_is_refused_before_work(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SinkError, match="is a file, not a folder"):
            run_batch(job(clip, out=tmp_path / "out", report=tmp_path / "file" / "report.html"))
        assert not (tmp_path / "out").exists()

    def test_a_report_in_a_photos_folder(self, photo: Path, tmp_path: Path) -> None:
        copies(photo, tmp_path / "in", "a.jpg")
        with pytest.raises(UsageError, match="would replace a result"):
            run_batch(job(tmp_path / "in", out=tmp_path / "out", report=tmp_path / "out" / "a" / "stages.png"))
        run_batch(job(tmp_path / "in", out=tmp_path / "out", report=tmp_path / "out" / "a" / "report.html"))
        assert (tmp_path / "out" / "a" / "report.html").exists()

    @pytest.mark.parametrize("linked", [False, True])
    def test_pictures_that_lie_where_frames_would(self, linked: bool, clip: Path, photo: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "in", "talk.mp4")
        copies(photo, tmp_path, "other.jpg" if linked else "in/talk/000099.png")
        if linked:
            (tmp_path / "in" / "talk").mkdir()
            (tmp_path / "in" / "talk" / "000099.png").symlink_to(tmp_path / "other.jpg")
        for wish, name in ((Wish(format="png"), "talk"), (Wish(format="mkv", matte="png"), "talk.matte")):
            if wish.matte:
                (tmp_path / "in" / "talk").rename(tmp_path / "in" / name)
            with pytest.raises(UsageError, match=f"talk.mp4: its result would replace .*/{name}, which is read"):
                run_batch(job(tmp_path / "in", out=tmp_path / "in", wish=wish))

    def test_a_manifest_that_has_the_name_of_the_results(self, clip: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path, "a.mp4")
        listed = tmp_path / "results.jsonl"
        listed.write_text('{"input": "a.mp4"}\n')
        with pytest.raises(UsageError, match="results.jsonl: is read, .* rename it"):
            run_batch(job(listed, out=tmp_path))
        assert listed.read_text() == '{"input": "a.mp4"}\n'
        assert states(run_batch(job(listed, out=tmp_path / "out"))) == {"a.mp4": "done"}

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no photos or videos in this folder"):
            run_batch(job(tmp_path, out=tmp_path / "out"))


def test_a_pool_that_grows_shares_its_threads_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = pool.LocalPool(Setup(str(tmp_path), "default", "cpu", threads=8), 2)
    for wanted, workers, threads in ((1, 2, 8), (4, 4, 4), (3, 4, 4), (100, 100, 1)):
        several.grow(wanted)
        assert (several.workers, several.idle, several._setup.threads) == (workers, workers, threads)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with pool._environment(3):
        assert {os.environ[name] for name in pool._THREADS} == {"3"}
    assert dict(os.environ) == before


@pytest.mark.slow
def test_more_workers_than_a_system_waits_for_at_once(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    wait = pool.wait

    def of_windows(handles: list[Any], timeout_s: float) -> list[Any]:
        waited.append(len(handles))
        if len(handles) > 3:
            raise ValueError(f"need at most 3 handles, got a sequence of length {len(handles)}")
        return wait(handles, timeout_s)

    monkeypatch.setattr(pool, "wait", of_windows)
    monkeypatch.setattr(pool, "_MOST_HANDLES", 3)
    copies(clip, tmp_path / "in", "a.mp4", "b.mp4", "c.mp4")
    report = run_batch(job(tmp_path / "in", out=tmp_path / "out", workers=3))
    assert set(states(report).values()) == {"done"}
    assert max(waited) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
@pytest.mark.usefixtures("in_process")
def test_names_that_are_not_utf_8(clip: Path, photo: Path, tmp_path: Path) -> None:
    copies(clip, tmp_path / "in", os.fsdecode(b"caf\xe9.mp4"))
    copies(photo, tmp_path / "in", os.fsdecode(b"caf\xe9.jpg"))
    batch = job(tmp_path / "in", out=tmp_path / "out", report=tmp_path / "r.html")
    assert {outcome.state for outcome in run_batch(batch).outcomes} <= {"done", "no_head"}
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.mkv")).is_file()
    assert {outcome.state for outcome in run_batch(batch).outcomes} == {"skipped"}
    assert "caf\\udce9.mp4" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("in_process")
def test_a_name_that_no_file_can_have_fails_alone(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies(clip, tmp_path, "a.mp4")
    (tmp_path / "list.jsonl").write_text('{"input": "\\ud800.mp4"}\n{"input": "a.mp4"}\n')
    command = ["batch", str(tmp_path / "list.jsonl"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*command, "--report", str(tmp_path / "r.html")]) == 1
    said = capsys.readouterr().err
    assert "\\ud800.mp4': no file can have such a name" in said
    assert "1 cut, 1 failed" in said
    assert "no file can have such a name" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("in_process")
def test_the_result_of_an_input(clip: Path, tmp_path: Path) -> None:
    copies(clip, tmp_path / "in", "sub/a b's.mp4")
    run_batch(job(tmp_path / "in", out=tmp_path / "out"))
    result = json.loads((tmp_path / "out" / ".headstream" / "results" / "sub" / "a b's.mkv.json").read_text())
    assert result["state"] == "done"
    assert (result["frames"], result["frames_with_head"]) == (4, 4)
    size = (tmp_path / "out" / "sub" / "a b's.mkv").stat().st_size
    assert result["outputs"] == [{"name": "sub/a b's.mkv", "files": 1, "bytes": size}]
    assert result["identity"]["size"] == clip.stat().st_size
    assert len(result["identity"]["model"]) == 64
    assert result["thumbnail"].startswith("data:image/jpeg;base64,")


def _broken_off(folder: Path) -> tuple[Path, Path]:
    """A clip that ends before its index says so, and the whole of it."""
    from tests.media import write_video

    whole = write_video(
        folder / "whole.mp4", [_noisy(k) for k in range(40)], container_options={"movflags": "faststart"}
    )
    source = folder / "in" / "cut.mp4"
    source.parent.mkdir()
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    return source, whole


@pytest.mark.usefixtures("in_process")
def test_a_clip_that_breaks_off_leaves_what_it_has(tmp_path: Path) -> None:
    source, whole = _broken_off(tmp_path)
    report = run_batch(job(source, out=tmp_path / "out"))
    (outcome,) = report.outcomes
    assert outcome.state == "failed"
    assert f"frames before that are in {tmp_path / 'out' / 'cut.partial.mkv'}" in outcome.reason
    assert set(tree(tmp_path / "out")) == {"cut.partial.mkv"}
    source.write_bytes(whole.read_bytes())
    assert states(run_batch(job(source, out=tmp_path / "out"))) == {"cut.mp4": "no_head"}
    assert set(tree(tmp_path / "out")) == {"cut.mkv"}


@pytest.mark.usefixtures("in_process")
def test_what_a_clip_that_breaks_off_leaves_takes_no_other_results_place(clip: Path, tmp_path: Path) -> None:
    source, _ = _broken_off(tmp_path)
    copies(clip, source.parent, "cut.partial.mp4")
    for expected in ("done", "skipped"):
        report = run_batch(job(source.parent, out=tmp_path / "out"))
        assert states(report) == {"cut.mp4": "failed", "cut.partial.mp4": expected}
    assert [made["name"] for outcome in report.outcomes for made in outcome.outputs] == [
        "cut-mp4.partial.mkv",
        "cut.partial-mp4.mkv",
    ]


@pytest.mark.usefixtures("in_process")
def test_what_a_clip_that_breaks_off_leaves_replaces_no_input(clip: Path, tmp_path: Path) -> None:
    copies(clip, tmp_path, "a.mp4", "talk.partial.mkv")
    listed = tmp_path / "list.csv"
    listed.write_text("input,out\na.mp4,talk\ntalk.partial.mkv,other\n")
    with pytest.raises(UsageError, match=r"a\.mp4: its result would replace .*talk\.partial\.mkv, which is read"):
        run_batch(job(listed, out=tmp_path))


@pytest.mark.usefixtures("in_process")
class TestMattesAndStages:
    @pytest.mark.parametrize(("format", "matte"), [("mkv", "mkv"), ("mov", "mp4"), ("webm", "webm"), ("png", "png")])
    def test_every_film_gets_its_matte_and_every_photo_its_figure(
        self, format: str, matte: str, clip: Path, photo: Path, tmp_path: Path
    ) -> None:
        out, place = tmp_path / "out", "a" if format == "png" else f"a.{format}"
        copies(clip, tmp_path / "in", "a.mp4")
        copies(photo, tmp_path / "in", "ada.jpg")
        wish = Wish(format=format, matte=matte, stages=True)
        report = run_batch(job(tmp_path / "in", out=out, wish=wish))
        films, photos = report.outcomes
        beside = "a.matte" if matte == "png" else f"a.matte.{matte}"
        assert [made["name"] for made in films.outputs] == [place, beside]
        whites = decoded(out / beside / "%06d.png" if matte == "png" else out / beside, "gray")[..., 0]
        cut = out / place / "%06d.png" if format == "png" else out / place
        assert whites.shape == (4, 120, 160)
        assert whites.max() > 200
        assert np.abs(whites.astype(int) - alpha_of(cut)).mean() < 3
        assert "ada/stages.png" in [made["name"] for made in photos.outputs]
        with Image.open(out / "ada" / "stages.png") as figure:
            assert figure.size == (3 * 360, 2 * 400)
        assert str(out / beside) in report.outputs

    def test_done_is_what_has_all_its_files(self, clip: Path, photo: Path, tmp_path: Path) -> None:
        def ran(**words: Any) -> dict[str, str]:
            return states(run_batch(job(source, out=out, wish=Wish(format="mkv", **words))))

        source, out = tmp_path / "in", tmp_path / "out"
        copies(clip, source, "a.mp4")
        copies(photo, source, "ada.jpg")
        assert ran() == {"a.mp4": "done", "ada.jpg": "done"}
        assert ran(matte="png") == {"a.mp4": "done", "ada.jpg": "skipped"}
        assert ran(matte="png", stages=True) == {"a.mp4": "skipped", "ada.jpg": "done"}
        (out / "a.matte" / "000002.png").unlink()
        (out / "ada" / "stages.png").unlink()
        assert ran(matte="png", stages=True) == {"a.mp4": "done", "ada.jpg": "done"}
        assert ran(matte="mp4", stages=True) == {"a.mp4": "done", "ada.jpg": "skipped"}
        assert {name for name in tree(out) if "/" not in name} == {"a.mkv", "a.matte.mp4"}
        assert ran() == {"a.mp4": "done", "ada.jpg": "done"}
        assert set(tree(out)) == {
            "a.mkv",
            *(f"ada/{name}.png" for name in ("head_only", "full_mask", "head_mask_crop")),
        }

    def test_results_of_before_there_were_any_stay_done(self, clip: Path, photo: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "in", "a.mp4")
        copies(photo, tmp_path / "in", "ada.jpg")
        wanted = job(tmp_path / "in", out=tmp_path / "out")
        run_batch(wanted)
        for result in (tmp_path / "out" / ".headstream" / "results").iterdir():
            assert not {"matte", "stages"} & set(json.loads(result.read_text())["identity"]["wish"])

    def test_a_name_that_was_a_mattes_and_is_another_films_now(self, clip: Path, tmp_path: Path) -> None:
        copies(clip, tmp_path / "in", "a.mp4", "b.mp4")
        listed, out = tmp_path / "in" / "list.csv", tmp_path / "out"
        listed.write_text("input,out,matte\na.mp4,x.mov,mov\n")
        run_batch(job(listed, out=out))
        assert set(tree(out)) == {"x.mov", "x.matte.mov"}
        listed.write_text("input,out\nb.mp4,x.matte.mov\na.mp4,x.mov\n")
        for expected in ("done", "skipped"):
            assert states(run_batch(job(listed, out=out))) == {"a.mp4": expected, "b.mp4": expected}
            assert set(tree(out)) == {"x.mov", "x.matte.mov"}

    def test_a_film_that_breaks_off(self, tmp_path: Path) -> None:
        source, _ = _broken_off(tmp_path)
        (outcome,) = run_batch(job(source, out=tmp_path / "out", wish=Wish(format="mkv", matte="png"))).outcomes
        assert outcome.state == "failed"
        assert [made["name"] for made in outcome.outputs] == ["cut.partial.mkv", "cut.partial.matte"]

    def test_a_long_film_is_cut_whole(self, long_clip: Path, tmp_path: Path) -> None:
        wanted = job(long_clip, out=tmp_path / "out", wish=Wish(format="mkv", matte="mkv"), split_s=0.5)
        (outcome,) = run_batch(wanted).outcomes
        assert "cut whole: its matte is written beside it" in outcome.notes
        assert outcome.frames == 40
        assert len(frame_times(tmp_path / "out" / "long.matte.mkv")) == 40

    def test_other_formats_are_refused(self, clip: Path, tmp_path: Path) -> None:
        with pytest.raises(
            UsageError, match="--matte webp: expected the format of the mattes: mov, webm, mkv, mp4, png"
        ):
            run_batch(job(clip, out=tmp_path / "out", wish=Wish(matte="webp")))


@pytest.mark.usefixtures("in_process")
def test_pictures_of_a_clip_that_breaks_off_are_not_under_the_final_name(tmp_path: Path) -> None:
    source, _ = _broken_off(tmp_path)
    (outcome,) = run_batch(job(source, out=tmp_path / "out", wish=Wish(format="png"))).outcomes
    assert outcome.state == "failed"
    assert f"frames before that are in {tmp_path / 'out' / 'cut.partial'}" in outcome.reason
    assert [out["name"] for out in outcome.outputs] == ["cut.partial"]
    assert {Path(name).parent.name for name in tree(tmp_path / "out")} == {"cut.partial"}


def _noisy(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 255, (120, 160, 3), np.uint8)


class Passing:
    """A pool of one worker for whom the first input fails in a way that may pass, until its last try."""

    workers = 1

    def __init__(self) -> None:
        self.begun: list[tuple[int, float]] = []
        self._events: list[Event] = []

    @property
    def idle(self) -> int:
        return int(not self._events)

    def grow(self, workers: int) -> None:
        pass

    def submit(self, item: Item) -> None:
        self.begun.append((item.number, time.monotonic()))
        outcome = Outcome(item.input, item.kind, item.place, "done")
        if item.number == 0:
            outcome.state, outcome.again = "failed", True
        self._events = [Event(item.number, fraction=0.5), Event(item.number, outcome)]

    def wait(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events[:1], self._events[1:]
        time.sleep(0 if events else timeout_s)
        return events

    def close(self, *, now: bool = False) -> None:
        pass


def test_what_may_pass_is_tried_again_ever_later_and_the_way_is_told(tmp_path: Path) -> None:
    told: list[BatchProgress] = []
    wanted = job(out=tmp_path, tries=3, wait_s=0.02)
    storage = LocalStorage(str(tmp_path))
    storage.prepare()
    pool, sharing = Passing(), Sharing(wanted, storage, {}, 3, told.append)
    items = [Item(k, f"{k}.jpg", "photo", str(k), Wish(), size=99) for k in range(3)]
    sharing.refuse([replace(items[2], problem="not there")])
    sharing.go(items[:2], pool, 1)
    assert [number for number, _ in pool.begun] == [0, 1, 0, 0]
    first, second, third = (at for number, at in pool.begun if number == 0)
    assert second - first >= 0.02
    assert third - second >= 0.08
    assert [(now.done, now.failed) for now in told][-1] == (3, 2)
    fractions = [now.fraction for now in told]
    assert fractions[0] == pytest.approx(0.5 * 99 / 200)
    assert fractions[-1] == 1
    assert [outcome.state for outcome in sharing.ordered(items)] == ["failed", "done", "failed"]
    assert [outcome.tries for outcome in sharing.ordered(items)] == [1, 1, 1]


def test_a_work_folder_that_cannot_be_made_fails_the_input_alone(clip: Path, tmp_path: Path) -> None:
    """As on a node whose mount is gone: on Ray it ended the whole batch."""
    item = Item(0, str(clip), "video", "clip.mkv", Wish(format="mkv"))
    with worker.Worker(Setup(str(tmp_path / "out"), "default", "cpu")) as hand:
        own = hand._storage.work_folder()
        own.rmdir()
        own.write_text("in the way")
        outcome = hand.cut(item)
    assert (outcome.state, outcome.fatal) == ("failed", None)
    assert str(own) in outcome.reason
