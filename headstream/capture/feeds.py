"""Ways to get pictures as they happen: a webcam, a stream from the network, the screen, a file played at its own pace.

A feed yields (seconds of time.perf_counter, picture) until the source ends or fails; ``live.py`` makes frames of them and
opens them again. All that is live goes by this clock: time.monotonic takes steps of 16 ms on Windows, half a frame's time.
``stop`` is asked between pictures; a feed frees what it opened in the thread that reads it, because
neither OpenCV nor FFmpeg allows closing under a reader.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from headstream.capture.file import FileSource
from headstream.capture.opening import reason_of
from headstream.capture.unpack import frame_from_video, orientation
from headstream.errors import SourceError
from headstream.shared.demuxing import packets_of
from headstream.shared.sound import Listener, Sound, SteadyClock
from headstream.types import Frame

STALL_S = 2  # with nothing sent for this long (packets of a stream, pictures of a webcam), a source counts as lost
# OpenCV asks macOS for it at the first use, and does not wait until the user has answered.
_PERMISSION = "; allow the terminal to use it in System Settings > Privacy & Security > Camera, and run this again"
# How long before now sound may have been heard that comes now, and how long before its picture.
_FAR_S, _AHEAD_S = 10.0, 3.0
_LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay", "analyzeduration": "500000", "probesize": "500000"}


class CameraFeed:
    """A webcam through OpenCV, which knows what modes cameras have on each system."""

    def __init__(self, number: int | str, size_px: tuple[int, int] | None = None, rate: float | None = None) -> None:
        # How long OpenCV waits for a picture on Linux: 10 s by itself. It reads this once, at the first camera.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(STALL_S))
        import cv2

        before = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what failed is told below, in one line
        try:
            self._capture: Any = cv2.VideoCapture(number, _backend() if isinstance(number, int) else cv2.CAP_ANY)
        finally:
            cv2.utils.logging.setLogLevel(before)
        self.label = f"camera {number}"
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{self.label} cannot be opened: it is not there, another program is using it, or this one may not "
                f"(see: headstream live --list){_PERMISSION if sys.platform == 'darwin' else ''}"
            )
        if size_px is not None:
            if isinstance(number, int):  # most webcams reach 720p at 30 frames a second as JPEG only
                self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_px[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_px[1])
        if rate is not None:
            self._capture.set(cv2.CAP_PROP_FPS, rate)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # older pictures are of no use
        self.rate = believable_rate(self._capture.get(cv2.CAP_PROP_FPS), rate)

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        """Frames, RGB, until ``stop``. Raises SourceError when the camera gives no more."""
        import cv2

        try:
            while not stop.is_set():
                good, bgr = self._capture.read()
                now = time.perf_counter()
                if stop.is_set():
                    return
                if not good:
                    raise SourceError(f"{self.label} gives no more pictures: unplugged, or taken by another program")
                if bgr.ndim == 2:
                    bgr = cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR)
                yield now, Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), captured_s=now)
        finally:
            self._capture.release()


class NetworkFeed:
    """A stream from the network through FFmpeg: RTSP, HTTP (MJPEG, MPEG-TS), UDP and TCP, RTMP, SRT.

    layout: of its sound, "mono" or "stereo" (which stands for more); None where it has none.  listener: gets the sound, timed so
    that it goes with the pictures; for nobody it is not decoded.
    """

    listener: Listener | None = None

    def __init__(self, address: str, label: str) -> None:
        import av

        self.label = label
        options = dict(_LOW_LATENCY)
        if address.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # UDP loses packets on the way, and shows it
        try:
            self._container: Any = av.open(address, timeout=(5, STALL_S), options=options, metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{label} cannot be opened: {_reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{label} sends no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "SLICE"  # whole frames at once would each wait for the next
        audio = self._container.streams.audio
        self._sound: Any = audio[0] if audio and audio[0].codec_context is not None else None
        self.layout = None if self._sound is None else ("mono" if self._sound.codec_context.channels == 1 else "stereo")
        self._clock = SteadyClock()
        self._sound_s: float | None = None  # where the next sound begins, on the stream's clock
        self.rate = believable_rate(self._stream.average_rate or self._stream.guessed_rate)

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        """Frames on their planes, until ``stop`` or the end. Raises SourceError when nothing comes for ``STALL_S``."""
        import av

        try:
            for packet in packets_of(self._container, [one for one in (self._stream, self._sound) if one is not None]):
                if stop.is_set():
                    return
                try:
                    if self._sound is not None and packet.stream is self._sound:
                        self._hear(packet)
                        continue
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    continue  # a packet lost on the way; the picture is whole again with the next key frame
                for picture in decoded:
                    if stop.is_set():
                        return
                    now = time.perf_counter()
                    if picture.time is not None:
                        self._clock.follow(picture.time, now)
                    frame = frame_from_video(picture, orientation(picture))
                    yield now, frame.timed(captured_s=now)
        except av.error.ExitError as error:
            raise SourceError(f"{self.label} has sent nothing for {STALL_S} s") from error
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"{self.label} broke off: {_reason(error)}") from error
        finally:
            self._container.close()

    def _hear(self, packet: Any) -> None:
        import av

        if self.listener is None or not self._clock.known:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # whatever is wrong with the sound, the pictures go on
            self._sound_s = None
            return
        for frame in frames:
            # Of several in a packet, the first alone may have a time.
            at_s = self._sound_s if frame.time is None else frame.time
            if at_s is None:
                continue
            self._sound_s = at_s + frame.samples / frame.sample_rate
            captured_s = self._clock.at(at_s)
            if -_FAR_S < captured_s - time.perf_counter() < _AHEAD_S:  # else its clock was set; the pictures' follows
                self.listener(Sound(frame, captured_s))


class PacedFile:
    """A video file as if it were happening now: each frame when its time has come, the last for its time, too."""

    def __init__(self, path: str) -> None:
        self._source = FileSource(path)
        self.label, self.rate = self._source.path.name, self._source.rate

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        """Frames on their planes, until ``stop`` or the end of the file."""
        start: float | None = None
        end_s = 0.0
        try:
            for frame in self._source:
                start = time.perf_counter() - float(frame.pts) if start is None else start
                if stop.wait(max(0.0, start + float(frame.pts) - time.perf_counter())):
                    return
                now = time.perf_counter()
                end_s = start + float(frame.pts + (frame.duration_s or 1 / self.rate))
                yield now, frame.timed(captured_s=now)
            stop.wait(max(0.0, end_s - time.perf_counter()))
        finally:
            self._source.close()


class ScreenFeed:
    """A part of the screen, by way of mss, at an even rate. region: x, y, width, height, or None for the first monitor."""

    def __init__(self, region: tuple[int, int, int, int] | None, rate: float | None) -> None:
        self.label, self.rate = "screen", Fraction(rate or 30).limit_denominator(1001)
        try:
            import mss
        except ImportError as error:
            raise SourceError("the screen as a source needs mss: pip install 'headstream[screen]'") from error
        try:
            with mss.MSS() as grabber:
                first = grabber.monitors[1] if len(grabber.monitors) > 1 else grabber.monitors[0]
        except Exception as error:  # every system has its own reasons
            raise SourceError(f"the screen cannot be read: {' '.join(str(error).split())}") from error
        keys = ("left", "top", "width", "height")
        self._region = (
            {key: int(first[key]) for key in keys} if region is None else dict(zip(keys, region, strict=True))
        )
        for key in ("width", "height"):
            self._region[key] -= self._region[key] % 2

    def pictures(self, stop: threading.Event) -> Iterator[tuple[float, Frame]]:
        """Frames, RGB, until ``stop``. Raises SourceError when the screen cannot be read any more."""
        import mss

        with mss.MSS() as grabber:  # a grabber belongs to the thread that made it
            start, count = time.perf_counter(), 0
            while not stop.wait(max(0.0, start + count / float(self.rate) - time.perf_counter())):
                try:
                    shot = np.asarray(grabber.grab(self._region))
                except Exception as error:
                    raise SourceError(f"the screen cannot be read: {' '.join(str(error).split())}") from error
                now = time.perf_counter()
                yield now, Frame(np.ascontiguousarray(shot[..., 2::-1]), captured_s=now)
                count = max(count + 1, int((now - start) * float(self.rate)))


def believable_rate(told: Any, asked: float | None = None) -> Fraction:
    """Frames a second. Drivers say 0, -1 and nan, streams their clock's 90000: then what was asked for, or 30."""
    rate = float(told or 0)
    if not 1 <= rate <= 240:  # nan is not either
        rate = asked or 30.0
    return Fraction(rate).limit_denominator(1001)


def _backend() -> int:
    """The system's own way to cameras; the others OpenCV would try are for other things."""
    import cv2

    return {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}.get(
        sys.platform, cv2.CAP_ANY
    )


Feed = CameraFeed | NetworkFeed | PacedFile | ScreenFeed


def _reason(error: BaseException) -> str:
    """As ``reason_of``; what FFmpeg says where we were tired of waiting says nothing."""
    reason = reason_of(error)
    return "it does not answer in time" if "exit requested" in reason else reason
