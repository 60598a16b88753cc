"""One film cut in pieces by several workers: the same film as in one piece, whoever cuts it and whoever dies."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstream.batch import piecework, worker
from headstream.batch.job import OWN_FOLDER, BatchJob, BatchProgress, BatchReport, Item, Outcome, Wish
from headstream.batch.patience import PassingSourceError
from headstream.batch.places import LocalStorage, open_storage
from headstream.batch.pool import Event
from headstream.batch.run import run_batch
from headstream.batch.sharing import Sharing
from headstream.capture.marks import Span
from headstream.capture.survey import survey
from headstream.errors import SourceError, UsageError
from headstream.films import pieces
from headstream.films.pieces import Indivisible, Made, Piece, plan_pieces
from headstream.types import UInt8Array
from tests.batch.conftest import (
    BRIEF,
    BRIEF_FRAMES,
    BRIEF_PIECES,
    BRIEF_SPLIT_S,
    FRAMES,
    RATE,
    copies,
    filmed,
    kill,
    there,
)
from tests.media import alpha_of, decoded, frame_times, heeds_ctrl_c, needs_ffmpeg, probe

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")

OPEN = {"x264-params": "keyint=8:min-keyint=8:open-gop=1:bframes=3:b-adapt=0:scenecut=0", "crf": "18"}
REFRESHED = {"x264-params": "intra-refresh=1:keyint=8:bframes=0:scenecut=0"}
SPLIT_S = 2.0
BORDERS = tuple(begin for begin, _ in BRIEF_PIECES[1:])
SHORT_RUN_UP_S = 1
SEAM = 0.2  # of 255, on the mean of a frame; measured: 0.05


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The pieces that this process cuts."""
    done: list[tuple[int, int]] = []
    real = worker.cut_piece

    def noted(job: Any, piece: Piece, *rest: Any, **more: Any) -> Any:
        done.append((piece.begin, piece.end))
        return real(job, piece, *rest, **more)

    monkeypatch.setattr(worker, "cut_piece", noted)
    return done


@pytest.fixture
def short_run_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many frames to cut, where the matte's settling is not what is tested."""
    monkeypatch.setattr(pieces, "_RUN_UP_S", SHORT_RUN_UP_S)


def job(*inputs: Path, out: Path, **options: Any) -> BatchJob:
    usual: dict[str, Any] = {"wish": Wish(format="mkv"), "workers": 1, "split_s": SPLIT_S, "wait_s": 0.001}
    return BatchJob(tuple(map(str, inputs)), str(out), **(usual | options))


def brief(*inputs: Path, out: Path, **options: Any) -> BatchJob:
    """A job for the brief film, in its three pieces."""
    return job(*inputs, out=out, **({"split_s": BRIEF_SPLIT_S} | options))


def only(report: BatchReport) -> Outcome:
    (outcome,) = report.outcomes
    return outcome


def with_pieces(count: int, out: Path) -> Callable[[BatchProgress], None]:
    """Ctrl-C when so many pieces are cut and noted."""

    def stop(now: BatchProgress) -> None:
        if len(there(out / ".headstream" / "pieces", ".json")) == count:
            raise KeyboardInterrupt

    return stop


Change = Callable[[list[Made], Path], list[Made]]  # of finished pieces in their folder, before they are joined
Joining = Callable[[Change], str]


@dataclass(frozen=True)
class Prepared:
    """Output folders of the film, cut with a short run-up: broken off after two pieces; after the last one; and never."""

    two: Path
    three: Path
    done: Path


@pytest.fixture(scope="module")
def prepared(
    brief_film: Path, own_process: Callable[[pytest.MonkeyPatch], None], tmp_path_factory: pytest.TempPathFactory
) -> Prepared:
    """To be copied by tests that are about what comes then."""
    folder = tmp_path_factory.mktemp("prepared")
    made = Prepared(folder / "two", folder / "three", folder / "done")
    with pytest.MonkeyPatch.context() as patch:
        own_process(patch)
        patch.setattr(pieces, "_RUN_UP_S", SHORT_RUN_UP_S)
        for out, count in ((made.two, 2), (made.three, 3)):
            assert run_batch(brief(brief_film, out=out), with_pieces(count, out)).interrupted
            if count == 2:
                shutil.copytree(out, made.three)
        assert only(run_batch(brief(brief_film, out=made.done))).state == "done"
    return made


def pieces_left(out: Path) -> list[Path]:
    return list((out / ".headstream").glob("pieces/**"))


def sound(path: Path) -> list[tuple[str, str, str]]:
    """Time, duration and checksum of every packet of sound."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "a",
        "-show_packets",
        "-show_data_hash",
        "crc32",
        "-of",
        "json",
    ]
    found = json.loads(subprocess.run([*command, str(path)], capture_output=True, check=True).stdout)["packets"]
    return [(packet["pts_time"], packet.get("duration_time", ""), packet["data_hash"]) for packet in found]


def near_borders(one: Path, other: Path, borders: tuple[int, ...]) -> float:
    """The largest mean difference of the alpha of two films in a frame, 0..255, from a second before each border to one after."""
    a, b = alpha_of(one).astype(np.int16), alpha_of(other).astype(np.int16)
    assert a.shape == b.shape
    by_frame = np.abs(a - b).mean(axis=(1, 2))
    return float(max(by_frame[border - RATE : border + RATE].max() for border in borders))


class TestTheFilm:
    @pytest.mark.parametrize(
        ("name", "more"),
        [
            ("plain.mp4", {"options": BRIEF, "sound": True}),
            ("open.mkv", {"options": OPEN, "sound": True}),
            ("uneven.mkv", {"options": BRIEF, "pts": [100 * k + 31 * (k % 3) for k in range(BRIEF_FRAMES)]}),
            ("late.ts", {"options": BRIEF, "sound": True, "pts": [100 * k + 500 for k in range(BRIEF_FRAMES)]}),
            ("refreshed.mp4", {"options": REFRESHED}),
        ],
    )
    def test_is_the_one_cut_whole(
        self,
        name: str,
        more: dict[str, Any],
        swinging: list[UInt8Array],
        tmp_path: Path,
        in_process: None,
        cut: list[tuple[int, int]],
    ) -> None:
        needs_ffmpeg()
        source = filmed(tmp_path / name, swinging[:BRIEF_FRAMES], **more)
        one = only(run_batch(brief(source, out=tmp_path / "pieces")))
        assert (one.state, one.frames, one.frames_with_head) == ("done", BRIEF_FRAMES, BRIEF_FRAMES), one
        assert cut == BRIEF_PIECES
        assert "put together from 3 pieces" in one.notes
        other = only(run_batch(brief(source, out=tmp_path / "whole", split_s=0)))
        assert [note for note in one.notes if "pieces" not in note] == other.notes
        made, wanted = (next((tmp_path / name).glob("*.mkv")) for name in ("pieces", "whole"))
        assert frame_times(made) == frame_times(wanted)
        assert sound(made) == sound(wanted)
        assert len(probe(made)["streams"]) == len(probe(wanted)["streams"]) == 1 + ("sound" in more)
        assert near_borders(made, wanted, BORDERS) < SEAM
        assert one.thumbnail
        assert one.length_s == pytest.approx(BRIEF_FRAMES / RATE, abs=0.2)
        assert not pieces_left(tmp_path / "pieces")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "wish",
        [
            Wish(format="webm"),
            Wish(format="mov"),
            Wish(format="mp4", background="#102030"),
            Wish(format="mp4", background="blur"),
            Wish(format="mkv", heads="all"),
        ],
    )
    def test_in_every_format(self, wish: Wish, brief_film: Path, tmp_path: Path, in_process: None) -> None:
        one = only(run_batch(brief(brief_film, out=tmp_path / "pieces", wish=wish)))
        assert "put together from 3 pieces" in one.notes, one
        assert (one.device, one.model) == ("cpu", "lite-int8")
        assert {"decode", "track", "segment", "matte"} <= one.stages_ms.keys()
        only(run_batch(brief(brief_film, out=tmp_path / "whole", wish=wish, split_s=0)))
        made, wanted = (tmp_path / folder / f"film.{wish.format}" for folder in ("pieces", "whole"))
        assert frame_times(made) == frame_times(wanted)
        assert sound(made) == sound(wanted)
        pictures = [decoded(path, "gray") if wish.format == "mp4" else alpha_of(path) for path in (made, wanted)]
        by_frame = np.abs(pictures[0].astype(np.int16) - pictures[1]).reshape(BRIEF_FRAMES, -1).mean(axis=1)
        away = [k for k in range(BRIEF_FRAMES) if min(abs(k - border) for border in BORDERS) >= RATE // 2]
        step = np.abs(np.diff(pictures[1].astype(np.int16), axis=0)).reshape(BRIEF_FRAMES - 1, -1).mean(axis=1)
        assert (
            by_frame[away].max() < np.median(step) / 3
        )  # measured: 0 of 1.7; 0.1 of 1.7 (WebM); 1.3 of 5.6 (H.264, blur)

    @pytest.mark.usefixtures("short_run_up")
    def test_one_is_done_before_the_next_is_begun(
        self, brief_film: Path, clip: Path, tmp_path: Path, in_process: None, cut: list[tuple[int, int]]
    ) -> None:
        copies(brief_film, tmp_path / "in", "a.mp4", "b.mp4")
        copies(clip, tmp_path / "in", "c.mp4")
        report = run_batch(brief(tmp_path / "in", out=tmp_path / "out"))
        assert [outcome.state for outcome in report.outcomes] == ["done"] * 3
        assert cut == BRIEF_PIECES * 2
        assert (tmp_path / "out" / "a.mkv").read_bytes() == (tmp_path / "out" / "b.mkv").read_bytes()

    @pytest.mark.usefixtures("short_run_up")
    def test_in_memory(
        self, brief_film: Path, in_process: None, cut: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsspec = pytest.importorskip("fsspec")
        system = fsspec.filesystem("memory")
        fetched: list[str] = []
        real = type(system).get_file

        def noted(self: Any, path: str, *rest: Any, **more: Any) -> Any:
            fetched.append(path)
            return real(self, path, *rest, **more)

        monkeypatch.setattr(type(system), "get_file", noted)
        try:
            system.pipe_file("/in/film.mp4", brief_film.read_bytes())
            wanted = BatchJob(("memory://in",), "memory://out", Wish(format="mkv"), split_s=BRIEF_SPLIT_S, wait_s=0.001)
            assert only(run_batch(wanted)).state == "done"
            assert len(cut) == 3
            assert [name for name in fetched if name.endswith(".mp4")] == ["/in/film.mp4"]
            assert len([name for name in fetched if ".headstream/pieces" in name]) == 3
            assert set(system.find("/out")) == {
                "/out/film.mkv", "/out/results.jsonl", "/out/.headstream/results/film.mkv.json",
            }  # fmt: skip
            assert only(run_batch(wanted)).state == "skipped"
        finally:
            system.store.clear()
            system.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("short_run_up")
class TestAgain:
    def test_only_missing_pieces_are_made(
        self, brief_film: Path, prepared: Prepared, tmp_path: Path, in_process: None, cut: list[tuple[int, int]]
    ) -> None:
        out = tmp_path / "out"

        def stop(now: BatchProgress) -> None:
            if len(cut) == 2:
                raise KeyboardInterrupt

        report = run_batch(brief(brief_film, out=out), stop)
        assert report.interrupted
        assert not report.outcomes
        assert len(list((out / ".headstream" / "pieces").rglob("*.json"))) == 2
        assert not (out / "film.mkv").exists()
        cut.clear()
        assert only(run_batch(brief(brief_film, out=out))).frames == BRIEF_FRAMES
        assert cut == BRIEF_PIECES[2:]
        assert (out / "film.mkv").read_bytes() == (prepared.done / "film.mkv").read_bytes()
        assert not pieces_left(out)

    @pytest.mark.parametrize("what", ["wish", "split", "film", "damage", "record", "device", "version", "resume"])
    def test_pieces_of_something_else_are_not_used(
        self,
        what: str,
        brief_film: Path,
        prepared: Prepared,
        tmp_path: Path,
        in_process: None,
        cut: list[tuple[int, int]],
    ) -> None:
        shutil.copy2(brief_film, tmp_path)
        out, options = Path(shutil.copytree(prepared.two, tmp_path / "out")), dict[str, Any]()
        if what == "wish":
            options["wish"] = Wish(format="mkv", part="hair")
        elif what == "split":
            options["split_s"] = 1.59  # the same borders
        elif what == "resume":
            options["resume"] = False
        elif what == "film":
            (tmp_path / "film.mp4").write_bytes(brief_film.read_bytes() + b"more")
        elif what == "record":
            for file in (out / ".headstream" / "pieces").rglob("*.json"):
                file.write_text("[" * 100_000)
        elif what == "device":
            for file in (out / ".headstream" / "pieces").rglob("*.json"):
                told = json.loads(file.read_text())
                file.write_text(json.dumps(told | {"made": told["made"] | {"device": "another"}}))
        elif what == "version":
            for file in (out / ".headstream" / "pieces").rglob("*.json"):
                told = json.loads(file.read_text())
                file.write_text(json.dumps(told | {"with": dict.fromkeys(told["with"], "another")}))
        else:
            for file in (out / ".headstream" / "pieces").rglob("*.packets"):
                file.write_bytes(file.read_bytes()[:-1])
        run_batch(brief(tmp_path / "film.mp4", out=out, **options))
        assert cut == BRIEF_PIECES
        assert not pieces_left(out)

    @pytest.mark.parametrize("step", ["look_at", "cut_piece", "join_pieces"])
    def test_a_film_that_is_out_of_reach_keeps_its_pieces(
        self,
        step: str,
        brief_film: Path,
        prepared: Prepared,
        tmp_path: Path,
        in_process: None,
        cut: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        source, out = Path(shutil.copy2(brief_film, tmp_path)), Path(shutil.copytree(prepared.two, tmp_path / "out"))
        real = getattr(worker, step)

        def lost(*arguments: Any, **more: Any) -> Any:
            source.rename(tmp_path / "elsewhere")
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(worker, step, lost)
            outcome = only(run_batch(brief(source, out=out)))
        assert (outcome.state, outcome.reason, outcome.notes) == ("failed", f"{source}: no such file", [])
        (tmp_path / "elsewhere").rename(source)
        cut.clear()
        assert only(run_batch(brief(source, out=out))).frames == BRIEF_FRAMES
        assert cut == ([] if step == "join_pieces" else BRIEF_PIECES[2:])

    def test_a_photo_named_as_a_films_folder(
        self, brief_film: Path, photo: Path, tmp_path: Path, in_process: None, cut: list[Any]
    ) -> None:
        def stop(now: BatchProgress) -> None:
            if len(cut) == 2:
                raise KeyboardInterrupt

        copies(brief_film, tmp_path / "in", "a/film.mp4")
        out = tmp_path / "out"
        run_batch(brief(tmp_path / "in", out=out), stop)
        cut.clear()
        copies(photo, tmp_path / "in", "a.jpg")
        assert only(run_batch(brief(tmp_path / "in", out=out, recursive=False))).place == "a"
        assert run_batch(brief(tmp_path / "in", out=out)).count("done", "skipped") == 2
        assert cut == BRIEF_PIECES[2:]

    def test_a_piece_that_comes_short(self, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        storage = open_storage("memory://split-short")
        storage.write("piece", b"12345")
        assert storage.fetch("piece", tmp_path, 5) == tmp_path
        with pytest.raises(PassingSourceError, match="5 of 6 bytes came"):
            storage.fetch("piece", tmp_path, 6)
        storage.remove("piece")

    @pytest.mark.parametrize("where", ["local", "memory"])
    def test_clearing_spares_what_lies_below(self, where: str, tmp_path: Path) -> None:
        pytest.importorskip("fsspec")
        storage = open_storage(str(tmp_path / "out") if where == "local" else "memory://split-out")
        names = [f"{OWN_FOLDER}/pieces/a/1.json", f"{OWN_FOLDER}/pieces/a/b.mkv/2.json"]
        for name in names:
            storage.write(name, b"{}")
        storage.clear(f"{OWN_FOLDER}/pieces/a")
        assert list(storage.read(names)) == names[1:]
        storage.clear(f"{OWN_FOLDER}/pieces/a/b.mkv")
        storage.clear(f"{OWN_FOLDER}/pieces/never")
        assert not open_storage(storage.text).read(names)
        assert not list(tmp_path.glob("out/*/pieces"))

    def test_records_that_cannot_be_read_are_no_records(
        self, brief_film: Path, tmp_path: Path, in_process: None, cut: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = LocalStorage.read

        def failing(self: LocalStorage, names: Any) -> Any:
            if any("/pieces/" in name for name in names):
                raise PermissionError(13, "Permission denied")
            return real(self, names)

        monkeypatch.setattr(LocalStorage, "read", failing)
        assert only(run_batch(brief(brief_film, out=tmp_path))).state == "done"
        assert len(cut) == 3

    def test_a_film_that_cannot_be_read_for_a_moment(
        self, brief_film: Path, tmp_path: Path, in_process: None, cut: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = [OSError(5, "Input/output error")]

        def planned(*arguments: Any, **more: Any) -> Any:
            if failures:
                raise SourceError("reading failed part-way") from failures.pop()
            return plan_pieces(*arguments, **more)

        monkeypatch.setattr(piecework, "plan_pieces", planned)
        assert only(run_batch(brief(brief_film, out=tmp_path))).state == "done"
        assert len(cut) == 3

    @pytest.mark.slow
    def test_what_another_split_changes(self, brief_film: Path, clip: Path, tmp_path: Path, in_process: None) -> None:
        copies(brief_film, tmp_path / "in", "film.mp4")
        copies(clip, tmp_path / "in", "short.mp4")

        def states(split_s: float) -> list[str]:
            return [
                outcome.state
                for outcome in run_batch(brief(tmp_path / "in", out=tmp_path / "out", split_s=split_s)).outcomes
            ]

        assert states(600) == ["done", "done"]
        assert states(0) == ["skipped", "skipped"]  # nothing of either is split
        assert states(100) == ["skipped", "skipped"]
        assert states(2.0) == ["done", "skipped"]
        assert states(1.6) == ["done", "skipped"]
        assert states(1.6) == ["skipped", "skipped"]
        assert states(0) == ["done", "skipped"]

    def test_results_of_before_films_were_split_hold(self, clip: Path, tmp_path: Path, in_process: None) -> None:
        run_batch(brief(clip, out=tmp_path))
        (result,) = (tmp_path / ".headstream" / "results").iterdir()
        told = json.loads(result.read_text())
        del told["length_s"], told["identity"]["split_s"]
        result.write_text(json.dumps(told))
        assert only(run_batch(brief(clip, out=tmp_path))).state == "skipped"


@pytest.mark.usefixtures("short_run_up")
class TestWhole:
    """Films that cannot be split are cut as ever, and the result says why."""

    def whole(self, source: Path, out: Path, **options: Any) -> Outcome:
        outcome = only(run_batch(brief(source, out=out, **options)))
        assert outcome.state in ("done", "no_head"), outcome
        assert not pieces_left(out)
        (note,) = [note for note in outcome.notes if note.startswith("cut whole: ")]
        return Outcome(**{**outcome.as_dict(), "reason": note.removeprefix("cut whole: ")})

    @pytest.fixture
    def joining(
        self,
        brief_film: Path,
        prepared: Prepared,
        tmp_path: Path,
        in_process: None,
        cut: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Joining:
        """Puts a film's finished pieces together after something has been done to them; returns why it was cut whole then."""

        def why(done_to_them: Change) -> str:
            real = worker.join_pieces

            def joined(job: Any, pieces: Any, made: list[Made], folder: Path, **more: Any) -> Any:
                return real(job, pieces, done_to_them(made, folder), folder, **more)

            monkeypatch.setattr(worker, "join_pieces", joined)
            out = Path(shutil.copytree(prepared.three, tmp_path / "out"))
            reason = self.whole(brief_film, out).reason
            assert not cut
            return reason

        return why

    @pytest.mark.slow
    def test_by_the_wish(self, brief_film: Path, photo: Path, tmp_path: Path, in_process: None) -> None:
        assert "PNG sequence is not joined" in self.whole(brief_film, tmp_path / "1", wish=Wish(format="png")).reason
        assert "GIF is not joined" in self.whole(brief_film, tmp_path / "2", wish=Wish(format="gif")).reason
        assert (
            "numbered from the film's start"
            in self.whole(brief_film, tmp_path / "3", wish=Wish(format="mkv", heads="1")).reason
        )
        behind = Wish(format="mp4", background=str(brief_film))
        assert "a video behind" in self.whole(brief_film, tmp_path / "4", wish=behind).reason
        assert "put together from 3 pieces" in str(
            only(run_batch(brief(brief_film, out=tmp_path / "5", wish=Wish(format="mp4", background=str(photo)))))
        )

    def test_rare_key_frames(self, swinging: list[UInt8Array], tmp_path: Path, in_process: None) -> None:
        source = filmed(tmp_path / "a.mp4", swinging[:BRIEF_FRAMES], options={"sc_threshold": "0"})
        assert "key frames are too rare" in self.whole(source, tmp_path / "out").reason

    def test_packets_without_times_and_an_edit_list(self, brief_film: Path, tmp_path: Path, in_process: None) -> None:
        needs_ffmpeg()
        copied = ["ffmpeg", "-v", "error", "-i", str(brief_film), "-an", "-c", "copy", str(tmp_path / "raw.h264")]
        subprocess.run(copied, check=True)
        assert "some frames have no time" in self.whole(tmp_path / "raw.h264", tmp_path / "1", split_s=0.8).reason
        copied = [
            "ffmpeg",
            "-v",
            "error",
            "-ss",
            "0.7",
            "-i",
            str(brief_film),
            "-c",
            "copy",
            str(tmp_path / "later.mp4"),
        ]
        subprocess.run(copied, check=True)
        assert "an edit list hides frames" in self.whole(tmp_path / "later.mp4", tmp_path / "2").reason

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"starts": [0] * 8}, "key frames do not start from nothing"),
            ({"starts": []}, "key frames do not start from nothing"),
            ({"pix_fmt": "yuva444p"}, "pixel format change"),
            ({"tags": {"color_range": 2}}, "colours or pixel format"),
            ({"device": "another"}, "and on another, which may draw other pixels"),
            ({"heads_first": [[(0, 0, 9, 9)]] * 8}, "another head is cut after a border"),
            ({"heads_first": [[]] * 8}, "another head is cut after a border"),
        ],
    )
    def test_sides_of_a_border_that_differ(self, change: dict[str, Any], words: str, joining: Joining) -> None:
        assert words in joining(lambda made, folder: [made[0], replace(made[1], **change), *made[2:]])

    def test_damage_on_the_way(self, brief_film: Path, tmp_path: Path, in_process: None) -> None:
        raw = bytearray(brief_film.read_bytes())
        middle = len(raw) // 2
        raw[middle : middle + 3000] = bytes(3000)
        (tmp_path / "a.mp4").write_bytes(raw)
        outcome = self.whole(tmp_path / "a.mp4", tmp_path / "out")
        assert "damaged" in outcome.reason

    def test_a_plan_that_does_not_hold(
        self, brief_film: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def wrong(path: Path, split_s: float, **more: Any) -> list[Piece]:
            first, *rest = plan_pieces(path, split_s, **more)
            return [Piece(first.begin, first.end, first.span, first.times ^ 1), *rest]

        monkeypatch.setattr(piecework, "plan_pieces", wrong)
        assert "frames 0 to 15 are not those its packets promise" in self.whole(brief_film, tmp_path / "out").reason

    @pytest.mark.parametrize(
        ("kind", "words"), [("another byte", ".packets: is damaged"), ("cut short", "its piece 0")]
    )
    def test_a_damaged_piece(self, kind: str, words: str, joining: Joining) -> None:
        def damaged(made: list[Made], folder: Path) -> list[Made]:
            file = next(folder.glob("*.packets"))
            raw = bytearray(file.read_bytes())
            raw[len(raw) // 2] ^= 255
            file.write_bytes(raw if kind == "another byte" else raw[:-1])
            return made

        assert words in joining(damaged)

    def test_one_that_breaks_off_leaves_what_it_has(
        self, swinging: list[UInt8Array], tmp_path: Path, in_process: None
    ) -> None:
        source = filmed(
            tmp_path / "a.mp4", swinging[:BRIEF_FRAMES], options=BRIEF, container_options={"movflags": "faststart"}
        )
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
        outcome = only(run_batch(brief(source, out=tmp_path / "out")))
        assert outcome.state == "failed"
        assert f"frames before that are in {tmp_path / 'out' / 'a.partial.mkv'}" in outcome.reason
        assert outcome.notes[0].startswith("cut whole: ")
        assert not pieces_left(tmp_path / "out")

    def test_no_such_split(self, brief_film: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--split -1: expected"):
            run_batch(brief(brief_film, out=tmp_path / "out", split_s=-1))


class _Played:
    """A pool of which is known what happens: (which of the items that it is given, what of that)."""

    workers = 2

    def __init__(self, events: list[tuple[int, dict[str, Any]]]) -> None:
        self._events, self._given = events, list[Item]()

    @property
    def idle(self) -> int:
        return int(len(self._given) <= self._events[0][0])

    def grow(self, workers: int) -> None: ...

    def submit(self, item: Item) -> None:
        self._given.append(item)

    def wait(self, timeout_s: float) -> list[Event]:
        which, what = self._events.pop(0)
        return [Event(self._given[which].number, **what)]

    def close(self, *, now: bool = False) -> None: ...


def test_progress_of_a_film_that_turns_out_to_be_cut_whole(tmp_path: Path) -> None:
    def told(**what: Any) -> dict[str, Any]:
        return {"outcome": Outcome("film.mp4", "video", "film.mkv", "done", **what)}

    span = Span(0, 100, 0, 0)
    plan, made = (Piece(0, 50, span, 0), Piece(50, 100, span, 0)), Made(frames=50)
    events = [
        (0, told(plan=plan)), (2, {"fraction": 0.9}), (1, told(whole="odd")), (2, {"fraction": 1.0}), (3, {"fraction": 1.0}),
        (2, told(made=made)), (3, told()),
    ]  # fmt: skip
    seen: list[float] = []
    wanted = BatchJob(("film.mp4",), str(tmp_path))
    sharing = Sharing(wanted, LocalStorage(str(tmp_path)), {}, 1, lambda now: seen.append(now.fraction))
    sharing.go([Item(0, "film.mp4", "video", "film.mkv", Wish(format="mkv"), size=100)], _Played(events), 2)
    assert len(seen) == 7
    assert 0.9 < seen[4] <= max(seen) == seen[-1] == 1


@pytest.fixture(scope="module")
def undisturbed(
    brief_film: Path, own_process: Callable[[pytest.MonkeyPatch], None], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The brief film, cut in this process and in one go."""
    out = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        own_process(patch)
        assert only(run_batch(brief(brief_film, out=out))).state == "done"
    return (out / "film.mkv").read_bytes()


class TestWorkers:
    @posix
    @pytest.mark.slow
    def test_who_dies_makes_no_difference(
        self, brief_film: Path, clip: Path, tmp_path: Path, then_in_process: Callable[[], None]
    ) -> None:
        copies(brief_film, tmp_path / "in", "film.mp4")
        copies(clip, tmp_path / "in", "a.mp4", "z.mp4")
        results = []
        killed: list[int] = []

        def kill_once(now: BatchProgress) -> None:
            pieces = there(tmp_path / "killed" / ".headstream", ".packets")
            if not killed and pieces and (children := multiprocessing.active_children()):
                killed.append(int(children[-1].pid or 0))
                kill(killed[0])

        for name, workers, told in (("killed", 2, kill_once), ("one", 1, None)):
            report = run_batch(brief(tmp_path / "in", out=tmp_path / name, workers=workers), told)
            assert report.workers == workers
            assert {outcome.state for outcome in report.outcomes} == {"done"}
            results.append({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.mkv")})
            assert not pieces_left(tmp_path / name)
            assert not multiprocessing.active_children()
            then_in_process()
        assert killed
        assert len(results[0]) == 3
        assert results[0] == results[1]

    @posix
    @pytest.mark.slow
    def test_more_workers_than_inputs_make_the_same_film(
        self, brief_film: Path, undisturbed: bytes, tmp_path: Path
    ) -> None:
        told: list[float] = []
        report = run_batch(brief(brief_film, out=tmp_path / "out", workers=5), lambda now: told.append(now.fraction))
        assert report.workers == 3
        assert told == sorted(told)
        assert len(set(told)) > 5
        assert told[-1] == 1
        assert (tmp_path / "out" / "film.mkv").read_bytes() == undisturbed

    @posix
    @pytest.mark.slow
    def test_a_piece_that_costs_three_workers(
        self, brief_film: Path, clip: Path, tmp_path: Path, then_in_process: Callable[[], None]
    ) -> None:
        copies(brief_film, tmp_path / "in", "film.mp4")
        copies(clip, tmp_path / "in", "z.mp4")
        killed: set[int] = set()
        out = tmp_path / "out"

        def kill_each(now: BatchProgress) -> None:
            pids = {int(c.pid or 0) for c in multiprocessing.active_children()} - killed
            if pids and len(killed) < 3 and there(out / ".headstream" / "pieces", ".json"):
                killed.update(pids)
                kill(min(pids))

        report = run_batch(brief(tmp_path / "in", out=out), kill_each)
        assert list((out / ".headstream" / "pieces").rglob("*.json"))
        assert {Path(o.input).name: o.state for o in report.outcomes} == {"film.mp4": "failed", "z.mp4": "done"}
        assert "3 times" in report.outcomes[0].reason
        then_in_process()
        again = run_batch(brief(tmp_path / "in", out=out))
        assert {Path(o.input).name: o.state for o in again.outcomes} == {"film.mp4": "done", "z.mp4": "skipped"}
        assert not pieces_left(out)

    @posix
    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_interrupted_and_taken_up_again(
        self, number: int, brief_film: Path, undisturbed: bytes, tmp_path: Path, in_process: None
    ) -> None:
        out = tmp_path / "out"
        command = [sys.executable, "-m", "headstream", "batch", str(brief_film), "--out", str(out), "--format", "mkv"]
        command += ["--workers", "1", "--split", f"{BRIEF_SPLIT_S}", "--json"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=heeds_ctrl_c)
        until = time.monotonic() + 100
        kept = out / ".headstream" / "pieces" / "film.mkv"
        while not list(kept.glob("*.json")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=60)
        left = {path: path.stat().st_mtime_ns for path in kept.glob("*.packets")}
        assert 1 <= len(left) < 3
        assert not (out / "film.mkv").exists()
        seen: dict[Path, int] = {}

        def look(now: BatchProgress) -> None:
            seen.update({path: path.stat().st_mtime_ns for path in kept.glob("*.packets")})

        assert only(run_batch(brief(brief_film, out=out), look)).frames == BRIEF_FRAMES
        assert all(seen[path] == left[path] for path in left)
        assert (out / "film.mkv").read_bytes() == undisturbed


def test_borders(film: Path) -> None:
    assert [(piece.begin, piece.end) for piece in plan_pieces(film, 2)] == [(0, 20), (20, 40), (40, FRAMES)]
    assert [(piece.begin, piece.end) for piece in plan_pieces(film, 2.5)] == [(0, 30), (30, 50), (50, FRAMES)]
    assert [(piece.begin, piece.end) for piece in plan_pieces(film, 3)] == [(0, 30), (30, FRAMES)]
    last = plan_pieces(film, 1)[-1]
    assert (last.begin, last.span.first, last.span.key, last.span.end) == (60, 15, 10, FRAMES)  # four seconds earlier
    assert plan_pieces(film, 3)[1].span.first == 0  # on a frame in which the whole film's detectors look
    with pytest.raises(Indivisible, match="too rare"):
        plan_pieces(film, 6)


def test_borders_of_odd_films(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey(film)

    def borders(split_s: float, **odd: Any) -> list[tuple[int, int]]:
        monkeypatch.setattr(pieces, "survey", lambda path: replace(found, **odd))
        return [(piece.begin, piece.span.key) for piece in plan_pieces(film, split_s)]

    wild = found.ticks.copy()
    wild[-1] = 2**60
    assert borders(2, ticks=wild) == [(0, 0), (20, 0), (40, 0), (60, 10)]
    late = found.keys.copy()
    late[:30] = False
    assert borders(1, keys=late) == [(0, 0), (30, 0), (40, 0), (50, 0), (60, 0)]
