"""Live: the newest frame, cut in time, into outputs that cannot hold it up."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from headstream.capture.cameras import LiveTarget
from headstream.capture.feeds import PacedFile
from headstream.capture.file import FileSource
from headstream.capture.live import LiveSource
from headstream.capture.synthetic import SyntheticCamera
from headstream.cli import main
from headstream.errors import SinkError, SourceError, UsageError
from headstream.live.cutting import Controls, LiveCutter, LiveStatus, describe_line, mirrored
from headstream.live.keys import Keys
from headstream.live.outputs import Output, run_live
from headstream.live.session import LiveJob, _ignored, check_live_job, run_session
from headstream.pipeline import CutOptions, HeadCutter
from headstream.segment.crops import CropSegmenter
from headstream.shared.colour import planes_from_rgb
from headstream.sinks.behind import ShownBackground, VideoBackground
from headstream.sinks.encode import ClipInfo
from headstream.sinks.formats import output_format
from headstream.sinks.lock import locked
from headstream.sinks.memory import CountingSink, MemorySink
from headstream.sinks.preview import PreviewWindow
from headstream.sinks.take import TakeSink
from headstream.track.finder import FaceFinder
from headstream.types import Colour, Cutout, Float32Array, Frame, Part, Planes, UInt8Array
from tests.capture.test_live import free_port
from tests.conftest import moving_portrait
from tests.media import files_of_at_most, frame_times, heeds_ctrl_c, needs_ffmpeg, video_stream
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pictures(portrait: UInt8Array) -> list[Planes]:
    return [planes_from_rgb(rgb, Colour(), sub=(2, 2)) for rgb in moving_portrait(portrait, 30)]


class Simulation:
    """A camera of 10 frames a second and a network that takes its time, by a clock of their own. The real network answers.

    extra_s: what it takes.  A frame is given when the one before it has been ``cut``: the newest there is by then.
    """

    size_px, rate, live = (320, 240), Fraction(10), True

    def __init__(self, pictures: list[Planes], inner: CropSegmenter, extra_s: float, frames: int) -> None:
        self.pictures, self.frames = pictures, frames
        self.inner, self.side, self.extra_s, self.calls = inner, inner.side, extra_s, 0
        self.now_s = 0.0
        self.cut = threading.Semaphore()

    def clock(self) -> float:
        return self.now_s

    def __iter__(self) -> Iterator[Frame]:
        last = 0
        for _ in range(self.frames):
            assert self.cut.acquire(timeout=60)
            last = max(last + 1, int(self.now_s * 10 + 1e-6))
            self.now_s = max(self.now_s, last / 10)
            picture = self.pictures[last % len(self.pictures)]
            yield Frame(planes=picture, index=last, pts=Fraction(last, 10), captured_s=last / 10)

    def close(self) -> None:
        """Nothing to free."""

    def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
        self.calls += 1
        self.now_s += self.extra_s
        return self.inner.predict(rgb, part)


class FailingSink(CountingSink):
    """Takes a few, then fails."""

    def write(self, cutout: Cutout) -> None:
        super().write(cutout)
        if self.frames > 3:
            raise SinkError("the disk is full")


def test_every_frame_goes_to_every_output(pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder) -> None:
    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(10), 2.0), HeadCutter(segmenter, finder))
    outputs = [Output("a", MemorySink()), Output("b", CountingSink())]
    status = run_live(cutter, outputs)
    assert status.frames_with_head == status.frames > 0
    assert status.frames + status.dropped <= 20
    for output in outputs:
        assert isinstance(output.sink, CountingSink)
        assert output.sink.frames + output.dropped == status.frames
    assert status.seconds > 0
    assert {"track", "segment", "matte"} <= status.stages_ms.keys()
    assert "head 1" in describe_line(status)


def test_a_slow_network_runs_less_often_and_latency_does_not_grow(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    slow = Simulation(pictures, segmenter, 0.11, frames=45)
    cutter = LiveCutter(slow, HeadCutter(slow, finder), clock=slow.clock)
    latencies, everys, heads = [], [], []
    for cutout, status in cutter:
        latencies.append(status.latencies_s[-1])
        everys.append(status.every)
        heads.append(len(cutout.heads))
        if len(heads) == 25:
            slow.extra_s = 0.0
        slow.cut.release()
    assert everys[0] == 1
    assert everys[10:25] == [2] * 15
    assert everys[-1] == 1  # and it recovers by itself
    assert slow.calls < len(heads) == 45
    assert all(heads[2:])
    assert 0.115 < max(latencies[1:]) < 0.2  # a newcomer is looked at twice, and a frame waits for its turn
    assert latencies[-1] == pytest.approx(0.0)


def test_at_a_few_frames_a_second_nothing_is_carried(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    """A matte of 0.3 s ago lies on what was the head then."""
    slow = Simulation(pictures, segmenter, 0.3, frames=15)
    cutter = LiveCutter(slow, HeadCutter(slow, finder), clock=slow.clock)
    for _ in cutter:
        slow.cut.release()
    assert slow.calls >= cutter.status.frames == 15
    assert cutter.status.every == 1
    assert "carry" not in cutter.status.stages_ms


def test_a_carried_matte_belongs_to_its_own_frame(
    portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    """Cut on every third frame only, it lies where the network would have put it, not where it was before."""
    frames = [Frame(rgb, index=k, pts=Fraction(k, 25)) for k, rgb in enumerate(moving_portrait(portrait, 24))]
    whole, sparse = HeadCutter(segmenter, finder), HeadCutter(segmenter, finder)
    truth = [whole.cut(frame).alpha.astype(float) for frame in frames]
    carried = [sparse.cut(frame, carry=k % 3 != 0).alpha.astype(float) for k, frame in enumerate(frames)]
    assert sparse.times.mean_ms().keys() >= {"carry", "segment"}
    for k in range(6, 24):
        if k % 3 == 2:  # the oldest
            own, before = np.abs(carried[k] - truth[k]).mean(), np.abs(carried[k] - truth[k - 2]).mean()
            assert own < 1.0
            assert own < before


def test_a_newcomer_is_never_carried(portrait: UInt8Array, segmenter: CropSegmenter, finder: FaceFinder) -> None:
    cutter = HeadCutter(segmenter, finder)
    cutout = cutter.cut(Frame(moving_portrait(portrait, 1)[0]), carry=True)
    assert len(cutout.heads) == 1
    assert "carry" not in cutter.times.mean_ms()


def test_a_broken_output_leaves_and_the_others_go_on(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    lines: list[str] = []
    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(20), 1.5), HeadCutter(segmenter, finder))
    outputs = [Output("broken", FailingSink()), Output("well", CountingSink())]
    status = run_live(cutter, outputs, notice=lines.append)
    assert isinstance(outputs[1].sink, CountingSink)
    assert outputs[1].sink.frames + outputs[1].dropped == status.frames
    assert any("broken has failed and is left out: the disk is full" in line for line in lines)
    assert outputs[0].error is not None


@pytest.mark.parametrize("count", [1, 2])
def test_when_no_output_is_left_it_ends_and_each_is_told_once(
    count: int, pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    camera, lines = SyntheticCamera(pictures, Fraction(20), 60), list[str]()
    outputs = [Output(f"o{k}", FailingSink()) for k in range(count)]
    with pytest.raises(SinkError, match="disk is full"):
        run_live(LiveCutter(camera, HeadCutter(segmenter, finder)), outputs, notice=lines.append)
    assert len(lines) == count - 1
    assert all("has failed and is left out: the disk is full" in line for line in lines)


class Broken:
    """A source that fails after two frames."""

    size_px, rate, live = (320, 240), Fraction(30), True

    def __init__(self, pictures: list[Planes]) -> None:
        self.pictures, self.closed = pictures, 0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(2):
            yield Frame(planes=self.pictures[index], index=index, captured_s=time.perf_counter())
            time.sleep(0.15)
        raise SourceError("the camera burnt down")

    def close(self) -> None:
        self.closed += 1


def test_a_source_that_fails_for_good_says_so_and_outputs_are_closed(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    closed = threading.Event()

    class Closing(CountingSink):
        def close(self) -> None:
            closed.set()

    cutter = LiveCutter(Broken(pictures), HeadCutter(segmenter, finder))
    with pytest.raises(SourceError, match="burnt down"):
        run_live(cutter, [Output("a", Closing())])
    assert closed.is_set()


@pytest.mark.parametrize("planes", [True, False])
def test_a_mirror_is_a_mirror(portrait: UInt8Array, planes: bool) -> None:
    alpha = np.zeros((512, 512), np.uint8)
    alpha[:, :100] = 9
    lasts = Fraction(1, 4)
    more: dict[str, Any] = {"alpha": alpha, "duration_s": lasts, "index": 3, "pts": Fraction(1, 2), "captured_s": 7.5}
    frame = Frame(planes=planes_from_rgb(portrait, Colour(), sub=(2, 2)), **more) if planes else Frame(portrait, **more)
    turned = Controls(mirror=True).before(frame)
    assert np.abs(turned.rgb[:, ::-1].astype(int) - frame.rgb).mean() < 1
    assert (turned.index, turned.pts, turned.captured_s, turned.duration_s) == (3, Fraction(1, 2), 7.5, lasts)
    assert turned.alpha is not None
    assert turned.alpha[0, -1] == 9
    assert Controls().before(frame) is frame


def controlled(change: Callable[[Controls], None], cutout: Cutout, last: Cutout | None) -> Cutout:
    controls = Controls()
    change(controls)
    return controls.after(cutout, last)


def test_an_output_that_raises_anything_leaves_alone(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    class Odd(CountingSink):
        def write(self, cutout: Cutout) -> None:
            raise SourceError("the background broke off")

        def close(self) -> None:
            raise RuntimeError("and will not close")

    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(10), 1.0), HeadCutter(segmenter, finder))
    outputs = [Output("odd", Odd()), Output("well", CountingSink())]
    status = run_live(cutter, outputs, notice=print)
    assert "broke off" in str(outputs[0].error)
    assert isinstance(outputs[1].sink, CountingSink)
    assert outputs[1].sink.frames + outputs[1].dropped == status.frames


class Stuck:
    """Gives one frame, and then nothing until it is closed."""

    size_px, rate, live = (320, 240), Fraction(30), True

    def __init__(self, pictures: list[Planes]) -> None:
        self.pictures, self.ended = pictures, threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(planes=self.pictures[0], captured_s=time.perf_counter())
        self.ended.wait(60)

    def close(self) -> None:
        self.ended.set()


def test_while_nothing_comes_it_can_be_ended(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    cutter = LiveCutter(Stuck(pictures), HeadCutter(segmenter, finder))
    ticks: list[int] = []

    def idle() -> bool:
        ticks.append(1)
        return len(ticks) < 3

    cutter.idle = idle
    assert run_live(cutter, []).frames == 1
    assert len(ticks) == 3


@pytest.mark.parametrize("by", ["leaving", "ctrl_c"])
def test_what_comes_later_than_its_picture_is_still_read(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder, by: str
) -> None:
    source = Stuck(pictures)
    cutter = LiveCutter(source, HeadCutter(segmenter, finder))
    asked: list[bool] = []

    def lingers_s() -> float:
        asked.append(source.ended.is_set())
        return 0.01

    cutter.lingers_s = lingers_s

    def each(cutout: Cutout, status: LiveStatus) -> bool:
        if by == "ctrl_c":
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt) if by == "ctrl_c" else nullcontext():
        run_live(cutter, [], each=each)
    assert asked == [False]  # once, and the source was not closed by then
    assert source.ended.is_set()


def test_it_can_be_stopped_from_another_thread(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    cutter = LiveCutter(Stuck(pictures), HeadCutter(segmenter, finder))
    timer = threading.Timer(0.5, cutter.stop)
    timer.start()
    assert run_live(cutter, []).frames == 1
    timer.join()


def test_pause_shows_nobody_and_freeze_shows_nothing_new(portrait: UInt8Array) -> None:
    now = Frame(portrait, index=9, pts=Fraction(3), captured_s=4.5)
    cutout = Cutout(now, (), (0, 0, 4, 4), np.full((4, 4), 255, np.uint8))
    last = Cutout(Frame(portrait))
    frozen = controlled(lambda c: setattr(c, "frozen", True), cutout, last)
    assert frozen.alpha is last.alpha or not frozen.alpha.any()
    # A recording goes on, and its sound with it.
    assert (frozen.frame.index, frozen.frame.pts, frozen.frame.captured_s) == (9, Fraction(3), 4.5)
    assert controlled(lambda c: setattr(c, "frozen", True), cutout, None) is cutout
    paused = controlled(lambda c: setattr(c, "paused", True), cutout, last)
    assert not paused.alpha.any()
    assert paused.frame is cutout.frame
    assert controlled(lambda c: None, cutout, last) is cutout


def test_how_fast_it_is_of_late() -> None:
    status = LiveStatus()
    assert (status.fps, status.latency_ms) == (0.0, 0.0)
    status.times_s.extend([5.0, 5.0])
    assert status.fps == 0.0
    status.times_s.extend([5.1, 5.25])
    status.latencies_s.extend([0.5, 0.02, 0.03])
    assert status.fps == pytest.approx(12.0)
    assert status.latency_ms == pytest.approx(30.0)


def test_frames_that_come_meanwhile_are_left_out_but_the_newest(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    begun, given = threading.Event(), threading.Event()

    class Busy(Broken):
        """Gives three more while the first is cut."""

        def __iter__(self) -> Iterator[Frame]:
            for index in range(4):
                yield Frame(planes=self.pictures[index], index=index, captured_s=time.perf_counter())
                if index == 0:
                    assert begun.wait(60)
            given.set()

    class Waits:
        side = segmenter.side

        def predict(self, rgb: UInt8Array, part: Part = "head") -> Float32Array:
            begun.set()
            assert given.wait(60)
            return segmenter.predict(rgb, part)

    cutter = LiveCutter(Busy(pictures), HeadCutter(Waits(), finder))
    seen = [(cutout.frame.index, status.dropped) for cutout, status in cutter]
    assert seen == [(0, 2), (3, 2)]
    assert cutter.status.frames == 2


def test_what_is_frozen_or_paused_is_shown_so_in_the_window_too(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    source = Simulation(pictures, segmenter, 0.01, frames=7)
    source.now_s = 100.0
    cutter, shown = LiveCutter(source, HeadCutter(segmenter, finder), clock=source.clock), list[Cutout]()

    def each(cutout: Cutout, status: LiveStatus) -> bool:
        shown.append(cutout)
        cutter.controls.frozen = 2 <= len(shown) < 4
        cutter.controls.paused = len(shown) == 5
        source.cut.release()
        return True

    status = run_live(cutter, [], each=each)
    assert [cutout.frame.index for cutout in shown] == list(range(1000, 1007))
    same = [cutout.frame.planes is shown[1].frame.planes for cutout in shown]
    assert same == [index in {1, 2, 3} for index in range(7)]
    assert [bool(cutout.alpha.any()) for cutout in shown] == [index != 5 for index in range(7)]
    assert status.seconds == pytest.approx(0.6)


def test_how_often_the_network_runs_is_told_where_that_is_seldom() -> None:
    ends = [describe_line(LiveStatus(every=every)).rpartition("no head")[2] for every in (1, 2, 3)]
    assert ends == ["", "  network on every 2nd frame", "  network on every 3rd frame"]


def test_a_reason_names_the_output_once() -> None:
    output = Output("o.mov", CountingSink())
    output.error = SinkError("o.mov: the disk is full")
    assert output.reason == "the disk is full"
    output.leave()
    assert output.reason == "the disk is full"  # why it takes long
    output.close()


def test_a_slow_output_holds_up_nobody(portrait: UInt8Array) -> None:
    may_go_on = threading.Event()

    class Slow(CountingSink):
        def write(self, cutout: Cutout) -> None:
            assert may_go_on.wait(60)
            super().write(cutout)

    slow = Output("slow", Slow())
    for _ in range(10):
        slow.write(Cutout(Frame(portrait)))
    may_go_on.set()
    slow.close()
    assert isinstance(slow.sink, CountingSink)
    assert slow.error is None
    assert slow.dropped == 10 - slow.sink.frames >= 7


def test_what_cannot_be_is_refused_before_a_camera_is_opened(tmp_path: Path) -> None:
    target = LiveTarget("camera", "camera 0")
    for job, words in (
        (LiveJob(target, record=tmp_path / "o.mp4"), "no transparency"),
        (LiveJob(target, record=tmp_path / "o.mov", background="blur"), "opaque"),
        (LiveJob(target), "nothing to show it on"),
        (LiveJob(target, preview=True, background="nosuch.png"), "--background"),
    ):
        with pytest.raises(UsageError, match=words):
            check_live_job(job)


def test_a_session_records_what_it_cuts(head_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    target = LiveTarget("file", head_clip.name, address=str(head_clip))
    lines: list[str] = []
    status, outputs = run_session(LiveJob(target, record=out, mirror=True), notice=lines.append)
    assert status.frames_with_head == status.frames > 10
    stream = video_stream(out)
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("ffv1", 320, 240)
    assert len(frame_times(out)) == status.frames - outputs[0].dropped
    assert lines[0].startswith("head.mp4: 320x240 at 25 frames/s; lite-int8 on cpu")
    assert lines[1] == "o.mkv will have pictures only; headstream video keeps a film's sound"


@pytest.mark.parametrize("name", ["o.mkv", "o.gif"])
def test_a_session_records_the_sound_of_a_stream(name: str, head_clip: Path, tmp_path: Path) -> None:
    needs_ffmpeg()
    address = f"udp://127.0.0.1:{free_port()}"
    source = ["-stream_loop", "-1", "-i", str(head_clip), "-f", "lavfi", "-i", "sine=frequency=500:sample_rate=44100"]
    coded = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-g",
        "10",
        "-c:a",
        "aac",
        "-f",
        "mpegts",
    ]
    process = subprocess.Popen(["ffmpeg", "-v", "quiet", "-re", *source, *coded, address], stdin=subprocess.DEVNULL)
    lines: list[str] = []
    out = tmp_path / name
    try:
        target = LiveTarget("network", "stream", address=f"{address}?fifo_size=100000")
        run_session(LiveJob(target, record=out, seconds=3), notice=lines.append)
    finally:
        process.kill()
        process.wait()
    if name == "o.gif":
        assert lines[1] == "o.gif will have pictures only"
        return
    assert lines[1] == "o.mkv will have the sound of the stream"
    with av.open(str(out)) as film:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    loud = np.abs(wave.astype(int)) > 100
    assert len(wave) / 48000 == pytest.approx(frame_times(out)[-1], abs=0.2)
    assert loud.mean() > 0.4


def test_a_recording_of_a_file_that_breaks_off_is_kept_and_told(
    head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = PacedFile.pictures

    def pictures(feed: PacedFile, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        yield from itertools.islice(real(feed, stop), 10)
        raise SourceError("head.mp4: is cut off")

    monkeypatch.setattr(PacedFile, "pictures", pictures)
    out = tmp_path / "o.mkv"
    assert main(["live", "--camera", str(head_clip), "--record", str(out), "--json"]) == 1
    told = capsys.readouterr()
    assert "headstream: head.mp4: is cut off\n" in told.err
    assert f"wrote {out}" in told.err
    result = json.loads(told.out)
    assert (result["outputs"], result["source_error"]) == ([str(out)], "head.mp4: is cut off")
    assert len(frame_times(out)) > 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_recording_for_which_there_is_no_more_room_is_kept_and_told(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder, tmp_path: Path
) -> None:
    lines: list[str] = []
    out, clip = tmp_path / "o.mov", ClipInfo((512, 512), Fraction(10))
    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(10), 60), HeadCutter(segmenter, finder))
    outputs = [Output(str(out), TakeSink(out, output_format(out), clip)), Output("well", CountingSink())]
    with files_of_at_most(300_000):
        status = run_live(cutter, outputs, each=lambda *cut: outputs[0].error is None, notice=lines.append)
    told = f"{out} has failed and is left out: the file grew past the size allowed here; the first "
    assert [line.startswith(told) and line.endswith(f" s are kept in {out}") for line in lines] == [True]
    assert 0 < len(frame_times(out)) < status.frames
    assert list(tmp_path.iterdir()) == [out]


def test_green_goes_behind_the_head_where_a_camera_takes_no_transparency(
    head_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = pytest.importorskip("pyvirtualcam").camera

    class Opaque:
        def __init__(self, *, fourcc: int, **more: Any) -> None:
            if fourcc == camera.encode_fourcc(camera.PixelFormat.RGBA.value):
                raise RuntimeError("unsupported format")

        def device(self) -> str:
            return "opaque"

        def native_fourcc(self) -> None:
            return None

        def send(self, frame: Any) -> None:
            corners.append(frame[:3].tolist())

        def close(self) -> None:
            pass

    corners: list[list[int]] = []
    monkeypatch.setattr(camera, "BACKENDS", {"opaque": Opaque})
    target, lines = LiveTarget("file", head_clip.name, address=str(head_clip)), list[str]()
    run_session(LiveJob(target, virtual_camera=True), notice=lines.append)
    assert ["#00b140 is behind the head" in line for line in lines] == [False, True, False]
    assert np.abs(np.array(corners[-1]) - (0, 177, 64)).max() < 8


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, []),
        ({"size_px": (640, 480)}, ["the size asked for has no effect: a file keeps its own"]),
        (
            {"size_px": (640, 480), "rate": 15.0},
            ["the size and the rate asked for have no effect: a file keeps its own"],
        ),
    ],
)
def test_what_a_file_does_not_heed_is_said(asked: dict[str, Any], told: list[str], head_clip: Path) -> None:
    target, lines = LiveTarget("file", head_clip.name, address=str(head_clip)), list[str]()
    run_session(LiveJob(target, overlay_port=0, seconds=0.1, **asked), notice=lines.append)
    assert [line for line in lines if "asked for" in line] == told


def test_one_session_at_a_time_records_a_file(head_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    target = LiveTarget("file", head_clip.name, address=str(head_clip))
    with locked([out]), pytest.raises(SinkError, match=r"process \d+ is making it"):
        run_session(LiveJob(target, record=out), notice=lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted", [{"preview": True}, {"virtual_camera": True, "virtual_camera_name": "nosuch"}, {"record": "o.mp4"}]
)
def test_an_output_that_cannot_be_made_leaves_no_background_open(
    wanted: dict[str, Any], head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films: list[FileSource] = []

    def opened(path: Path, **more: Any) -> FileSource:
        films.append(FileSource(path, **more))
        return films[-1]

    monkeypatch.setattr("headstream.backdrop.FileSource", opened)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("headstream.sinks.takefile.GrowingFile", full)
    wanted = {name: tmp_path / value if name == "record" else value for name, value in wanted.items()}
    target = LiveTarget("file", head_clip.name, address=str(head_clip))
    with pytest.raises(SinkError):
        run_session(LiveJob(target, background=str(head_clip), **wanted), notice=lambda line: None)
    assert [next(iter(film), None) for film in films] == [None]  # closed


def test_a_window_that_was_never_shown_closes_its_background(head_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")  # which nothing asks before the first picture
    film = FileSource(head_clip)
    window = PreviewWindow(VideoBackground(head_clip, lambda path: film))
    for _ in range(2):
        window.close()
        assert next(iter(film), None) is None


TELLS_OF_CLOSING = """
import sys
from headstream.cli import run
from headstream.sinks.take import TakeSink
close = TakeSink.close
def told(sink):
    print("closing", flush=True)
    sys.stdin.readline()
    close(sink)
TakeSink.close = told
run()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("SIGINT", 1), ("SIGINT", 5), ("SIGHUP", 1), ("SIGHUP", 6)])
def test_a_signal_ends_it_quickly_with_a_usable_file(name: str, times: int, head_clip: Path, tmp_path: Path) -> None:
    """One that comes once more, while outputs are finished, does no harm. A terminal that is closed may send its signal more than
    once: from the shell, and from the system."""
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    out = tmp_path / "o.mkv"
    command = [sys.executable, "-c", TELLS_OF_CLOSING, "live", "--camera", str(head_clip), "--loop", "--json"]
    process = subprocess.Popen(
        [*command, "--overlay", "0", "--record", str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_ctrl_c,
    )
    assert process.stdout is not None
    growing = tmp_path / "o.recording.mkv"
    wait_until(lambda: process.poll() is not None or (growing.exists() and growing.stat().st_size))
    process.send_signal(getattr(signal, name))
    assert process.stdout.readline() == "closing\n"
    for _ in range(times - 1):
        process.send_signal(getattr(signal, name))
    told, errors = process.communicate("go on\n", timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    result = json.loads(told)
    assert result["frames"] > 0
    assert len(frame_times(out)) == result["frames"] - result["shown_on"][str(out)]["dropped"]
    assert list(tmp_path.iterdir()) == [out]


def test_who_has_had_enough_may_leave_an_output_that_is_stuck(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is told where it is; the other is finished."""
    main, may_end, closed = threading.get_ident(), threading.Event(), threading.Event()

    class Stuck(CountingSink):
        def close(self) -> None:
            assert closed.wait(60)
            signal.pthread_kill(main, signal.SIGINT)
            may_end.wait(60)

    class Closing(CountingSink):
        def close(self) -> None:
            closed.set()

    monkeypatch.setattr("headstream.live.outputs._PATIENCE_S", 0.0)
    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(20), 0.2), HeadCutter(segmenter, finder))
    outputs, lines = [Output("o.mov", Stuck(), Path("o.recording.mov")), Output("well", Closing())], list[str]()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_live(cutter, outputs, notice=lines.append)
    finally:
        signal.signal(signal.SIGINT, before)
        may_end.set()
    assert lines == ["o.mov could not be finished: it takes too long; what there is of it is in o.recording.mov"]
    assert [output.error is None for output in outputs] == [False, True]


def test_what_fails_is_told_also_where_ctrl_c_comes_meanwhile(
    pictures: list[Planes], finder: FaceFinder, segmenter: CropSegmenter
) -> None:
    main = threading.get_ident()

    class Full(CountingSink):
        def write(self, cutout: Cutout) -> None:
            raise SinkError("o.mov: the disk is full")

        def close(self) -> None:
            signal.pthread_kill(main, signal.SIGINT)

    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(20), 5.0), HeadCutter(segmenter, finder))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(SinkError, match="the disk is full"):
            run_live(cutter, [Output("o.mov", Full())])
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_once_more_after_the_outputs_changes_nothing(
    head_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LiveSource.close

    def interrupted(source: LiveSource) -> None:
        real(source)
        if out.exists():
            raise KeyboardInterrupt

    def report(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveSource, "close", interrupted)
    out, target = tmp_path / "o.mkv", LiveTarget("file", head_clip.name, address=str(head_clip))
    _, outputs = run_session(LiveJob(target, record=out), notice=lambda line: None, report=report)
    assert [output.name for output in outputs] == [str(out)]
    assert out.exists()


@pytest.mark.parametrize(("moment", "counted"), [("before a frame is handed over", 2), ("while it is handed over", 3)])
def test_ctrl_c_counts_no_frame_that_no_output_has(
    moment: str,
    counted: int,
    pictures: list[Planes],
    finder: FaceFinder,
    segmenter: CropSegmenter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    came = itertools.count(1)

    def third() -> None:
        if next(came) == 3:
            signal.raise_signal(signal.SIGINT)

    class Interrupted(Output):
        def write(self, cutout: Cutout) -> None:
            if moment == "while it is handed over":
                third()
            super().write(cutout)

    def after(controls: Controls, cutout: Cutout, last: Cutout | None) -> Cutout:
        if moment == "before a frame is handed over":
            third()
        return cutout

    monkeypatch.setattr(Controls, "after", after)
    cutter = LiveCutter(SyntheticCamera(pictures, Fraction(20), 5.0), HeadCutter(segmenter, finder))
    output = Interrupted("a", CountingSink())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_live(cutter, [output])
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(output.sink, CountingSink)
    assert output.sink.frames + output.dropped == cutter.status.frames == counted


def test_bench_live_counts_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstream.bench import bench_live

    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # a tick may be longer than what is measured
    steps: list[tuple[int, int]] = []
    told: dict[str, Any] = bench_live(
        (320, 240),
        rate=Fraction(10),
        seconds=2.0,
        warm_up_s=1.0,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == sorted(set(steps))
    assert {total for _, total in steps} == {30}
    assert told["frames"] + told["dropped"] == 20
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p95"] <= told["latency_ms"]["p99"]
    assert 0 < told["frames_with_head"] <= told["frames"]
    assert {"fps", "cpu_percent", "rss_mb", "stages_ms"} <= told.keys()


def test_the_choice_of_heads_can_change_on_the_way(
    pictures: list[Planes], segmenter: CropSegmenter, finder: FaceFinder
) -> None:
    cutter = HeadCutter(segmenter, finder, CutOptions(heads=7))
    assert cutter.cut(Frame(planes=pictures[0])).heads == ()
    assert [head.track_id for head in cutter.people] == [1]
    cutter.choose("all")
    assert len(cutter.cut(Frame(planes=pictures[1], index=1, pts=Fraction(1, 25))).heads) == 1


def test_a_mirror_turns_what_a_film_shows_through_as_well(portrait: UInt8Array) -> None:
    planes = planes_from_rgb(portrait, Colour(), sub=(2, 2))
    own = np.zeros((512, 512), np.uint8)
    own[:, :100] = 9
    turned = mirrored(Frame(planes=replace(planes, alpha=own))).planes
    assert turned is not None
    assert turned.alpha is not None
    assert (turned.alpha[0, -1], turned.alpha[0, 0]) == (9, 0)


def test_keys(portrait: UInt8Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen: list[Any] = []
    heads = SimpleNamespace(
        people=[SimpleNamespace(track_id=3), SimpleNamespace(track_id=5)], options=CutOptions(), choose=chosen.append
    )
    controls, choice, lines = Controls(), ShownBackground(), list[str]()
    keys = Keys(SimpleNamespace(controls=controls, cutter=heads), choice, lines.append)  # type: ignore[arg-type]
    for _ in range(5):
        assert keys.pressed("n")
        heads.options = CutOptions(heads=chosen[-1])
    assert chosen == [3, 5, "all", "largest", 3]
    assert keys.pressed("s")
    assert not list(tmp_path.iterdir())  # nothing was shown yet
    keys.shown = Cutout(Frame(portrait))
    for key in ("m", "p", "f", "b", "s", "x", ""):
        assert keys.pressed(key)
    assert (controls.mirror, controls.paused, controls.frozen, choice.index) == (True, True, True, 1)
    assert [f"wrote {path.name}" for path in tmp_path.iterdir()] == lines[-1:]
    assert not keys.pressed("q")


def test_snapshots_of_one_second_are_all_kept(
    portrait: UInt8Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "headstream.live.keys.time", SimpleNamespace(strftime=lambda form: "headstream-20260102-030405")
    )
    lines: list[str] = []
    keys = Keys(SimpleNamespace(controls=Controls()), ShownBackground(), lines.append)  # type: ignore[arg-type]
    keys.shown = Cutout(Frame(portrait))
    for _ in range(3):
        keys.pressed("s")
    names = [f"headstream-20260102-030405{more}.png" for more in ("", "-2", "-3")]
    assert lines == [f"wrote {name}" for name in names]
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_what_a_session_reads_is_not_recorded_over(head_clip: Path, tmp_path: Path) -> None:
    behind = tmp_path / "room.mp4"
    shutil.copyfile(head_clip, behind)
    job = LiveJob(LiveTarget("camera", "camera 0"), record=behind, background=str(behind), overwrite=True)
    with pytest.raises(UsageError, match="must be different"):
        check_live_job(job)
    target = LiveTarget("file", "room.mp4", address=str(behind))
    with pytest.raises(UsageError, match="must be different"):
        check_live_job(LiveJob(target, record=behind, background="blur", overwrite=True))


def test_a_screen_heeds_the_rate_and_not_the_size() -> None:
    screen = LiveTarget("screen", "screen")
    assert _ignored(LiveJob(screen, rate=15.0)) == ""
    assert _ignored(LiveJob(screen, rate=15.0, size_px=(640, 480))).startswith(
        "the size asked for has no effect: the screen"
    )
    assert _ignored(LiveJob(LiveTarget("camera", "camera 0"), rate=15.0, size_px=(640, 480))) == ""
