"""Live sources: cameras, streams from the network, files at their own pace; and that they come back."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import av
import cv2
import numpy as np
import pytest

from headstream.capture.cameras import Camera, LiveTarget, list_cameras, parse_target
from headstream.capture.feeds import CameraFeed, NetworkFeed, PacedFile, believable_rate
from headstream.capture.live import LiveSource, open_feed
from headstream.capture.synthetic import SyntheticCamera, stamp_of
from headstream.errors import SourceError, UsageError
from headstream.shared.channel import Producer
from headstream.shared.colour import planes_from_rgb
from headstream.shared.sound import Sound
from headstream.types import Colour, Frame, UInt8Array
from tests.media import needs_ffmpeg, pattern, write_video
from tests.waiting import wait_until

CAMERA = LiveTarget("camera", "camera 0")


class FakeFeed:
    """A camera that gives these pictures, then fails."""

    rate = Fraction(30)

    def __init__(
        self, pictures: list[UInt8Array], *, times: list[float] | None = None, then: str | None = "gone"
    ) -> None:
        self.shown, self.times, self.then, self.released = pictures, times, then, False

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        try:
            for k, picture in enumerate(self.shown):
                if stop.is_set():
                    return
                now = self.times[k] if self.times else time.perf_counter()
                yield now, Frame(picture, captured_s=now)
            if self.then is not None:
                raise SourceError(self.then)
        finally:
            self.released = True


def opening(*feeds: FakeFeed | SourceError) -> Any:
    """An opener that gives these one after the other, then refuses."""
    queue = list(feeds)

    def open_(target: LiveTarget, size_px: Any, rate: Any) -> FakeFeed:
        now = queue.pop(0) if queue else SourceError("not there")
        if isinstance(now, SourceError):
            raise now
        return now

    return open_


@pytest.mark.parametrize(
    ("text", "kind", "camera"),
    [("0", "camera", 0), ("12", "camera", 12), ("/dev/video3", "camera", 3), ("rtsp://u:sec@ret@host/1", "network", 0)],
)
def test_what_a_word_for_a_camera_means(text: str, kind: str, camera: int) -> None:
    target = parse_target(text)
    assert (target.kind, target.camera) == (kind, camera)
    assert "ret" not in target.label


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("http://cam/v.cgi?pwd=secret", "http://cam/v.cgi"),
        ("rtsp://user:secret@cam:554/s?x=1", "rtsp://cam:554/s"),
        ("rtsp://user:sec/ret@cam/s", "rtsp://cam/s"),
        ("rtsp://user:sec/r@et@cam/s", "rtsp://cam/s"),
        ("rtsp://user:sec?ret@cam/s", "rtsp://..."),
        ("http://cam/v.cgi?user=me@home&pwd=sec@ret", "http://..."),
    ],
)
def test_passwords_are_not_shown(address: str, label: str) -> None:
    assert parse_target(address) == LiveTarget("network", label, address=address)
    with pytest.raises(UsageError) as refused:
        parse_target(f"x{address}")
    assert f"x{label}" in str(refused.value)


@pytest.mark.parametrize("name", ["a.mp4", "screening.mp4"])
def test_a_file_is_a_source_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / name, [pattern(64, 48, 0)])
    assert parse_target(str(path)) == LiveTarget("file", name, address=str(path))
    monkeypatch.chdir(tmp_path)
    assert parse_target(name) == LiveTarget("file", name, address=name)


@pytest.mark.parametrize(
    ("text", "region"),
    [("screen", None), ("screen:-1920,-7,32,33", (-1920, -7, 32, 33))],  # one to the left of the first
)
def test_parts_of_the_screen(text: str, region: tuple[int, int, int, int] | None) -> None:
    assert parse_target(text) == LiveTarget("screen", "screen", region=region)


@pytest.mark.parametrize("text", ["screen:0,0,31,480", "screen:0,0,640,31", "screen:1,2", "screen:"])
def test_parts_of_the_screen_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="screen:X,Y,WIDTH,HEIGHT, at least 32 each way"):
        parse_target(text)


def devices(monkeypatch: pytest.MonkeyPatch, system: str, *found: tuple[str, str, list[str]]) -> None:
    """Name, description and kinds of media of what FFmpeg finds on a system."""
    listed = [SimpleNamespace(name=name, description=what, media_types=kinds) for name, what, kinds in found]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda kind: listed)
    monkeypatch.setattr("sys.platform", system)


@pytest.fixture
def two_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = ("/dev/vbi0", "TV"), ("/dev/video5", "USB Camera"), ("/dev/video4", "USB Camera")
    devices(monkeypatch, "linux", *((*node, []) for node in (*nodes, ("/dev/video0", "Integrated Camera"))))
    monkeypatch.setattr("headstream.capture.cameras.open", lambda node, *how, **more: nullcontext(node), raising=False)

    def ioctl(node: str, asked: int, given: bytes) -> bytes:
        """The node numbered 5 is that of the camera's metadata."""
        return struct.pack("84xII12x", 0x84A00001, 0x04A00000 if node == "/dev/video5" else 0x04200001)

    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace(ioctl=ioctl))


def test_a_whole_name_is_that_cameras_also_as_a_part_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Camera(0, "USB Camera 2"), Camera(1, "USB Camera"), Camera(2, "Twin"), Camera(3, "Twin")]
    monkeypatch.setattr("headstream.capture.cameras.list_cameras", lambda: there)
    assert parse_target("usb camera") == LiveTarget("camera", "USB Camera", 1)
    assert parse_target("camera 2") == LiveTarget("camera", "USB Camera 2", 0)
    for text in ("usb", "twin"):
        with pytest.raises(UsageError, match="fits several"):
            parse_target(text)


@pytest.mark.usefixtures("two_cameras")
def test_cameras_are_found_by_name() -> None:
    assert [(c.number, c.name) for c in list_cameras()] == [(0, "Integrated Camera"), (4, "USB Camera")]
    assert parse_target("usb") == LiveTarget("camera", "USB Camera", 4)
    with pytest.raises(UsageError, match=r"fits several; cameras: 0 \(Integrated Camera\), 4 \(USB Camera\)"):
        parse_target("camera")
    with pytest.raises(UsageError, match=r"is no camera here.*cameras: 0"):
        parse_target("nosuch")
    with pytest.raises(UsageError, match="expected rtsp"):
        parse_target("gopher://x")


def test_on_windows_what_is_listed_without_a_kind_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    microphone = ("@cm", "Microphone", ["audio"])
    devices(monkeypatch, "win32", ("@sw", "OBS Virtual Camera", []), ("@pnp", "Webcam", ["video"]), microphone)
    assert [(c.number, c.name) for c in list_cameras()] == [(0, "OBS Virtual Camera"), (1, "Webcam")]
    assert parse_target("webcam") == LiveTarget("camera", "Webcam", 1)


def test_where_cameras_cannot_be_listed_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kind: str) -> None:
        raise av.error.UndefinedError(1, "Function not implemented")

    monkeypatch.setattr(av, "enumerate_input_devices", refused)
    for system, words in (
        ("linux", "the system does not list its cameras"),
        ("freebsd", "cannot be listed on freebsd"),
    ):
        monkeypatch.setattr("sys.platform", system)
        with pytest.raises(SourceError, match=f"{words}.*: --camera 0"):
            parse_target("webcam")
        assert parse_target("0").camera == 0


def test_a_camera_that_cannot_be_asked_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have it; nor has each a name."""
    devices(monkeypatch, "linux", ("/dev/video99", "", []))
    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace())
    assert [(c.number, c.name) for c in list_cameras()] == [(99, "/dev/video99")]


@pytest.mark.parametrize("count", [1, 2])
def test_on_macos_screens_are_no_cameras_and_several_are_doubted(
    count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cameras = [("0", "FaceTime HD Camera", ["video"]), ("1", "USB Camera", ["video"])][:count]
    devices(monkeypatch, "darwin", *cameras, ("9", "Capture screen 0", ["video"]), ("0", "Microphone", ["audio"]))
    assert [(c.number, c.name) for c in list_cameras()] == [(k, cameras[k][1]) for k in range(count)]
    assert ("may have another's number" in caplog.text) == (count > 1)


def test_a_camera_that_is_not_there_is_refused_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match="camera 77 cannot be opened"):
        LiveSource(LiveTarget("camera", "camera 77", 77))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("system", "told"), [("darwin", True), ("linux", False)])
def test_on_macos_a_camera_that_does_not_open_may_have_to_be_allowed(
    system: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(SourceError, match="cannot be opened") as refused:
        CameraFeed(str(tmp_path / "none.mp4"))
    assert ("Privacy & Security > Camera, and run this again" in str(refused.value)) == told


class FakeCapture:
    """A webcam as OpenCV gives it: what was asked of it, and whether it is free again."""

    def __init__(self, number: int, backend: int) -> None:
        self.number, self.backend, self.asked, self.released = number, backend, dict[int, float](), False

    def isOpened(self) -> bool:
        return True

    def set(self, what: int, value: float) -> None:
        self.asked[what] = value

    def get(self, what: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Any]:
        return True, pattern(64, 48, 0)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("system", "backend"), [("linux", cv2.CAP_V4L2), ("darwin", cv2.CAP_AVFOUNDATION), ("win32", cv2.CAP_DSHOW)]
)
def test_a_webcam_is_asked_for_what_was_wanted_and_let_go_of(
    system: str, backend: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    feed: Any = open_feed(LiveTarget("camera", "camera 3", 3), (1280, 720), 60.0)
    camera = feed._capture
    assert (camera.number, camera.backend, feed.rate) == (3, backend, 60)
    assert list(camera.asked.items()) == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),  # before the size: it decides which there are
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 60.0),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    pictures = feed.pictures(threading.Event())
    next(pictures)
    assert not camera.released
    pictures.close()
    assert camera.released
    feed = open_feed(LiveTarget("camera", "camera 3", 3), None, None)
    assert feed._capture.asked.keys() == {cv2.CAP_PROP_BUFFERSIZE}


def test_opencv_pictures_arrive_as_frames(tmp_path: Path) -> None:
    """A film takes the webcam's place: the same class of OpenCV's, the same calls."""
    path = write_video(tmp_path / "a.mp4", [pattern(64, 48, k) for k in range(5)])
    feed = CameraFeed(str(path), (640, 480), 30.0)
    seen: list[tuple[float, Frame]] = []
    with pytest.raises(SourceError, match="gives no more pictures"):
        seen.extend(feed.pictures(threading.Event()))
    # list.extend keeps what came before the error
    assert len(seen) == 5
    assert np.abs(seen[2][1].rgb.astype(int) - pattern(64, 48, 2)).mean() < 12
    assert all(frame.captured_s == now for now, frame in seen)


def test_a_lost_camera_is_opened_again_and_said() -> None:
    bright = [np.full((48, 64, 3), 200, np.uint8)] * 3
    lines: list[str] = []
    first, second = FakeFeed(bright, then="camera 0 unplugged"), FakeFeed(bright, then=None)
    opener = opening(first, SourceError("busy"), second)
    source = LiveSource(CAMERA, notice=lines.append, open_=opener)
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 6:
            source.close()
    assert [f.index for f in frames] == list(range(6))
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert "unplugged; trying again" in lines[0]
    assert "is back after" in lines[1]
    assert first.released


def test_a_camera_is_let_go_of_after_its_first_picture() -> None:
    feed = FakeFeed([np.full((48, 64, 3), 200, np.uint8)] * 3)
    source = LiveSource(CAMERA, open_=opening(feed))
    frames = iter(source)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    source.close()
    assert feed.released


@pytest.mark.parametrize("kind", ["camera", "file"])
def test_what_is_opened_again_while_all_ends_is_let_go_of(kind: Literal["camera", "file"]) -> None:
    first, second = (FakeFeed([np.full((48, 64, 3), 200, np.uint8)] * 2, then=None) for _ in range(2))
    opened = opening(first, second)

    def open_(*asked: Any) -> FakeFeed:
        feed: FakeFeed = opened(*asked)
        if feed is second and kind == "file":
            source.close()
        return feed

    def notice(line: str) -> None:
        if "is back after" in line:
            source.close()

    source = LiveSource(LiveTarget(kind, "it"), loop=True, notice=notice, open_=open_)
    assert len(list(source)) <= 3
    assert second.released


@pytest.mark.parametrize("taken", [2, 3])
def test_a_camera_that_came_back_is_let_go_of_with_whoever_iterates(taken: int) -> None:
    bright = [np.full((48, 64, 3), 200, np.uint8)] * 3
    first, second = FakeFeed(bright[:1]), FakeFeed(bright)
    source = LiveSource(CAMERA, open_=opening(first, second))
    frames = iter(source)
    for _ in range(taken):
        next(frames)
    assert (first.released, second.released) == (True, False)
    frames.close()  # type: ignore[attr-defined]
    assert second.released


def test_a_camera_that_opens_and_gives_nothing_is_not_back() -> None:
    picture = [np.full((48, 64, 3), 200, np.uint8)]
    lines: list[str] = []
    feeds = FakeFeed(picture), FakeFeed([], then="nothing"), FakeFeed(picture, then=None)
    source = LiveSource(CAMERA, notice=lines.append, open_=opening(*feeds))
    for frame in source:
        if frame.index == 1:
            source.close()
    assert len(lines) == 2
    assert "trying again" in lines[0]
    assert "is back" in lines[1]


@pytest.mark.parametrize(("told", "rate"), [(0, 30), (-1, 30), (float("nan"), 30), (90000, 30), (None, 30), (25, 25)])
def test_rates_that_cannot_be_are_not_believed(told: float | None, rate: int) -> None:
    assert believable_rate(told) == rate
    assert believable_rate(told, 15.0) == (rate if rate == 25 else 15)


def test_the_first_opening_must_succeed() -> None:
    with pytest.raises(SourceError, match="busy"):
        LiveSource(CAMERA, open_=opening(SourceError("camera 0 is busy")))
    with pytest.raises(SourceError, match="gives no picture"):
        LiveSource(CAMERA, open_=opening(FakeFeed([], then=None)))


def test_it_is_looked_for_ever_more_seldom_but_never_for_long() -> None:
    class Stop(threading.Event):
        waited: ClassVar[list[float | None]] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waited.append(timeout)
            if len(self.waited) == 7:
                self.set()
            return self.is_set()

    source = LiveSource(CAMERA, open_=opening(FakeFeed([np.zeros((48, 64, 3), np.uint8)])))
    source._stop = Stop()
    assert len(list(source)) == 1
    assert Stop.waited == [0.5, 1, 2, 4, 8, 8, 8]


def test_stopping_does_not_wait_for_its_return() -> None:
    source = LiveSource(CAMERA, open_=opening(FakeFeed([np.zeros((48, 64, 3), np.uint8)])))
    with Producer(source, name="headstream-test", on_stop=source.close) as frames:
        next(iter(frames))
        time.sleep(0.1)
    source.close()  # leaving the block would have waited for the camera for ever
    source.close()
    assert source.lost == 1


def test_times_count_from_the_first_picture() -> None:
    bright = [np.full((48, 64, 3), 200, np.uint8)] * 3
    source = LiveSource(CAMERA, open_=opening(FakeFeed(bright, times=[500.0, 500.04, 500.2])))
    times = [float(frame.pts) for frame in itertools.islice(source, 3)]
    assert times == pytest.approx([0.0, 0.04, 0.2])


def test_closed_while_a_picture_is_waited_for() -> None:
    """Whoever closes does not meddle with what another thread is reading."""
    reads = threading.Event()

    class Waiting(FakeFeed):
        def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
            yield from super().pictures(stop)
            reads.set()
            stop.wait(60)

    source = LiveSource(CAMERA, open_=opening(Waiting([np.full((48, 64, 3), 200, np.uint8)], then=None)))
    taken: list[Frame] = []
    reader = threading.Thread(target=lambda: taken.extend(source))
    reader.start()
    assert reads.wait(60)
    source.close()
    reader.join(60)
    assert (len(taken), reader.is_alive()) == (1, False)


def test_closed_before_anyone_began() -> None:
    feed = FakeFeed([np.zeros((48, 64, 3), np.uint8)] * 2)
    source = LiveSource(CAMERA, open_=opening(feed))
    source.close()
    assert list(source) == []
    assert feed.released


@pytest.mark.parametrize(
    ("size_px", "inside"),
    [
        ((128, 96), (0, 0, 64, 48)),
        ((96, 96), (8, 0, 56, 48)),
        ((320, 120), (0, 12, 64, 36)),
        ((9, 16), (18, 0, 45, 48)),
    ],
)
def test_another_size_after_a_return_is_fitted_into_the_first(
    size_px: tuple[int, int], inside: tuple[int, int, int, int]
) -> None:
    before, after = np.full((48, 64, 3), 90, np.uint8), np.full((size_px[1], size_px[0], 3), 90, np.uint8)
    lines: list[str] = []
    feeds = FakeFeed([before] * 2), FakeFeed([after] * 3), FakeFeed([before], then=None)
    source = LiveSource(CAMERA, open_=opening(*feeds), notice=lines.append)
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 6:
            source.close()
    assert [frame.size_px for frame in frames] == [(64, 48)] * 6
    x0, y0, x1, y1 = inside
    seen = np.zeros((48, 64, 3), np.uint8)
    seen[y0:y1, x0:x1] = 90
    for frame in frames[2:5]:
        assert np.array_equal(frame.rgb, seen)
    told = [line for line in lines if " gives " in line]
    assert told == [
        f"camera 0 gives {size_px[0]}x{size_px[1]} now; fitted into 64x48",
        "camera 0 gives 64x48 now",
    ]


@pytest.mark.parametrize("size_px", [(64, 48), (128, 96)])
@pytest.mark.parametrize("first_has_planes", [True, False])
def test_pixels_stay_of_the_first_kind(size_px: tuple[int, int], first_has_planes: bool) -> None:
    """What a recording says of its colours was settled by its first frame."""
    theirs = Colour("bt601", True, 5, 5, 6)

    class Feed(FakeFeed):
        def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
            for k, (width, height) in enumerate([(64, 48)] * 2 + [size_px] * 2):
                rgb: UInt8Array = np.full((height, width, 3), (220, 40, 40), np.uint8)
                planar = first_has_planes if k < 2 else size_px == (128, 96)
                like = theirs if k < 2 else Colour("bt709", False, 1, 1, 1)
                frame = Frame(planes=planes_from_rgb(rgb, like, sub=(2, 2))) if planar else Frame(rgb)
                yield k / 30, frame
            stop.set()

    frames = list(LiveSource(CAMERA, open_=opening(Feed([]))))
    assert len(frames) == 4
    for frame in frames:
        assert frame.size_px == (64, 48)
        assert np.abs(frame.rgb.astype(int) - (220, 40, 40)).max() <= 2
        assert (frame.planes is not None) == first_has_planes
        if frame.planes is not None:
            assert frame.planes.colour == theirs
            assert frame.planes.u.shape == (24, 32)


@pytest.mark.parametrize(("picture", "told"), [(np.full((48, 64, 3), 3, np.uint8), 1), (pattern(64, 48, 0) // 8, 0)])
def test_black_pictures_are_said_once(picture: UInt8Array, told: int) -> None:
    lines: list[str] = []
    times = [k * 0.1 for k in range(60)]
    source = LiveSource(CAMERA, notice=lines.append, open_=opening(FakeFeed([picture] * 60, times=times)))
    for frame in source:
        if frame.index == 59:
            source.close()
    assert sum("black pictures" in line for line in lines) == told


def test_a_file_plays_at_its_own_pace_and_ends(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", [pattern(64, 48, k) for k in range(8)], rate=25, pts=[40 * k for k in range(8)]
    )
    times = [now for now, _ in PacedFile(str(path)).pictures(threading.Event())]
    assert len(times) == 8
    assert times[-1] - times[0] > 0.27  # 0.28 s of film
    source = LiveSource(LiveTarget("file", "a.mp4", address=str(path)), loop=True)
    indices = []
    for frame in source:
        indices.append(frame.index)
        if len(indices) == 12:
            source.close()
    assert indices == list(range(12))


def test_pictures_milliseconds_apart_have_times_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", [pattern(64, 48, k) for k in range(6)], rate=100)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # as between two ticks of Windows'
    for feed in (CameraFeed(str(path)), PacedFile(str(path))):
        seen: list[tuple[float, Frame]] = []
        with suppress(SourceError):  # of the camera, which gives no more
            seen.extend(feed.pictures(threading.Event()))
        assert len({frame.captured_s for _, frame in seen}) == 6


def test_a_file_that_breaks_off_starts_again_and_it_is_told_once() -> None:
    bright = [np.full((48, 64, 3), 200, np.uint8)] * 3
    lines: list[str] = []
    feeds = [FakeFeed(bright[:count], then="a.mp4: is cut off") for count in (1, 3, 3)]
    nothing = FakeFeed([], then="a.mp4: is gone")  # this would go on for ever
    source = LiveSource(
        LiveTarget("file", "a.mp4"), loop=True, notice=lines.append, open_=opening(*feeds, nothing, *feeds)
    )
    frames = iter(source)
    assert [next(frames).index for _ in range(7)] == list(range(7))
    with pytest.raises(SourceError, match="is gone"):
        next(frames)
    assert lines == ["a.mp4: is cut off; starting again"]


def test_a_file_ends_where_it_ends() -> None:
    bright = [np.full((48, 64, 3), 200, np.uint8)] * 3
    feeds = FakeFeed(bright, then=None), FakeFeed(bright, then=None)
    assert len(list(LiveSource(LiveTarget("file", "a.mp4"), open_=opening(*feeds)))) == 3


def test_a_file_of_one_picture_goes_round_no_faster_than_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [pattern(64, 48, 0)], rate=25)
    source = LiveSource(LiveTarget("file", "a.mp4", address=str(path)), loop=True)
    times = []
    for frame in source:
        times.append(float(frame.pts))
        if len(times) == 6:
            source.close()
    assert min(b - a for a, b in itertools.pairwise(times)) > 0.03


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/", "tcp://127.0.0.1:{}", "rtsp://127.0.0.1:{}/x"])
def test_nobody_at_an_address_is_one_line(address: str) -> None:
    with pytest.raises(SourceError, match="cannot be opened") as raised:
        NetworkFeed(address.format(free_port()), "stream")
    assert "\n" not in str(raised.value)


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"]


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A screen without a monitor."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x24", "-nolisten", "tcp", "-noreset"]
    process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        monkeypatch.setenv("DISPLAY", f":{told.readline().strip()}")
    yield
    process.terminate()
    process.wait()


@pytest.mark.usefixtures("display")
def test_a_part_of_the_screen() -> None:
    pytest.importorskip("mss")
    target = parse_target("screen:10,20,101,80")
    assert target.region == (10, 20, 101, 80)
    source = LiveSource(target, rate=50)
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 4:
            source.close()
    assert {frame.size_px for frame in frames} == {(100, 80)}
    assert frames[3].pts > frames[0].pts
    with LiveSource(parse_target("screen")) as whole:
        assert whole.size_px == (320, 240)


def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mss")
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("the other systems always have one")
    with pytest.raises(SourceError, match="the screen cannot be read"):
        LiveSource(parse_target("screen"))


PUSHES = {
    "mpegts": ("udp://127.0.0.1:{}?fifo_size=100000", [*H264, "-f", "mpegts", "udp://127.0.0.1:{}"]),
    "mjpeg": ("http://127.0.0.1:{}/", ["-c:v", "mjpeg", "-f", "mpjpeg", "-listen", "1", "http://127.0.0.1:{}/"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PUSHES)
def test_a_stream_that_is_killed_and_started_again_goes_on(kind: str, tmp_path: Path) -> None:
    """A real sender in another process, in real time over loopback."""
    needs_ffmpeg()
    clip = write_video(tmp_path / "a.mp4", [pattern(160, 120, k) for k in range(50)])
    address, how = PUSHES[kind]
    port = free_port()

    def sender() -> subprocess.Popen[bytes]:
        command = [
            "ffmpeg",
            "-v",
            "quiet",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
            str(clip),
            *how[:-1],
            how[-1].format(port),
        ]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    process = sender()
    lines: list[str] = []
    source = None
    try:
        for _ in range(50):
            try:
                source = LiveSource(LiveTarget("network", kind, address=address.format(port)), notice=lines.append)
                break
            except SourceError:
                time.sleep(0.1)
        assert source is not None
        with Producer(source, name="headstream-test", policy="newest", on_stop=source.close) as frames:
            taken = iter(frames)
            assert [next(taken).size_px for _ in range(10)] == [(160, 120)] * 10
            process.kill()
            process.wait()
            wait_until(lambda: any("trying again" in line for line in lines))
            process = sender()
            wait_until(lambda: any("is back after" in line for line in lines))
            after = [next(taken) for _ in range(10)]
            assert np.std(after[-1].rgb) > 20
    finally:
        process.kill()
        process.wait()


def film_of_flashes(path: Path, seconds: int) -> Path:
    """White for the first 0.2 s of each second, with a beep as long."""
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=25, width=64, height=48, options={"tune": "zerolatency", "g": "10"})
        audio = film.add_stream("aac", rate=48000, layout="stereo")
        for k in range(25 * seconds):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 230 if k % 25 < 5 else 40, np.uint8))
            film.mux(video.encode(picture))
            at = np.arange(1920) + 1920 * k
            wave = np.where(at % 48000 < 9600, 0.8 * np.sin(at / 8), 0).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            piece.sample_rate, piece.pts, piece.time_base = 48000, 1920 * k, Fraction(1, 48000)
            film.mux(audio.encode(piece))
        film.mux([*video.encode(None), *audio.encode(None)])
    return path


def begins(loud: list[tuple[float, bool]]) -> list[float]:
    """When something begins, of (second, whether it is there)."""
    return [b[0] for a, b in itertools.pairwise(loud) if b[1] and not a[1]]


def test_a_streams_sound_goes_with_its_pictures(tmp_path: Path) -> None:
    """A real sender in another process, in real time over loopback."""
    needs_ffmpeg()
    clip, port = film_of_flashes(tmp_path / "a.mp4", 6), free_port()
    address = f"tcp://127.0.0.1:{port}"
    how = ["-c", "copy", "-f", "mpegts", f"{address}?listen=1"]
    process = subprocess.Popen(["ffmpeg", "-v", "quiet", "-re", "-i", str(clip), *how], stdin=subprocess.DEVNULL)
    sounds: list[Sound] = []
    try:
        source = None
        for _ in range(100):
            with suppress(SourceError):
                source = LiveSource(LiveTarget("network", "stream", address=address))
                break
            time.sleep(0.1)
        assert source is not None
        assert source.layout == "stereo"
        source.listen(sounds.append)
        seen = []
        for frame in source:
            seen.append((frame.captured_s, bool(frame.rgb.mean() > 140)))
            if frame.pts > 3.5:
                source.close()
    finally:
        process.kill()
        process.wait()
    heard = [
        (sound.captured_s + k / 500, bool(np.abs(piece).max() > 0.2))
        for sound in sounds
        for k, piece in enumerate(np.array_split(sound.frame.to_ndarray()[0], sound.frame.samples // 96))
    ]
    flashes, beeps = begins(seen), begins(heard)
    assert len(flashes) >= 2
    late = [min((flash - beep for beep in beeps), key=abs) for flash in flashes]
    assert -0.06 < min(late) < 0.3  # a busy machine is late with pictures, never early


def test_a_stream_without_a_listener_or_without_sound(tmp_path: Path) -> None:
    """Nothing is decoded for nobody; what is there is all of it."""
    feed = NetworkFeed(str(film_of_flashes(tmp_path / "a.mkv", 2)), "stream")
    assert feed.layout == "stereo"
    shown = len(list(feed.pictures(threading.Event())))  # what FFmpeg looked at before is not shown
    feed = NetworkFeed(str(tmp_path / "a.mkv"), "stream")
    sounds: list[Sound] = []
    feed.listener = sounds.append
    assert len(list(feed.pictures(threading.Event()))) == shown > 25
    assert sum(sound.frame.samples for sound in sounds) == pytest.approx(shown * 1920, rel=0.2)
    silent = NetworkFeed(str(write_video(tmp_path / "b.mkv", [pattern(64, 48, k) for k in range(5)])), "stream")
    assert silent.layout is None


def test_sound_that_cannot_be_decoded_costs_no_picture(tmp_path: Path) -> None:
    def decode() -> list[Any]:
        raise av.error.PatchWelcomeError(1, "Not yet implemented in FFmpeg, patches welcome")

    feed = NetworkFeed(str(film_of_flashes(tmp_path / "a.mkv", 1)), "stream")
    sound, heard = feed._sound, list[Sound]()
    feed._container.close()
    picture = av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    shown = SimpleNamespace(stream=None, decode=lambda: [picture])
    unheard = SimpleNamespace(stream=sound, decode=decode)
    feed._container = SimpleNamespace(demux=lambda streams: iter([shown, unheard, shown]), close=lambda: None)
    feed.listener = heard.append
    assert len(list(feed.pictures(threading.Event()))) == 2
    assert not heard


def test_sound_without_times_goes_on_where_it_was_and_what_is_far_off_is_left_out(tmp_path: Path) -> None:
    """Of several pieces in a packet of MPEG-TS the first alone may have a time; and a sender's clock may be set."""
    feed, heard = NetworkFeed(str(film_of_flashes(tmp_path / "a.mkv", 1)), "stream"), list[Sound]()
    sound = feed._sound
    feed._container.close()

    def piece(at_s: float | None) -> Any:
        frame = av.AudioFrame("s16", "mono", 480)
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = None if at_s is None else round(at_s * 48000)
        return SimpleNamespace(stream=sound, decode=lambda: [frame])

    def shown(at_s: float) -> Any:
        picture = av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")
        picture.pts, picture.time_base = round(at_s * 25), Fraction(1, 25)
        return SimpleNamespace(stream=None, decode=lambda: [picture])

    pieces = [
        piece(None),
        piece(100.0),
        piece(None),
        piece(None),
        piece(100.03),
        piece(1100.0),
        piece(None),
        piece(80.0),
    ]
    after = [shown(1100.0), piece(1100.02)]
    feed._container = SimpleNamespace(demux=lambda streams: iter([shown(100.0), *pieces, *after]), close=lambda: None)
    feed.listener = heard.append
    began = time.perf_counter()
    assert len(list(feed.pictures(threading.Event()))) == 2
    times = [sound.captured_s - heard[0].captured_s for sound in heard]
    assert times[:4] == pytest.approx([0, 0.01, 0.02, 0.03])
    assert len(times) == 5
    assert abs(heard[4].captured_s - began) < 30


def test_a_stream_that_is_back_is_heard_again() -> None:
    class Heard(FakeFeed):
        listener: Any = None

    feeds = [Heard([np.full((48, 64, 3), 200, np.uint8)] * 2) for _ in range(3)]
    source = LiveSource(CAMERA, open_=opening(*feeds))
    listener: Any = object()
    source.listen(listener)
    frames = iter(source)
    for _ in range(6):
        next(frames)
    source.close()
    assert [feed.listener for feed in feeds] == [listener] * 3


def test_the_synthetic_camera_is_punctual_and_stamped() -> None:
    pictures = [planes_from_rgb(pattern(320, 240, k), Colour(), sub=(2, 2)) for k in range(4)]
    camera = SyntheticCamera(pictures, Fraction(100), 0.5)
    frames = list(camera)
    assert camera.made == 50
    assert len(frames) + camera.skipped == 50
    assert [stamp_of(f.planes.y) for f in frames if f.planes] == [f.index for f in frames]
    assert [f.captured_s for f in frames] == [camera.due_s[f.index] for f in frames]
    with pytest.raises(ValueError, match="at least"):
        SyntheticCamera([], Fraction(30), 1.0)


def test_each_black_spell_is_told_again() -> None:
    dark, light = np.full((48, 64, 3), 3, np.uint8), pattern(64, 48, 0)
    pictures = [dark] * 50 + [light] * 5 + [dark] * 50
    lines: list[str] = []
    times = [k * 0.1 for k in range(len(pictures))]
    source = LiveSource(CAMERA, notice=lines.append, open_=opening(FakeFeed(pictures, times=times)))
    for frame in source:
        if frame.index == len(pictures) - 1:
            source.close()
    assert sum("black pictures" in line for line in lines) == 2


DIM = np.tile(np.repeat(np.array([[4], [24]], np.uint8), 16, axis=0), (2, 64))[..., None].repeat(3, axis=2)


@pytest.mark.parametrize(
    ("rgb", "deep", "seconds", "told"),
    [
        (np.full((64, 64, 3), 3, np.uint8), False, 2.5, True),
        (np.full((64, 64, 3), 3, np.uint8), False, 1.5, False),  # a cut, or a closed hand
        (np.full((64, 64, 3), 200, np.uint8), False, 2.5, False),  # a wall
        (DIM, False, 2.5, False),  # a dark room, in which something is seen
        (np.full((64, 64, 3), 0, np.uint8), True, 2.5, True),
        (np.full((64, 64, 3), 200, np.uint8), True, 2.5, False),
        (DIM, True, 2.5, False),
    ],
)
def test_what_counts_as_black(rgb: UInt8Array, deep: bool, seconds: float, told: bool) -> None:
    class Deep(FakeFeed):
        def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
            for now, frame in super().pictures(stop):
                planes = planes_from_rgb(frame.rgb, Colour(), sub=(2, 2))
                high = {name: getattr(planes, name).astype(np.uint16) << 2 for name in "yuv"}
                yield now, (Frame(planes=replace(planes, bits=10, **high)) if deep else frame)

    times = [k * 0.5 for k in range(int(seconds * 2) + 1)]
    lines: list[str] = []
    feed = Deep([rgb] * len(times), times=times, then=None)
    frames = list(LiveSource(LiveTarget("file", "it"), notice=lines.append, open_=opening(feed)))
    assert len(frames) == len(times)
    assert ["black pictures" in line for line in lines] == [True] * told


def test_a_grey_camera_gives_grey_pictures(tmp_path: Path) -> None:
    """Some drivers give one channel alone."""
    feed = CameraFeed(str(write_video(tmp_path / "a.mp4", [pattern(64, 48, 0)])))
    grey = pattern(64, 48, 3)[..., 0]
    feed._capture.release()
    feed._capture = SimpleNamespace(read=lambda: (True, grey), release=lambda: None)
    _, frame = next(iter(feed.pictures(threading.Event())))
    assert (frame.rgb == grey[..., None]).all()


def test_a_packet_lost_on_the_way_costs_no_more_than_itself(tmp_path: Path) -> None:
    def decode(good: bool) -> list[Any]:
        if not good:
            raise av.error.InvalidDataError(1, "Invalid data found when processing input")
        return [av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")]

    feed = NetworkFeed(str(write_video(tmp_path / "a.mkv", [pattern(64, 48, 0)])), "stream")
    feed._container.close()
    packets = [SimpleNamespace(decode=lambda good=good: decode(good)) for good in (True, False, True)]
    closed: list[bool] = []
    feed._container = SimpleNamespace(demux=lambda stream: iter(packets), close=lambda: closed.append(True))
    assert len(list(feed.pictures(threading.Event()))) == 2
    assert closed == [True]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (av.error.ExitError(1, "Immediate exit requested"), "stream has sent nothing for 2 s"),
        (av.error.ConnectionResetError(1, "Connection reset by peer"), "stream broke off: .*[Cc]onnection reset"),
        (
            av.error.InvalidDataError(1, "Invalid data found when processing input"),
            "stream broke off: .*[Ii]nvalid data",
        ),
    ],
)
def test_why_a_stream_is_lost(error: Exception, words: str, tmp_path: Path) -> None:
    def demux(streams: Any) -> Iterator[Any]:
        yield SimpleNamespace(decode=lambda: [av.VideoFrame.from_ndarray(pattern(64, 48, 0), format="rgb24")])
        raise error

    feed = NetworkFeed(str(write_video(tmp_path / "a.mkv", [pattern(64, 48, 0)])), "stream")
    feed._container.close()
    closed: list[bool] = []
    feed._container = SimpleNamespace(demux=demux, close=lambda: closed.append(True))
    pictures = iter(feed.pictures(threading.Event()))
    next(pictures)
    with pytest.raises(SourceError, match=words):
        next(pictures)
    assert closed == [True]


def test_a_stream_of_sound_alone_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        audio = film.add_stream("pcm_s16le", rate=48000, layout="mono")
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        piece.sample_rate = 48000
        film.mux([*audio.encode(piece), *audio.encode(None)])
    with pytest.raises(SourceError, match="stream sends no video"):
        NetworkFeed(str(path), "stream")
