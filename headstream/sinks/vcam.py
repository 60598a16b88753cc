"""Cut-outs as a camera that other programs can choose. The only file that imports pyvirtualcam (GPL-2, an extra).

OBS Virtual Camera on Windows and macOS, v4l2loopback on Linux; Unity Capture on Windows takes transparency.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from headstream.errors import SinkError
from headstream.shared.colour import rgb_from_planes
from headstream.shared.threads import JoinedThread
from headstream.sinks.background import composite
from headstream.sinks.behind import Background
from headstream.types import Cutout, UInt8Array

_NEUTRAL = 96  # grey, until the first picture comes
_AGAIN_S = 3.0  # between two tries to open one that was lost
_ADVICE = {
    "linux": "install v4l2loopback (Debian, Ubuntu: sudo apt install v4l2loopback-dkms), then: "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=headstream",
    "darwin": "install OBS 30 or later, start its virtual camera once, stop it again and quit OBS",
    "win32": "install OBS and start its virtual camera once; or install Unity Capture, which also takes transparency",
}


class VirtualCameraSink:
    """Shows the newest cut-out at an even rate; the last one again while no new one comes.

    background: what is behind the head, or None for transparency, which only Unity Capture takes: elsewhere SinkError
    says so.  device: the camera's name or node, or None for the first there is.  backend: pyvirtualcam's name for it.
    Raises SinkError if there is no virtual camera, with what this system needs.
    """

    def __init__(
        self,
        size_px: tuple[int, int],
        rate: Fraction,
        *,
        background: Background | None,
        device: str | None = None,
        backend: str | None = None,
    ) -> None:
        pyvirtualcam = _pyvirtualcam()
        self._background = background
        width, height = size_px
        kind = pyvirtualcam.PixelFormat.RGB if background is not None else pyvirtualcam.PixelFormat.RGBA
        try:
            self._camera: Any = pyvirtualcam.Camera(
                width, height, float(rate), fmt=kind, device=device, backend=backend
            )
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            raise SinkError(_refusal(error, transparent=background is None)) from error
        self.device, self.backend = str(self._camera.device), str(self._camera.backend)
        self._interval_s = float(1 / rate)
        self._picture: UInt8Array = np.full((height, width, 3 if background is not None else 4), _NEUTRAL, np.uint8)
        if background is None:
            self._picture[:] = 0
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = JoinedThread(target=self._send, name="headstream-vcam", daemon=True)
        self.sent = 0
        self._thread.start()

    def write(self, cutout: Cutout) -> None:
        """Show one cut-out from the next tick on."""
        if self._error is not None:
            raise SinkError(f"virtual camera {self.device} failed: {self._error}") from self._error
        if self._background is None:
            self._picture = cutout.rgba()
        else:
            self._picture = rgb_from_planes(composite(cutout, self._background))

    def _send(self) -> None:
        """Ticks are counted from the start, so that late ones do not add up; what cannot be caught up is skipped."""
        start, tick = time.perf_counter(), 0
        try:
            while not self._stop.wait(max(0.0, start + tick * self._interval_s - time.perf_counter())):
                self._camera.send(self._picture)
                self.sent += 1
                tick = max(tick + 1, int((time.perf_counter() - start) / self._interval_s))
        except Exception as error:  # backends raise what they like; raised again by the next write
            self._error = error

    def close(self) -> None:
        """Give the camera back. Safe to call again."""
        self._stop.set()
        self._thread.join()
        try:
            self._camera.close()
        finally:
            if self._background is not None:
                self._background.close()

    def __enter__(self) -> VirtualCameraSink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ReturningCamera:
    """A virtual camera that is opened again when it is lost, every few seconds, for as long as it takes.

    first: the one there is.  again: opens another in its place; raises SinkError while it cannot.  notice: gets a line for the
    user when it is lost and when it is back.
    """

    def __init__(
        self, first: VirtualCameraSink, again: Callable[[], VirtualCameraSink], notice: Callable[[str], None]
    ) -> None:
        self._camera: VirtualCameraSink | None = first
        self._again, self._notice, self._next_s = again, notice, 0.0

    def write(self, cutout: Cutout) -> None:
        """Show one cut-out, if there is a camera."""
        if self._camera is None and time.perf_counter() >= self._next_s:
            self._next_s = time.perf_counter() + _AGAIN_S
            try:
                self._camera = self._again()
            except SinkError:
                return
            self._notice(f"virtual camera {self._camera.device} is back")
        if self._camera is not None:
            try:
                self._camera.write(cutout)
            except SinkError as error:
                self._notice(f"{error}; trying again until it is back")
                self._next_s = time.perf_counter() + _AGAIN_S
                self.close()

    def close(self) -> None:
        """Give the camera back. Safe to call again."""
        camera, self._camera = self._camera, None
        if camera is not None:
            with suppress(RuntimeError, OSError):  # of a device that is gone
                camera.close()


def _pyvirtualcam() -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise SinkError("a virtual camera needs pyvirtualcam: pip install 'headstream[vcam]'") from error
    return pyvirtualcam


def _refusal(error: Exception, *, transparent: bool) -> str:
    reason = " ".join(str(error).replace("'", "").split()).rstrip(".")
    if transparent and sys.platform != "win32":
        return f"this system's virtual camera has no transparency; choose --background blur, '#rrggbb' or a file ({reason})"
    missing = [what for what, well, _ in examine() if not well]
    return f"no virtual camera: {reason}. {'; '.join(missing) + ': ' if missing else ''}{advice()}"


def advice() -> str:
    """What to install for a virtual camera on this system, and how."""
    return _ADVICE.get(sys.platform, f"there is no virtual camera for {sys.platform}")


def examine(root: Path = Path("/")) -> list[tuple[str, bool, str]]:
    """(what, whether it is well, note) of what a virtual camera needs here, as far as it can be seen without starting one.

    root: where /sys and /dev are, for tests.
    """
    try:
        version = getattr(_pyvirtualcam(), "__version__", "installed")
        found = [("pyvirtualcam", True, str(version))]
    except SinkError as error:
        found = [("pyvirtualcam is not installed", False, str(error))]
    if sys.platform != "linux":
        return [*found, ("camera", True, f"told only when it is started; {advice()}")]
    module = root / "sys/module/v4l2loopback"
    if not module.is_dir():
        return [*found, ("kernel module v4l2loopback is not loaded", False, advice())]
    found.append(("kernel module v4l2loopback", True, "loaded"))
    nodes = sorted((root / "sys/devices/virtual/video4linux").glob("video*"))
    if not nodes:
        return [*found, ("v4l2loopback has made no device", False, advice())]
    for node in nodes:
        device = root / "dev" / node.name
        label = (node / "name").read_text(encoding="utf-8").strip() if (node / "name").exists() else "?"
        if os.access(device, os.R_OK | os.W_OK):
            found.append((f"/dev/{node.name}", True, label))
        else:
            found.append(
                (f"/dev/{node.name} may not be written to", False, "sudo usermod -aG video $USER, and log in again")
            )
    caps = module / "parameters/exclusive_caps"
    if caps.exists() and "Y" not in caps.read_text(encoding="ascii"):
        note = "Chrome and Teams do not list it: load the module with exclusive_caps=1"
        found.append(("exclusive_caps is off", False, note))
    return found
