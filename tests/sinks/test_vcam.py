"""The virtual camera, through a backend of pyvirtualcam's own interface that keeps what it is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstream.errors import SinkError
from headstream.sinks.behind import FixedPicture
from headstream.sinks.vcam import ReturningCamera, VirtualCameraSink, advice, examine
from headstream.types import Cutout, Frame
from tests.waiting import wait_until

pyvirtualcam = pytest.importorskip("pyvirtualcam")
SIZE = (64, 48)


class KeptCamera:
    """What a driver would get, checked as a driver would: size, format, closing once."""

    made: list[KeptCamera]

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **more: Any) -> None:
        if (width, height) != SIZE:
            raise RuntimeError(f"{width}x{height} is not what this device was set to")
        self.size, self.fps, self.fourcc = (width, height), fps, fourcc
        self.name = device or "kept"
        self.sent: list[tuple[float, np.ndarray[Any, Any]]] = []
        self.closed = 0
        self.fail_after: int | None = None
        self.made.append(self)

    def send(self, frame: np.ndarray[Any, Any]) -> None:
        assert not self.closed
        if self.fail_after is not None and len(self.sent) >= self.fail_after:
            raise RuntimeError("device removed")
        self.sent.append((time.perf_counter(), frame.copy()))

    def device(self) -> str:
        return self.name

    def native_fourcc(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def driver() -> Iterator[type[KeptCamera]]:
    from pyvirtualcam import camera

    KeptCamera.made = []
    camera.register_backend("kept", KeptCamera)
    yield KeptCamera
    del camera.BACKENDS["kept"]


def cutout(colour: tuple[int, int, int]) -> Cutout:
    rgb = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
    alpha = np.full((20, 30), 255, np.uint8)
    return Cutout(Frame(rgb), (), (10, 8, 40, 28), alpha)


def white() -> FixedPicture:
    return FixedPicture(np.full((1, 1, 3), 255, np.uint8))


def open_sink(**more: Any) -> VirtualCameraSink:
    return VirtualCameraSink(SIZE, Fraction(50), backend="kept", **{"background": white(), **more})


def test_size_format_pace_and_closing(driver: type[KeptCamera]) -> None:
    begun_s = time.perf_counter()
    with open_sink() as sink:
        (camera,) = driver.made
        wait_until(lambda: camera.sent)
        sink.write(cutout((200, 30, 30)))
        told = len(camera.sent)
        wait_until(lambda: len(camera.sent) > told + 8)
    assert camera.closed == 1
    assert camera.fps == 50.0
    assert {frame.size for _, frame in camera.sent} == {64 * 48 * 3}
    assert all(when > begun_s + k / 50 - 0.005 for k, (when, _) in enumerate(camera.sent))  # never ahead of its ticks
    first, last = (camera.sent[k][1].reshape(48, 64, 3).astype(int) for k in (0, -1))
    assert np.ptp(first) == 0  # neutral until there is something to show
    assert np.abs(last[18, 25] - (200, 30, 30)).max() < 12
    assert last[2, 2].min() > 245


def test_one_that_is_lost_is_opened_again_and_told_once(
    driver: type[KeptCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstream.sinks.vcam._AGAIN_S", 0.05)
    lines: list[str] = []
    refusals = [SinkError("busy"), SinkError("busy")]

    def again() -> VirtualCameraSink:
        if refusals:
            raise refusals.pop()
        return open_sink(device="kept")

    sink = ReturningCamera(open_sink(), again, lines.append)
    driver.made[0].fail_after = 2

    def shown() -> bool:
        sink.write(cutout((200, 30, 30)))
        return len(driver.made) > 1 and len(driver.made[1].sent) > 3

    wait_until(shown)
    sink.close()
    sink.close()
    assert [camera.closed for camera in driver.made] == [1, 1]
    assert lines == [
        "virtual camera kept failed: device removed; trying again until it is back",
        "virtual camera kept is back",
    ]
    assert np.abs(driver.made[1].sent[-1][1].reshape(48, 64, 3)[18, 25].astype(int) - (200, 30, 30)).max() < 12


def test_the_last_picture_stays_while_none_comes(driver: type[KeptCamera]) -> None:
    with open_sink() as sink:
        sent = driver.made[0].sent
        sink.write(cutout((20, 200, 20)))
        told = len(sent)
        wait_until(lambda: len(sent) > told + 5)
    tail = [frame for _, frame in sent[-5:]]
    assert all(np.array_equal(frame, tail[0]) for frame in tail)
    assert tail[0].reshape(48, 64, 3)[18, 25, 1] > 180


def test_transparency_where_the_camera_takes_it(driver: type[KeptCamera]) -> None:
    with open_sink(background=None) as sink:
        sent = driver.made[0].sent
        sink.write(cutout((20, 20, 200)))
        told = len(sent)
        wait_until(lambda: len(sent) > told + 1)  # one may have been on its way
    last = sent[-1][1].reshape(48, 64, 4)
    assert last[18, 25].tolist() == [20, 20, 200, 255]
    assert last[2, 2].tolist() == [0, 0, 0, 0]


def test_a_device_that_goes_away_is_told_by_the_next_write(driver: type[KeptCamera]) -> None:
    sink = open_sink()
    driver.made[0].fail_after = 0
    with pytest.raises(SinkError, match="virtual camera kept failed: device removed"):
        wait_until(lambda: sink.write(cutout((0, 0, 0))))
    sink.close()
    sink.close()
    assert driver.made[0].closed == 1


def test_a_size_the_device_refuses(driver: type[KeptCamera]) -> None:
    with pytest.raises(SinkError, match="640x480 is not what this device was set to"):
        VirtualCameraSink((640, 480), Fraction(30), background=white(), backend="kept")
    assert driver.made == []


def test_without_a_device_the_message_says_what_to_do() -> None:
    """The real backend of this system, up to where its kernel or driver refuses."""
    if not any(not well for _, well, _ in examine()):
        pytest.skip("this machine may have a virtual camera")
    with pytest.raises(SinkError) as refused:
        VirtualCameraSink((640, 480), Fraction(30), background=white())
    assert advice() in str(refused.value)
    assert "\n" not in str(refused.value)


def linux_tree(root: Path, *, caps: str = "Y,Y") -> None:
    (root / "sys/module/v4l2loopback/parameters").mkdir(parents=True)
    (root / "sys/module/v4l2loopback/parameters/exclusive_caps").write_text(caps)
    node = root / "sys/devices/virtual/video4linux/video7"
    node.mkdir(parents=True)
    (node / "name").write_text("headstream\n")
    (root / "dev").mkdir()
    (root / "dev/video7").touch()


def test_what_is_missing_on_linux_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")

    def wrong() -> list[str]:
        return [what for what, well, _ in examine(tmp_path) if not well]

    assert wrong() == ["kernel module v4l2loopback is not loaded"]
    linux_tree(tmp_path)
    assert wrong() == []
    (tmp_path / "sys/module/v4l2loopback/parameters/exclusive_caps").write_text("N,N")
    assert wrong() == ["exclusive_caps is off"]
    (tmp_path / "dev/video7").unlink()
    assert "/dev/video7 may not be written to" in wrong()
    (tmp_path / "sys/devices/virtual/video4linux/video7/name").unlink()
    (tmp_path / "sys/devices/virtual/video4linux/video7").rmdir()
    assert "v4l2loopback has made no device" in wrong()
